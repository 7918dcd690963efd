package rootfs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tlsConfig returns the certificates for one host and port: the system's, those in caFile, and what lies in the host's
// directories as containers-certs.d(5) and Docker have them: *.crt to trust, *.cert with *.key to show.
//
// Errors: BadConfig.
func tlsConfig(host, caFile string, insecure bool) (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: insecure, MinVersion: tls.VersionTLS12}
	if caFile != "" {
		if err := trust(config, caFile); err != nil {
			return nil, err
		}
	}
	for _, dir := range certDirs() {
		if err := addDir(config, filepath.Join(dir, host)); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// certDirs lists the certs.d directories, the user's before the machine's.
func certDirs() []string {
	return append(userConfig("containers/certs.d", "docker/certs.d"), "/etc/containers/certs.d", "/etc/docker/certs.d")
}

// userConfig returns names below the user's configuration directory, or nothing if there is none.
func userConfig(names ...string) []string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil
	}
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return names
}

func addDir(config *tls.Config, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return badCert(dir, err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch filepath.Ext(path) {
		case ".crt":
			err = trust(config, path)
		case ".cert":
			err = show(config, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func trust(config *tls.Config, path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return badCert(path, err)
	}
	if config.RootCAs == nil {
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return badCert(path, errors.New("no certificate in PEM form"))
	}
	return nil
}

func show(config *tls.Config, path string) error {
	pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
	if err != nil {
		return badCert(path, err)
	}
	config.Certificates = append(config.Certificates, pair)
	return nil
}

func badCert(path string, err error) error {
	return fail(BadConfig, "mend or remove it", "read certificates in %s: %w", path, err)
}
