package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

// stepOf is the step of a plan for a change below the real directory.
func stepOf(t *testing.T, tried *tried, p string, kind sandbox.ChangeKind) tryStep {
	t.Helper()
	s := tryStep{change: sandbox.Change{Path: p, Kind: kind}}
	var err error
	if kind != sandbox.ChangeDeleted {
		if s.now, err = tried.lstat(p); err != nil {
			t.Fatal(err)
		}
	}
	if s.old, err = lookAt(p); err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// later is when everything that there is was changed before.
func later(t *testing.T) startTime {
	t.Helper()
	return startTime{unix.NsecToTimespec(time.Now().Add(time.Hour).UnixNano())}
}

func TestTryRemovesNothingThatTheCommandHasNotSeen(t *testing.T) {
	tried, real, _ := triedIn(t)
	must(t, os.MkdirAll(real+"/project/mnt", 0o755), os.MkdirAll(real+"/other", 0o755))
	mounted, err := keeper.ParseHostFiles(strings.NewReader("36 35 0:31 / " + real + "/project/mnt rw - fuse.sshfs server: rw\n"))
	must(t, err)
	before := *tried
	before.seen = mounted
	for _, p := range []*planner{
		{tried: tried, now: mounted}, {tried: &before, now: &keeper.HostFiles{}}, {tried: tried, now: &keeper.HostFiles{}, own: []string{real + "/project/store"}},
	} {
		s := stepOf(t, tried, real+"/project", sandbox.ChangeDeleted)
		if err := p.checkLost(&s); err == nil {
			t.Error("a directory is removed with what is mounted in it, or the store")
		}
		s = stepOf(t, tried, real+"/other", sandbox.ChangeDeleted)
		if err := p.checkLost(&s); err != nil {
			t.Error(err)
		}
	}
	root, err := os.Open("/")
	must(t, err)
	defer root.Close()
	if f, err := openIn(root, "proc"); err == nil {
		f.Close()
		t.Error("a directory is entered on which another file system is mounted")
	}
}

func TestTryPutsBackADirectoryThatWasChangedMeanwhile(t *testing.T) {
	tried, real, view := triedIn(t)
	must(t, os.MkdirAll(real+"/gone/sub", 0o755), os.MkdirAll(real+"/replaced", 0o755))
	put(t, "new", view+"/replaced")
	steps := []tryStep{stepOf(t, tried, real+"/gone", sandbox.ChangeDeleted)}
	exchanged := []tryStep{stepOf(t, tried, real+"/replaced", sandbox.ChangeModified)}
	must(t, tried.began.pass())
	put(t, "mine", real+"/gone/sub/new", real+"/replaced/new") // after the plan
	now, err := lookAt(real + "/replaced")
	must(t, err)
	exchanged[0].old = now
	for _, list := range [][]tryStep{steps, exchanged} {
		if err := tried.apply(list); err == nil || !strings.Contains(err.Error(), "was changed meanwhile") {
			t.Errorf("got %v", err)
		}
	}
	for _, name := range []string{"/gone/sub/new", "/replaced/new"} {
		if got, _ := os.ReadFile(real + name); string(got) != "mine" {
			t.Errorf("%s has %q", name, got)
		}
	}
	if left, _ := filepath.Glob(real + "/.bivouac-try-*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestTryAppliesToFilesWithSeveralNames(t *testing.T) {
	tried, real, view := triedIn(t)
	must(t, os.Mkdir(real+"/dir", 0o755))
	put(t, "old", real+"/a")
	for _, name := range []string{"/b", "/c", "/dir/d", "/dir/e", "/z"} {
		must(t, os.Link(real+"/a", real+name))
	}
	put(t, "new", view+"/c", view+"/n1")
	must(t, os.Link(view+"/n1", view+"/n2"))
	tried.began = later(t)
	steps := []tryStep{
		stepOf(t, tried, real+"/a", "D"), stepOf(t, tried, real+"/b", "D"), stepOf(t, tried, real+"/c", "C"), stepOf(t, tried, real+"/dir", "D"),
		stepOf(t, tried, real+"/n1", "A"), stepOf(t, tried, real+"/n2", "A"),
	}
	stderr := captureStderr(t)
	err := tried.apply(steps)
	text := stderr()
	must(t, err)
	if !strings.Contains(text, real+"/c was a file with other names") || strings.Count(text, "\n") != 1 {
		t.Errorf("said %q", text)
	}
	names, err := filepath.Glob(real + "/*")
	must(t, err)
	if got := strings.ReplaceAll(strings.Join(names, " "), real, ""); got != "/c /n1 /n2 /z" {
		t.Errorf("left %s", got)
	}
	one, err := os.Stat(real + "/n1")
	must(t, err)
	if two, err := os.Stat(real + "/n2"); err != nil || !os.SameFile(one, two) {
		t.Errorf("a file with two names has become two: %v", err)
	}
}

func TestTryKeepsHolesModesAndGroups(t *testing.T) {
	tried, real, view := triedIn(t)
	put(t, "x", view+"/sparse")
	must(t, os.Truncate(view+"/sparse", 64<<20), os.Mkdir(view+"/marked", 0o755), os.Chmod(view+"/marked", 0o755|os.ModeSetgid))
	must(t, unix.Mkfifo(view+"/fifo", 0o600), os.Chmod(view+"/fifo", 0o666))
	must(t, tried.apply([]tryStep{stepOf(t, tried, real+"/fifo", "A"), stepOf(t, tried, real+"/marked", "A"), stepOf(t, tried, real+"/sparse", "A")}))
	st, err := os.Stat(real + "/sparse")
	must(t, err)
	if blocks := st.Sys().(*syscall.Stat_t).Blocks; st.Size() != 64<<20 || blocks*512 > 1<<20 {
		t.Errorf("%d bytes in %d blocks", st.Size(), blocks)
	}
	for name, want := range map[string]os.FileMode{"fifo": 0o666 | os.ModeNamedPipe, "marked": 0o755 | os.ModeSetgid | os.ModeDir} {
		if st, err := os.Stat(filepath.Join(real, name)); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

func TestTrySetsTemporaryFilesAside(t *testing.T) {
	tried, real, view := triedIn(t)
	run := strings.TrimSuffix(view, real) + "/run"
	must(t, os.MkdirAll(run, 0o755))
	put(t, "content", run+"/left")
	put(t, "", run+"/empty")
	put(t, "old", real+"/file")
	all := []sandbox.Change{{Path: real + "/file", Kind: "D"}, {Path: "/run", Kind: "C"}, {Path: "/run/empty", Kind: "A"}, {Path: "/run/left", Kind: "A"}}
	removal := []tryStep{stepOf(t, tried, real+"/file", "D")}
	must(t, tried.choose(&chooser{}, all))
	var said strings.Builder
	tried.tellScratch(&said)
	if len(tried.changes) != 1 || len(tried.scratch) != 3 || !strings.Contains(said.String(), "/run/empty, /run/left, which") {
		t.Errorf("%v; %v; %q", tried.changes, tried.scratch, said.String())
	}
	if err := tried.checkScratch(removal); err == nil || !strings.Contains(err.Error(), "/run/left") {
		t.Errorf("a file that may have been moved there is removed: %v", err)
	}
	if err := tried.checkScratch(nil); err != nil {
		t.Error(err)
	}
	tried.scratch = nil
	chosen, err := newChooser([]string{real, "/run/left"})
	must(t, err)
	must(t, tried.choose(chosen, all), tried.checkScratch(removal))
	if len(tried.changes) != 2 {
		t.Errorf("asked for by path: %v", tried.changes)
	}
}
