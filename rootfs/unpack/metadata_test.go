package unpack

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

func TestUmaskHasNoInfluence(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		const lines = "dir a mode=1777\nfile a/b mode=666\nfifo a/c mode=666\nfile d/implied\n"
		defer syscall.Umask(syscall.Umask(0o777))
		dir, _, err := layer(t, lines, options(t, mode))
		syscall.Umask(0o022)
		check(t, err)
		if got, want := listing(t, dir), "dir a mode=1777\nfile a/b mode=666\nfifo a/c mode=666\ndir d\nfile d/implied\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestDefaultACLHasNoInfluence(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		parent := t.TempDir()
		// version 2; user, group and others may do anything
		acl := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x04\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x07\x00\xff\xff\xff\xff"
		if err := unix.Setxattr(parent, "system.posix_acl_default", []byte(acl), 0); err != nil {
			t.Skipf("no ACLs on the file system of %s: %v", parent, err)
		}
		dir := filepath.Join(parent, "layer")
		check(t, os.Mkdir(dir, 0o755))
		if _, ok := attrsOf(t, dir)["system.posix_acl_default"]; !ok {
			t.Fatal("the ACL was not inherited, the test tests nothing")
		}
		_, err := Layer(context.Background(), bytes.NewReader(archive(t, "dir a\nfile a/b")), dir, options(t, mode))
		check(t, err)
		if got, want := listing(t, dir), "dir a\nfile a/b\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestTimes(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		// More directories than stay open, and all of them changed again later.
		lines := "dir . time=2000-01-01T00:00:00.5Z\n"
		for _, round := range []string{"1", "2"} {
			for i := range 3 * maxOpen {
				dir := strings.Repeat("x", i+1)
				if round == "1" {
					lines += "dir " + dir + " time=2001-01-01T00:00:00.123456789Z\n"
				}
				lines += "file " + dir + "/" + round + " time=1960-01-01T00:00:00Z\n"
			}
		}
		lines += "symlink s x time=2002-01-01T00:00:00Z\nfifo f time=2003-01-01T00:00:00Z\nfile s/through time=1960-01-01T00:00:00Z\n"
		dir, _, err := layer(t, lines, options(t, mode))
		check(t, err)
		for name, want := range map[string]string{
			".": "2000-01-01T00:00:00.5Z", "x": "2001-01-01T00:00:00.123456789Z", "x/1": "1960-01-01T00:00:00Z",
			strings.Repeat("x", 100): "2001-01-01T00:00:00.123456789Z", strings.Repeat("x", 190) + "/2": "1960-01-01T00:00:00Z",
			"s": "2002-01-01T00:00:00Z", "f": "2003-01-01T00:00:00Z",
		} {
			info, err := os.Lstat(filepath.Join(dir, name))
			check(t, err)
			if got := info.ModTime().UTC().Format("2006-01-02T15:04:05.999999999Z"); got != want {
				t.Errorf("%.20s: got %s, want %s", name, got, want)
			}
		}
	})
}

func TestDeepTree(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		// Each name is short enough, what they lead to is not.
		half := strings.Repeat("d/", 1500)
		lines := "dir " + half + "\nsymlink a " + half + "\nfile a/" + half + "f\nsymlink b a/" + half + "\nfile b/" + half + "g\n"
		dir, _, err := layer(t, lines, options(t, mode))
		check(t, err)
		before := descriptors(t)
		check(t, Remove(dir))
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors open before, %d after", before, after)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Error("not removed:", err)
		}
		_, _, err = layer(t, "file "+strings.Repeat("d/", 2047)+"ff\n", options(t, mode))
		if !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("a name of 4096 bytes: got %v", err)
		}
	})
}

func TestFileCapability(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		// Version 2, effective: CAP_NET_RAW. The kernel keeps it with the id of the
		// namespace's user 0 and shows it here as it was.
		const v2 = `\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00`
		dir, report, err := layer(t, `file ping mode=755 xattr:security.capability="`+v2+`"`+"\n", options(t, mode))
		check(t, err)
		if len(report.Notes()) > 0 {
			t.Error(report.Notes())
		}
		value := attrsOf(t, filepath.Join(dir, "ping"))["security.capability"]
		if len(value) < 8 || value[4:8] != "\x00\x20\x00\x00" {
			t.Errorf("got %q", value)
		}
	})
}

func TestSingleCannotOwnSymlinks(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		_, report, err := layer(t, "symlink a b uid=1\nfifo c gid=1\nsymlink d e\n", options(t, mode))
		check(t, err)
		want := `lost the owner of 2 symlinks and fifos, which cannot record it with a single id: "a", "c"`
		if got := strings.Join(report.Notes(), "\n"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}, nstest.Single)
}

func TestSparseFile(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		dir := t.TempDir()
		_, err := Layer(context.Background(), bytes.NewReader(sparseArchive(1<<30, "tail")), dir, options(t, mode))
		check(t, err)
		var st unix.Stat_t
		check(t, unix.Lstat(filepath.Join(dir, "sparse"), &st))
		if st.Size != 1<<30 || st.Blocks*512 > 1<<20 {
			t.Errorf("%d bytes in %d blocks", st.Size, st.Blocks)
		}
		f, err := os.Open(filepath.Join(dir, "sparse"))
		check(t, err)
		defer f.Close()
		tail := make([]byte, 5)
		if _, err := f.ReadAt(tail, 1<<30-5); err != nil || string(tail) != "\x00tail" {
			t.Errorf("got %q, %v", tail, err)
		}
	})
}

// TestLayersAreTheSameWheneverUnpacked has directories that no entry describes, in some that are not open any more.
func TestLayersAreTheSameWheneverUnpacked(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		eachWalk(t, "times", mode, func(t *testing.T, o Options) {
			lines, want := "file a/b/c\n", map[string]int64{"a": 0, "a/b": 0}
			for i := range 3 * maxOpen {
				dir := strings.Repeat("x", i+1)
				lines += "dir " + dir + " time=2001-01-01T00:00:00Z\n"
				want[dir], want[dir+"/y"], want[dir+"/y/z"] = 978307200, 0, 0
			}
			for i := range 3 * maxOpen {
				lines += "file " + strings.Repeat("x", i+1) + "/y/z/f\n"
			}
			dir, _, err := layer(t, lines+"file a/d/e\n", o)
			check(t, err)
			for name, seconds := range want {
				if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.ModTime().Unix() != seconds {
					t.Fatalf("%s is of %v, not %d, %v", name, info.ModTime(), seconds, err)
				}
			}
		})
	})
}
