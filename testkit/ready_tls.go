package testkit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// CertificateStrategy is reached when there is a usable TLS certificate in the container, which it then hands on.
type CertificateStrategy struct {
	cert, key, serverName string

	mu     sync.Mutex
	config *tls.Config
}

// TLSCertificate is reached when a file of the container holds PEM certificates that are valid at this time, such as a
// server writes that makes its own. A CertificateStrategy is for one container.
func TLSCertificate(file string) *CertificateStrategy { return &CertificateStrategy{cert: file} }

// Key also waits for the certificate's private key, so that [CertificateStrategy.Config] presents both.
func (s *CertificateStrategy) Key(file string) *CertificateStrategy {
	s.key = file
	return s
}

// ServerName also waits until the first certificate is valid for a host name, which the configuration then asks for.
func (s *CertificateStrategy) ServerName(name string) *CertificateStrategy {
	s.serverName = name
	return s
}

// Config returns a configuration that trusts the certificates of the file alone. It is nil until the strategy is reached.
func (s *CertificateStrategy) Config() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.Clone()
}

// WaitReady implements [Strategy].
func (s *CertificateStrategy) WaitReady(ctx context.Context, c *Container) error {
	return poll(ctx, func(ctx context.Context) error {
		config, err := s.read(c.box.FS(ctx))
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.config = config
		return nil
	})
}

func (s *CertificateStrategy) read(root fs.FS) (*tls.Config, error) {
	text, err := readFile(root, s.cert)
	if err != nil {
		return nil, err
	}
	certificates, err := parseCertificates(text)
	if err != nil {
		return nil, err
	}
	if s.serverName != "" {
		if err := certificates[0].VerifyHostname(s.serverName); err != nil {
			return nil, err
		}
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: s.serverName, MinVersion: tls.VersionTLS12}
	for _, certificate := range certificates {
		config.RootCAs.AddCert(certificate)
	}
	if s.key == "" {
		return config, nil
	}
	key, err := readFile(root, s.key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, key)
	config.Certificates = []tls.Certificate{pair}
	return config, err
}

// parseCertificates returns the certificates of a PEM file. All have to be valid at this time.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if now := time.Now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
			return nil, fmt.Errorf("the certificate of %s is valid from %v to %v", certificate.Subject, certificate.NotBefore, certificate.NotAfter)
		}
		all = append(all, certificate)
	}
	if len(all) == 0 {
		return nil, errors.New("the file holds no certificate")
	}
	return all, nil
}

// String implements [Strategy].
func (s *CertificateStrategy) String() string { return "TLS certificate " + s.cert }

func (s *CertificateStrategy) traits() traits {
	t := FileExists(s.cert).traits()
	if s.key != "" && t.problem == "" {
		t.problem = FileExists(s.key).traits().problem
	}
	return t
}
