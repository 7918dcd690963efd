package testkit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestTheKeyIsMadeOfContent(t *testing.T) {
	dir := t.TempDir()
	schema := filepath.Join(dir, "schema.sql")
	write := func(text string) {
		if err := os.WriteFile(schema, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("v1")
	none := func(context.Context, *Container) error { return nil }
	key := func(opts ...Option) string {
		t.Helper()
		s, err := collectFor("image", opts, (*settings).checkPrepared)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := s.claimSpec()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(spec.Parts, spec.Processes, spec.Quality)
	}
	tree := fstest.MapFS{"a": {Data: []byte("x")}}
	variants := map[string]func() []Option{
		"nothing":  func() []Option { return nil },
		"step":     func() []Option { return []Option{Prepare("v1", none)} },
		"key":      func() []Option { return []Option{Prepare("v2", none)} },
		"two":      func() []Option { return []Option{Prepare("v2", none), Prepare("v1", none)} },
		"order":    func() []Option { return []Option{Prepare("v1", none), Prepare("v2", none)} },
		"file":     func() []Option { return []Option{File("/a", "x")} },
		"content":  func() []Option { return []Option{File("/a", "y")} },
		"mode":     func() []Option { return []Option{File("/a", "y", Mode(0o600))} },
		"reader":   func() []Option { return []Option{FileFrom("/a", strings.NewReader("z"))} },
		"tree":     func() []Option { return []Option{Files("/a", tree)} },
		"host":     func() []Option { return []Option{HostFile(schema, "/a")} },
		"named":    func() []Option { return []Option{Prepare("v1", none, schema)} },
		"pattern":  func() []Option { return []Option{DependsOn(filepath.Join(dir, "*.sql"))} },
		"dir":      func() []Option { return []Option{DependsOn(dir)} },
		"embedded": func() []Option { return []Option{DependsOnFS(tree)} },
		"ready":    func() []Option { return []Option{Ready(Port(80))} },
		"hostname": func() []Option { return []Option{Hostname("h")} },
		"omit":     func() []Option { return []Option{OmitMounts()} },
		"quiesce":  func() []Option { return []Option{Quiesce(none, none)} },
		"live":     func() []Option { return []Option{Live()} },
		"files":    func() []Option { return []Option{FilesOnly()} },
		"required": func() []Option { return []Option{ProcessesRequired()} },
	}
	keys := map[string]string{}
	for name, opts := range variants {
		keys[name] = key(opts()...)
		if again := key(opts()...); again != keys[name] {
			t.Errorf("%s: %s became %s", name, keys[name], again)
		}
		for other, k := range keys {
			if other != name && k == keys[name] {
				t.Errorf("%s and %s have the same key %s", name, other, k)
			}
		}
	}
	write("v2")
	tree["a"].Data = []byte("y")
	for _, name := range []string{"host", "named", "pattern", "dir", "embedded", "tree"} {
		if key(variants[name]()...) == keys[name] {
			t.Errorf("%s: the content has changed, the key has not", name)
		}
	}
	own := []Option{StartTimeout(time.Second), AfterReady(none), Log(badWriter{}), Pool(3), MachineClock()}
	if key(own...) != keys["nothing"] {
		t.Errorf("what clones have of their own is in the key %s", key(own...))
	}
}
