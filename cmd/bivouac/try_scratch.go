package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// scratchPlaces are directories in which everybody expects files to vanish, the machine's own at a restart. Where they are in
// memory, a command that is tried has its own.
func (t *tried) scratchPlaces() []string {
	places := []string{"/run"}
	for _, dir := range []string{"/tmp", "/var/tmp", os.TempDir()} {
		if real, err := filepath.EvalSymlinks(dir); err == nil && !slices.Contains(places, real) && !t.seen.Shows(real) {
			places = append(places, real)
		}
	}
	return places
}

// setAside takes out of the changes those to places of scratch, but for what is asked for by its path.
func (t *tried) setAside(asked *chooser) {
	t.selected = len(asked.patterns) > 0
	places := t.scratchPlaces()
	scratch := func(c sandbox.Change) bool {
		in := func(p string) bool {
			return slices.ContainsFunc(places, func(dir string) bool { return liesIn(p, dir) })
		}
		return in(c.Path) && !slices.ContainsFunc(asked.patterns, in)
	}
	for _, c := range t.changes {
		if scratch(c) {
			t.scratch = append(t.scratch, c)
		}
	}
	t.changes = slices.DeleteFunc(t.changes, scratch)
}

// addSharedMemory notes what the command has left in /dev/shm, where a file system of its own is mounted.
func (t *tried) addSharedMemory() error {
	const place = "dev/shm"
	err := fs.WalkDir(t.view, place, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && name != place {
			t.scratch = append(t.scratch, sandbox.Change{Path: "/" + name, Kind: sandbox.ChangeAdded})
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a bind mount of the user's own has hidden it
	}
	if err != nil {
		return fmt.Errorf("look for what the command left in /%s: %w", place, err)
	}
	return nil
}

// checkScratch refuses to remove or replace files if what they held may be in a file that goes with the command's own places, as
// after "mv file /tmp". Who has chosen by path what is to be done has decided that.
func (t *tried) checkScratch(steps []tryStep) error {
	lost := slices.IndexFunc(t.scratch, func(c sandbox.Change) bool {
		info, err := t.lstat(c.Path)
		return err == nil && info.Mode().IsRegular() && info.Size() > 0
	})
	ends := slices.IndexFunc(steps, func(s tryStep) bool { return s.old != nil && !s.keepsDirectory() })
	if t.selected || lost < 0 || ends < 0 {
		return nil
	}
	return sandbox.Errorf(sandbox.CodeInvalid, "nothing was applied: %s would be removed or replaced, and the command left %s, which is not kept and may hold what was there",
		printable(steps[ends].change.Path), printable(t.scratch[lost].Path)).WithRemedy("say by --path which changes are to be made")
}

// tellScratch says what goes with the command's own places for temporary files.
func (t *tried) tellScratch(w io.Writer) {
	var left []string
	for _, c := range t.scratch {
		if info, err := t.lstat(c.Path); c.Kind == sandbox.ChangeAdded && (err != nil || !info.IsDir()) {
			left = append(left, printable(c.Path))
		}
	}
	if len(left) == 0 {
		return
	}
	more := ""
	if n := len(left) - maxToldScratch; n > 0 {
		left, more = left[:maxToldScratch], fmt.Sprintf(" and %d more", n)
	}
	fmt.Fprintf(w, "bivouac: not kept: %s%s, which the command left where it had a place for temporary files of its own\n", strings.Join(left, ", "), more)
}

// maxToldScratch is how many files are told by name.
const maxToldScratch = 5
