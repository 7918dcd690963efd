package unpack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

func TestRemove(t *testing.T) {
	c := newCanaries(t)
	deep := c.layer
	for range 3 * maxDepth {
		deep = filepath.Join(deep, "d")
		check(t, os.Mkdir(deep, 0o755), os.WriteFile(filepath.Join(deep, "f"), nil, 0o400))
	}
	for i := range 3000 {
		check(t, os.WriteFile(filepath.Join(c.layer, "d", "n"+itoa(int64(i))), nil, 0o600))
	}
	check(t, os.Symlink(c.dir(), filepath.Join(c.layer, "out")), os.Symlink(c.file(), filepath.Join(deep, "out")),
		unix.Mkfifo(filepath.Join(c.layer, "fifo"), 0o600), unix.Mknod(filepath.Join(c.layer, "whiteout"), unix.S_IFCHR, 0))
	for p := deep; p != filepath.Dir(c.layer); p = filepath.Dir(p) { // read-only, unreadable
		check(t, os.Chmod(p, []os.FileMode{0o500, 0o400, 0o000}[len(p)%3]))
	}
	before := descriptors(t)
	check(t, Remove(c.layer))
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors open before, %d after", before, after)
	}
	if _, err := os.Lstat(c.layer); !errors.Is(err, os.ErrNotExist) {
		t.Error("not removed:", err)
	}
	c.check(t)
	check(t, Remove(c.layer), Remove(filepath.Join(c.layer, "none", "such")))
}

func TestRemoveSymlink(t *testing.T) {
	c := newCanaries(t)
	link := filepath.Join(c.layer, "link")
	check(t, os.Symlink(c.dir(), link), Remove(link))
	if _, err := os.Lstat(link); !errors.Is(err, os.ErrNotExist) {
		t.Error("not removed:", err)
	}
	c.check(t)
}

func TestRemoveStopsAtMounts(t *testing.T) {
	nstest.Both(t, func(t *testing.T, _ nstest.Mode) {
		dir := t.TempDir()
		mounted := filepath.Join(dir, "sub", "mounted")
		check(t, os.MkdirAll(mounted, 0o755), unix.Mount("tmpfs", mounted, "tmpfs", 0, ""))
		defer func() { check(t, unix.Unmount(mounted, unix.MNT_DETACH)) }()
		if err := Remove(dir); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "mounted") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRemoveOthersFiles(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		dir, _, err := layer(t, "dir a uid=5 mode=0\nfile a/b uid=6 mode=0\ndir a/c uid=7 mode=500\nfile a/c/d", options(t, mode))
		check(t, err, Remove(dir))
	}, nstest.Mapped)
}
