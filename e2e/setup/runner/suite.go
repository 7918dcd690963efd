package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	modulePath = "github.com/bivouac-run/bivouac"
	ginkgo     = "github.com/onsi/ginkgo/v2"
)

// A suite is a package with tests, compiled.
type suite struct {
	name   string // import path below the module, . for its root
	dir    string // where the tests run
	binary string
	ginkgo bool // some of its tests are Ginkgo specs
}

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath, Dir           string
	TestGoFiles, XTestGoFiles []string
	TestImports, XTestImports []string
}

// goCommand returns a call of the go command in the source tree, as the caller: users may have no Go, and no cache.
func (c config) goCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = c.src
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false -tags=netgo,osusergo")
	return cmd
}

// suites lists the packages with tests among patterns.
func (c config) suites(patterns []string) ([]suite, error) {
	cmd := c.goCommand(append([]string{"list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles,TestImports,XTestImports"},
		patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	var all []suite
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("list packages: %w", err)
		case len(p.TestGoFiles)+len(p.XTestGoFiles) > 0:
			all = append(all, c.suite(p))
		}
	}
}

func (c config) suite(p goPackage) suite {
	name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, modulePath), "/")
	if name == "" {
		name = "."
	}
	return suite{
		name:   name,
		dir:    p.Dir,
		binary: filepath.Join(c.scratch, "bin", strings.ReplaceAll(name, "/", "_")+".test"),
		ginkgo: slices.Contains(append(p.TestImports, p.XTestImports...), ginkgo),
	}
}

// compile makes the test binary of s. Its error holds the compiler's output.
func (c config) compile(s suite) error { return c.goQuietly("test", "-c", "-o", s.binary, s.dir) }

// vet checks what `go test` would check before it runs tests, and the rest of go vet.
func (c config) vet(patterns []string) error {
	return c.goQuietly(append([]string{"vet"}, patterns...)...)
}

// test2json makes the program that turns a test's output into events, and returns its path.
func (c config) test2json() (string, error) {
	path := filepath.Join(c.scratch, "bin", "test2json")
	return path, c.goQuietly("build", "-o", path, "cmd/test2json")
}

func (c config) goQuietly(args ...string) error {
	out, err := c.goCommand(args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
