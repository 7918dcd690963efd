package testkit_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/bivouac-run/bivouac/testkit"
)

// TestMain runs the tests with the keeper that `make test` has built, if it runs them, and looks for what they left.
func TestMain(m *testing.M) {
	forget, err := useTestRegistry()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	forget()
	if err := testkit.Shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, "shut down the keeper:", err)
		code = 1
	}
	if err := goleak.Find(goleak.IgnoreAnyFunction(ginkgosInterrupts)); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "after the tests:", err)
		code = 1
	}
	os.Exit(code)
}

const ginkgosInterrupts = "github.com/onsi/ginkgo/v2/internal/interrupt_handler.(*InterruptHandler).registerForInterrupts.func2"

// useTestRegistry takes the images of the examples from the registry of `make test`. Without one the examples are not run:
// they need a network, and are not to load images for every run of the tests. The returned function undoes that.
func useTestRegistry() (func(), error) {
	registry, binary := os.Getenv("BIVOUAC_E2E_REGISTRY"), os.Getenv("BIVOUAC_E2E_BINARY")
	if registry == "" || binary == "" {
		return func() {}, flag.Set("test.skip", "^Example")
	}
	conf := fmt.Sprintf("[[registry]]\nprefix = \"docker.io/library\"\nlocation = %q\ninsecure = true\n", registry)
	f, err := os.CreateTemp("", "registries-*.conf")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(conf)
	return func() { _ = os.Remove(f.Name()) },
		errors.Join(err, f.Close(), os.Setenv("CONTAINERS_REGISTRIES_CONF", f.Name()), os.Setenv("BIVOUAC", binary))
}

// image returns the reference of one of the images that the tests are made for.
func image(t testing.TB, name string) string {
	t.Helper()
	registry := os.Getenv("BIVOUAC_E2E_REGISTRY")
	if registry == "" {
		t.Skip("BIVOUAC_E2E_REGISTRY is not set; run make test")
	}
	return registry + "/" + name
}
