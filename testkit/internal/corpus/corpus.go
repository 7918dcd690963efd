// Package corpus is what the tests of testkit and of its modules share: the keeper and the images of `make test`, where
// the names of docker.io lead to the registry of the tests, so that examples are run with the names that people use.
package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
)

const registries = `[[registry]]
prefix = "docker.io/library"
location = %q
insecure = true
`

// Main runs a package's tests. It is to be called by TestMain, and to be followed by os.Exit with what it returns.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "corpus-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = configure(filepath.Join(dir, "registries.conf"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare the tests:", err)
		return 1
	}
	code := m.Run()
	if err := testkit.Shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, "shut down the keeper:", err)
		return 1
	}
	return code
}

// configure sets what the keeper reads. Without the variables of `make test` the tests use what they find, or are skipped.
func configure(file string) error {
	if binary := os.Getenv("BIVOUAC_E2E_BINARY"); binary != "" {
		if err := os.Setenv("BIVOUAC", binary); err != nil {
			return err
		}
	}
	registry := os.Getenv("BIVOUAC_E2E_REGISTRY")
	if registry == "" {
		return nil
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, registries, registry), 0o600); err != nil {
		return err
	}
	return os.Setenv("CONTAINERS_REGISTRIES_CONF", file)
}

// Need skips a test where the images are not to be had.
func Need(tb testkit.TB) {
	tb.Helper()
	if os.Getenv("BIVOUAC_E2E_REGISTRY") == "" {
		tb.Skipf("BIVOUAC_E2E_REGISTRY is not set; run make test")
	}
}
