package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

func TestCertificatesAreTrustedByTheirAuthorityAlone(t *testing.T) {
	dir := t.TempDir()
	ca, err := writeCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for _, name := range []string{"127.0.0.1", "localhost", "registry.example.com"} {
		if err := handshake(t, dir, &tls.Config{RootCAs: pool, ServerName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := handshake(t, dir, &tls.Config{ServerName: "localhost"}); err == nil {
		t.Error("trusted without its authority")
	}
	if err := handshake(t, dir, &tls.Config{RootCAs: pool, ServerName: "example.org"}); err == nil {
		t.Error("trusted under another name")
	}
}

// handshake returns the error of a client with config that meets a server with the certificate in dir.
func handshake(t *testing.T, dir string, config *tls.Config) error {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake() // the client tells
			_ = conn.Close()
		}
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), config)
	if err != nil {
		return err
	}
	return conn.Close()
}
