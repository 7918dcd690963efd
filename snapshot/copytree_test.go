package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

// everything are all kinds of files.
var everything = []string{
	"dir a 1777", "file a/b hello 4755", "link a/c a/b", "symlink a/d ../../nowhere", "fifo e", "socket f", "dir empty 700",
	"file none", "attr a/b user.x 1", "attr a user.y 2", "file .wh.odd x", "dir closed 0", "file a/closed x 0", "link last a/b",
	"time a/b 1000", "time a/d 2000", "time e 3000", "time empty 4000", "time a 5000", "attr a/b user.a=b%c 3",
	"time . 6000",
}

// ofOverlay are those of an upper directory.
var ofOverlay = []string{
	"whiteout gone", "dir opaque", "attr opaque user.overlay.opaque y", "file opaque/x y", "whiteout a/gone",
	"attr a user.rootlesscontainers zz", "attr a user.overlay.overlay.own z", "time . 6000",
}

func owned(mode nstest.Mode, t testing.TB) []string {
	if mode == nstest.Single || nstest.MaxID(t) < 70 {
		return nil
	}
	return []string{"own a/b 70", "own a/d 71", "own e 72", "own f 72", "own a 73", "own closed 74", "file setuid x", "own setuid 9",
		"file setuid y 6755", "time a 5000"}
}

func copyTree(t testing.TB, to, from string, o CopyOptions) (Stats, error) {
	t.Helper()
	check(t, os.MkdirAll(to, 0o755))
	dst, err := handle.OpenDir(to)
	check(t, err)
	defer dst.Close()
	fd, err := handle.Open(unix.AT_FDCWD, from, unix.O_PATH|unix.O_DIRECTORY, 0)
	check(t, err)
	src := os.NewFile(uintptr(fd), from)
	defer src.Close()
	before := descriptors(t)
	stats, err := CopyTree(context.Background(), dst, src, o)
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors open before, %d after", before, after)
	}
	return stats, err
}

func onTmpfs(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func expectSame(t testing.TB, got, want string) {
	t.Helper()
	if g, w := inventory(t, got), inventory(t, want); g != w {
		t.Errorf("the copy is\n%swant\n%s", g, w)
	}
}

func TestCopyIsTheSame(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, c := range map[string]struct {
			from, to string
			o        CopyOptions
		}{
			"memory to disk": {onTmpfs(t, ""), t.TempDir(), CopyOptions{Layer: true}},
			"disk to memory": {t.TempDir(), onTmpfs(t, ""), CopyOptions{}},
			"disk to disk":   {t.TempDir(), t.TempDir(), CopyOptions{Layer: true}},
			"memory":         {onTmpfs(t, ""), t.TempDir(), CopyOptions{Merge: true}},
		} {
			t.Run(name, func(t *testing.T) {
				from, to := filepath.Join(c.from, "from"), filepath.Join(c.to, "to")
				lines := append(everything, owned(mode, t)...)
				if c.o.Layer {
					lines = append(lines, ofOverlay...)
				}
				plant(t, from, lines...)
				_, err := copyTree(t, to, from, c.o)
				check(t, err)
				expectSame(t, to, from)
				if c.o.Merge {
					_, err := copyTree(t, to, from, c.o) // once more, over everything
					check(t, err)
					expectSame(t, to, from)
				}
			})
		}
	})
}

func TestCopyLeavesOverlaysOwnAttributesOut(t *testing.T) {
	from := plant(t, t.TempDir(), "file a x", "attr a user.overlay.origin x", "attr a user.overlay.redirect /etc", "attr a user.keep y",
		"dir d", "attr d user.overlay.opaque y", "attr d user.overlay.impure y")
	to := t.TempDir()
	_, err := copyTree(t, to, from, CopyOptions{Layer: true})
	check(t, err)
	if got := inventory(t, to); strings.Contains(got, "origin") || strings.Contains(got, "redirect") || strings.Contains(got, "impure") ||
		!strings.Contains(got, "opaque") || !strings.Contains(got, "user.keep") {
		t.Errorf("the copy is\n%s", got)
	}
}

