package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

// testView is what of the machine a test sees, beyond its root file system.
type testView struct {
	host   bool
	dir    string // where the test starts
	mounts []sandbox.Mount
	made   []string // files that were made to be mounted
}

func newTestView(host bool) (*testView, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	return &testView{host: host, dir: filepath.Clean(dir)}, nil
}

// show makes appear what the command needs: its directory with the module around it, a place for temporary files, the
// program, and the files that it is to write.
func (v *testView) show(argv []string, write bool) error {
	if err := v.temporary(); err != nil {
		return err
	}
	if err := v.bindUnlessShown(moduleRoot(v.dir)); err != nil {
		return err
	}
	if write {
		v.bind(v.dir, false)
	}
	outputs, err := testOutputs(argv[1:], v.dir)
	if err != nil {
		return err
	}
	if outputs.fuzz && !write {
		return errors.New("go test -fuzz: writes the inputs that it finds to testdata, where they would be discarded; add --write to bivouac test")
	}
	return errors.Join(v.program(argv[0]), v.outputs(outputs))
}

func (v *testView) bind(path string, readOnly bool) {
	v.mounts = append(v.mounts, sandbox.Mount{Type: sandbox.MountBind, Source: path, Target: path, ReadOnly: readOnly})
}

func (v *testView) bindUnlessShown(path string) error {
	shown, err := v.shown(path)
	if err == nil && !shown {
		v.bind(path, true)
	}
	return err
}

// shown tells whether the sandbox has a directory of the machine without our doing.
func (v *testView) shown(path string) (bool, error) {
	if v.bound(path, false) {
		return true, nil
	}
	if !v.host {
		return false, nil
	}
	return keeper.ShownByHost(path)
}

// bound tells whether path lies in what is mounted already.
func (v *testView) bound(path string, writable bool) bool {
	return slices.ContainsFunc(v.mounts, func(m sandbox.Mount) bool {
		return m.Type == sandbox.MountBind && (!writable || !m.ReadOnly) && (path == m.Target || strings.HasPrefix(path, strings.TrimSuffix(m.Target, "/")+"/"))
	})
}

// temporary gives the test a directory for temporary files where it will look for one, if it would have none.
func (v *testView) temporary() error {
	dir := "/tmp"
	if v.host {
		dir = filepath.Clean(os.TempDir())
	}
	shown, err := v.shown(dir)
	if err == nil && !shown {
		v.mounts = append(v.mounts, sandbox.Mount{Type: sandbox.MountTmpfs, Target: dir, Exec: true})
	}
	return err
}

// moduleRoot is the directory of the module that dir belongs to, or dir itself.
func moduleRoot(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		if st, err := os.Stat(filepath.Join(d, "go.mod")); err == nil && st.Mode().IsRegular() {
			return d
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}

// buildDir matches the directory in which the go command builds one package's test, and has results put: it is removed
// when the test has ended.
var buildDir = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`/go-build[0-9]+/b[0-9]+$`) })

// program shows a program that is named by its path. That of go test is in its build directory.
func (v *testView) program(name string) error {
	if !strings.Contains(name, "/") {
		return nil
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	dir := filepath.Dir(path)
	if buildDir().MatchString(dir) {
		v.bind(dir, false)
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil // perhaps the image's
	}
	return v.bindUnlessShown(dir)
}

// outputs lets the test write what it was asked to write, and nothing beside it.
func (v *testView) outputs(o *testFiles) error {
	for _, dir := range o.dirs {
		if !v.bound(dir, true) {
			v.bind(dir, false)
		}
	}
	for _, file := range o.files {
		if v.bound(file, true) {
			continue
		}
		if dir := filepath.Dir(file); buildDir().MatchString(dir) {
			v.bind(dir, false)
			continue
		}
		if err := v.outputFile(file); err != nil {
			return err
		}
	}
	return nil
}

// outputFile makes a file, because there must be one to be mounted.
func (v *testView) outputFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	switch {
	case err == nil:
		v.made = append(v.made, path)
		err = f.Close()
	case errors.Is(err, os.ErrExist):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("create the test's output: %w", err)
	}
	v.bind(path, false)
	return nil
}

// cleanUp removes the files that the test did not write after all.
func (v *testView) cleanUp() {
	for _, path := range v.made {
		if st, err := os.Lstat(path); err == nil && st.Size() == 0 {
			_ = os.Remove(path)
		}
	}
}
