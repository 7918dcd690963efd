package e2e_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/bivouac-run/bivouac"

// anything, in a list of packages, stands for all of ours.
const anything = "..."

// arrows says which of our packages each may import. A name stands for the packages below it too, but for those with a
// line of their own; all of these may import each other.
var arrows = map[string][]string{
	"cmd/bivouac":     {"rootfs", "sandbox", "sandbox/keeper", "sandbox/network", "snapshot", "userns"},
	"userns":          {},
	"rootfs":          {},
	"sandbox":         {},
	"sandbox/keeper":  {"rootfs", "sandbox", "sandbox/network", "snapshot", "userns"},
	"sandbox/network": {},
	"snapshot":        {"rootfs"},
	"testkit":         {"sandbox"},
	"testkit/match":   {"sandbox", "testkit"},
	"e2e":             {anything},
}

// homes says which of our packages may import a foreign module, tests included.
var homes = map[string]string{
	"github.com/opencontainers/runc":             "sandbox/keeper",
	"github.com/opencontainers/cgroups":          "sandbox/keeper",
	"github.com/rootless-containers/rootlesskit": "userns",
	"github.com/google/go-containerregistry":     "rootfs",
	"github.com/moby/buildkit":                   "rootfs",
	"github.com/spf13/cobra":                     "cmd/bivouac",
	"github.com/spf13/pflag":                     "cmd/bivouac",
	"github.com/vbauerster/mpb":                  "cmd/bivouac",
	"github.com/checkpoint-restore/go-criu":      "snapshot",
	"github.com/vishvananda/netlink":             "sandbox/network",
	"github.com/miekg/dns":                       "sandbox/network",
	"github.com/containers":                      "no package",
	"github.com/seccomp/libseccomp-golang":       "no package",
}

// pure are the packages that callers link: without cgo, and with no foreign module but these and, in tests, any.
var pure = map[string][]string{
	"sandbox":       {"golang.org/x/", "github.com/opencontainers/runtime-spec"},
	"testkit":       {"golang.org/x/"},
	"testkit/match": {"golang.org/x/", "github.com/onsi/gomega"},
}

// A source is a Go file of ours and what it imports.
type source struct {
	file    string // below the module
	imports []string
}

func (s source) isTest() bool { return strings.HasSuffix(s.file, "_test.go") }

func (s source) dir() string { return path.Dir(s.file) }

func TestImportArrows(t *testing.T) {
	for _, s := range sources(t) {
		from, ok := longestPrefix(arrows, s.dir())
		if !ok {
			t.Errorf("%s: package %s is not in the table of arrows", s.file, s.dir())
			continue
		}
		for _, imported := range s.imports {
			name, ours := strings.CutPrefix(imported, modulePath+"/")
			if !ours {
				continue
			}
			to, _ := longestPrefix(arrows, name)
			if to != from && !slices.Contains(arrows[from], to) && !slices.Contains(arrows[from], anything) {
				t.Errorf("%s: %s must not import %s; it may import %v", s.file, from, name, arrows[from])
			}
		}
	}
}

func TestForeignModulesHaveOneHome(t *testing.T) {
	for _, s := range sources(t) {
		from, _ := longestPrefix(arrows, s.dir())
		for _, imported := range s.imports {
			module, ok := longestPrefix(homes, imported)
			if ok && homes[module] != from && from != "e2e" {
				t.Errorf("%s: only %s may import %s", s.file, homes[module], imported)
			}
		}
	}
}

func TestCallersPackagesArePure(t *testing.T) {
	for _, s := range sources(t) {
		from, _ := longestPrefix(arrows, s.dir())
		allowed, ok := pure[from]
		if !ok || s.isTest() {
			continue
		}
		for _, imported := range s.imports {
			if imported == "C" || isForeign(imported) && !hasAnyPrefix(imported, allowed) {
				t.Errorf("%s: %s must not import %s", s.file, from, imported)
			}
		}
	}
}

func isForeign(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".") && !strings.HasPrefix(imported, modulePath)
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(s, prefix) })
}

// sources reads the imports of all Go files of the module, whatever their build constraints.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..") {
			return fs.SkipDir
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		s, err := parse(file)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatalf("read sources: %v", err)
	}
	return all
}

func parse(file string) (source, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return source{}, err
	}
	s := source{file: strings.TrimPrefix(filepath.ToSlash(file), "../")}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, imported)
	}
	return s, nil
}

// longestPrefix returns the longest key of table that is name or a path above it.
func longestPrefix[V any](table map[string]V, name string) (string, bool) {
	for ; name != "." && name != "/"; name = path.Dir(name) {
		if _, ok := table[name]; ok {
			return name, true
		}
	}
	return "", false
}