func TestCopyKeepsHoles(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	f, err := os.Create(filepath.Join(from, "f"))
	check(t, err)
	_, err = f.WriteAt([]byte("middle"), 64<<20)
	check(t, err, f.Truncate(128<<20), f.Close())
	stats, err := copyTree(t, to, from, CopyOptions{})
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Stat(filepath.Join(to, "f"), &st))
	if st.Size != 128<<20 || st.Blocks > 1000 || stats.Bytes != 128<<20 || stats.Files != 2 {
		t.Errorf("%d bytes in %d blocks; %+v", st.Size, st.Blocks, stats)
	}
	b := make([]byte, 6)
	g, err := os.Open(filepath.Join(to, "f"))
	check(t, err)
	defer g.Close()
	if _, err := g.ReadAt(b, 64<<20); err != nil || string(b) != "middle" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCopyOfAVeryDeepTree(t *testing.T) {
	from := t.TempDir()
	fd, err := handle.Open(unix.AT_FDCWD, from, handle.DirFlags, 0)
	check(t, err)
	name := strings.Repeat("d", 200)
	for range 60 { // 12 kB: more than the kernel takes at once
		check(t, unix.Mkdirat(fd, name, 0o755))
		next, err := handle.Open(fd, name, handle.DirFlags, 0)
		check(t, err, unix.Close(fd))
		fd = next
	}
	check(t, unix.Symlinkat("x", fd, "last"), unix.Close(fd))
	stats, err := copyTree(t, t.TempDir(), from, CopyOptions{})
	if err != nil || stats.Files != 62 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestCopyIntoWhatIsThere(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		from := plant(t, filepath.Join(t.TempDir(), "from"), "dir d", "file d/a new", "dir mounted", "file mounted/x y", "dir was-file", "file f new")
		to := plant(t, t.TempDir(), "dir d", "file d/a old", "file d/stays x", "dir mounted", "file was-file x", "symlink f /etc/passwd")
		check(t, unix.Mount("tmpfs", filepath.Join(to, "mounted"), "tmpfs", 0, ""))
		defer unix.Unmount(filepath.Join(to, "mounted"), unix.MNT_DETACH)
		_, err := copyTree(t, to, from, CopyOptions{Merge: true})
		check(t, err)
		got := inventory(t, to)
		for _, want := range []string{`"d/stays"`, `"mounted" 4`, `"was-file" 4`, fmt.Sprintf(`"f" %o`, unix.S_IFREG|0o644)} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
		if strings.Contains(got, "mounted/x") || strings.Count(got, digest([]byte("new"))[:16]) != 2 {
			t.Errorf("the result is\n%s", got)
		}
		_, err = copyTree(t, to, from, CopyOptions{})
		if !errors.Is(err, unix.EEXIST) {
			t.Errorf("without Merge: %v", err)
		}
	}, nstest.Single)
}

func TestCopyLeavesMountsOut(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		from := plant(t, t.TempDir(), "dir mounted", "file bound x", "file a b")
		check(t, unix.Mount("tmpfs", filepath.Join(from, "mounted"), "tmpfs", 0, ""))
		check(t, unix.Mount("/proc/self/status", filepath.Join(from, "bound"), "", unix.MS_BIND, ""))
		to := t.TempDir()
		_, err := copyTree(t, to, from, CopyOptions{})
		check(t, err)
		if got := inventory(t, to); strings.Contains(got, "mounted") || strings.Contains(got, "bound") || !strings.Contains(got, `"a"`) {
			t.Errorf("the copy is\n%s", got)
		}
		check(t, unix.Unmount(filepath.Join(from, "mounted"), unix.MNT_DETACH), unix.Unmount(filepath.Join(from, "bound"), unix.MNT_DETACH))
	}, nstest.Single)
}

func TestCopyToAFullDisk(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		from := t.TempDir()
		for i := range 20 {
			check(t, os.WriteFile(filepath.Join(from, fmt.Sprint(i)), make([]byte, 100<<10), 0o600))
		}
		s, err := Open(filepath.Join(onTmpfs(t, "size=1m"), "store"))
		check(t, err)
		d, err := s.Draft(context.Background(), nil)
		check(t, err)
		_, err = copyTree(t, d.Layer(), from, CopyOptions{})
		if !errors.Is(err, rootfs.NoSpace) {
			t.Errorf("got %v", err)
		}
		check(t, d.Discard())
		expectEmpty(t, s)
	}, nstest.Single)
}

// TestCopyOfATreeThatChanges has somebody swap directories and files against symlinks that lead out of the tree.
func TestCopyOfATreeThatChanges(t *testing.T) {
	top := t.TempDir()
	from := plant(t, filepath.Join(top, "from"), "dir a", "dir a/b", "file a/b/c inside", "file f inside")
	outside := plant(t, filepath.Join(top, "outside"), "dir b", "file b/c SECRET", "file c SECRET", "fifo pipe")
	before := inventory(t, outside)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				swap(from, outside)
			}
		}
	}()
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		to := t.TempDir()
		_, _ = copyTree(t, to, from, CopyOptions{})
		check(t, filepath.WalkDir(to, func(name string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if content, err := os.ReadFile(name); err != nil || strings.Contains(string(content), "SECRET") {
					t.Errorf("%s: %q, %v", name, content, err)
				}
			}
			return err
		}))
	}
	close(stop)
	<-done
	if after := inventory(t, outside); after != before {
		t.Errorf("outside changed: before\n%safter\n%s", before, after)
	}
}

func swap(from, outside string) {
	for _, name := range []string{"a", "f"} {
		kept := filepath.Join(from, name)
		target := map[string]string{"a": outside, "f": filepath.Join(outside, "c")}[name]
		_ = os.Rename(kept, kept+".aside")
		_ = os.Symlink(target, kept)
		_ = os.Remove(kept)
		_ = unix.Mkfifo(kept, 0o600)
		_ = os.Remove(kept)
		_ = os.Rename(kept+".aside", kept)
	}
}
