package unpack

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bytes"

	"github.com/bivouac-run/bivouac/rootfs/internal/nstest"
	"golang.org/x/sys/unix"
)

// TestLayer is a table of archives and what they become. No "becomes" means
// that the tree is described by the same lines as the archive.
func TestLayer(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, c := range map[string]struct{ archive, becomes, notes string }{
			"nothing": {},
			"kinds": {archive: `
				dir a
				file a/b data=hello
				link a/c a/b
				symlink a/d ../../nowhere
				fifo e`},
			"modes": {archive: `
				dir a mode=1777
				dir b mode=0
				dir b/c mode=2555
				file b/c/d mode=4755 data=x
				file b/e mode=0 data=x
				file b/f mode=6711
				fifo b/g mode=1600`},
			"implied directories": {archive: `file a/b/c`, becomes: `
				dir a
				dir a/b
				file a/b/c`},
			"names from the root": {archive: `
				file /a
				dir ./b/
				file ./b/../c
				file "b//d"
				link /e /a
				link f ./b/../b/d`, becomes: `
				file a
				dir b
				file b/d
				file c
				link e a
				link f b/d`},
			"root": {archive: `dir ./ mode=700`, becomes: `dir . mode=700`},
			"odd names": {archive: `
				file "a\nb"
				symlink "l\xff" "t\xff\n"
				file "\xff\xfe"`},
			"comment": {archive: `
				global x
				file a`, becomes: `file a`},
			"old and contiguous files": {archive: "type:\x00 a\ntype:7 b", becomes: "file a\nfile b"},
			"last one wins": {archive: `
				file a data=1
				file a data=2 mode=600
				dir d mode=700
				file d/x
				dir d mode=711
				symlink s 1
				symlink s 2
				fifo f
				fifo f mode=600`, becomes: `
				file a mode=600 data=2
				dir d mode=711
				file d/x
				fifo f mode=600
				symlink s 2`},
			"file replaces directory": {archive: `
				dir a
				dir a/b
				file a/b/c
				file a`, becomes: `file a`},
			"directory replaces file": {archive: `
				file a
				dir a
				file a/b`, becomes: `
				dir a user.overlay.opaque=y
				file a/b`},
			"directory replaces symlink": {archive: `
				dir real
				symlink a real
				file a/through
				dir a
				file a/b`, becomes: `
				dir a user.overlay.opaque=y
				file a/b
				dir real
				file real/through`},
			"symlink replaces directory": {archive: `
				dir real
				dir a
				file a/gone
				symlink a real
				file a/b`, becomes: `
				symlink a real
				dir real
				file real/b`},
			"file replaces symlink": {archive: `
				file real data=1
				symlink a real
				file a data=2`, becomes: `
				file a data=2
				file real data=1`},
			"link replaces file": {archive: `
				file a data=1
				file b data=2
				link b a`, becomes: `
				file a data=1
				link b a`},
			"link to itself": {archive: `
				file a data=1
				link b a
				link b a
				link a a
				link a b`, becomes: `
				file a data=1
				link b a`},
			"file replaces one name of two": {archive: `
				file a data=1
				link b a
				file b data=2`, becomes: `
				file a data=1
				file b data=2`},
			"whiteouts": {archive: `
				file .wh.a
				dir b
				file b/.wh.c
				file b/.wh..d
				file "c/.wh.e f"`, becomes: `
				whiteout a
				dir b
				whiteout b/.d
				whiteout b/c
				dir c
				whiteout "c/e f"`},
			"opaque": {archive: `
				dir a
				file a/.wh..wh..opq
				file a/b
				file c/.wh..wh..opq`, becomes: `
				dir a user.overlay.opaque=y
				file a/b
				dir c user.overlay.opaque=y`},
			"opaque root": {archive: `file .wh..wh..opq`, becomes: `dir . user.overlay.opaque=y`},
			"whiteout after its replacement": {archive: `
				file a
				file .wh.a
				dir b
				file b/c
				file .wh.b`, becomes: `
				file a
				dir b user.overlay.opaque=y
				file b/c`},
			"whiteout before its replacement": {archive: `
				file .wh.a
				file a
				file .wh.b
				dir b
				file .wh.c
				file c/implied`, becomes: `
				file a
				dir b user.overlay.opaque=y
				dir c user.overlay.opaque=y
				file c/implied`},
			"leftovers of AUFS": {archive: `
				dir .wh..wh.plnk
				file .wh..wh.plnk/12.34
				file .wh..wh.aufs
				file a`, becomes: `file a`},
			"device nodes": {archive: `
				dir dev
				char dev/null major=1
				block dev/sda major=8
				char dev/zero-zero
				file dev/later
				char dev/later
				char gone/null`, becomes: `dir dev`,
				notes: `left out 5 device nodes: "dev/null", "dev/sda", "dev/zero-zero", "dev/later", "gone/null"`},
			"attributes": {archive: `
				dir a xattr:user.x=1
				file a/b xattr:user.y=2 xattr:user.z="3 4"`, becomes: `
				dir a user.x=1
				file a/b user.y=2 user.z="3 4"`},
			"forged attributes": {archive: `
				dir a xattr:user.overlay.opaque=y
				file a/b xattr:user.overlay.whiteout=y xattr:trusted.overlay.redirect=/etc
				file a/c xattr:user.rootlesscontainers="\b\x01" xattr:user.overlay.metacopy=y`, becomes: `
				dir a
				file a/b
				file a/c`,
				notes: `dropped 5 extended attributes: "user.overlay.opaque on a", "trusted.overlay.redirect on a/b", ` +
					`"user.overlay.whiteout on a/b", "user.overlay.metacopy on a/c", "user.rootlesscontainers on a/c"`},
			"attributes that nothing here can hold": {archive: `
				file a xattr:security.selinux=x xattr:trusted.x=y xattr:system.posix_acl_access=z xattr:nonsense=1
				symlink b a xattr:user.x=1
				fifo c xattr:user.x=1`, becomes: `
				file a
				symlink b a
				fifo c`,
				notes: `dropped 6 extended attributes: "nonsense on a", "security.selinux on a", "system.posix_acl_access on a", ` +
					`"trusted.x on a", "user.x on b", ...`},
			"parent through symlinks": {archive: `
				dir usr
				dir usr/lib
				symlink lib usr/lib
				symlink abs /usr
				symlink usr/up ../usr/./lib
				symlink chain lib
				file lib/a
				file abs/b
				file usr/up/c
				file chain/d
				link e abs/lib/a`, becomes: `
				symlink abs /usr
				symlink chain lib
				file e
				symlink lib usr/lib
				dir usr
				file usr/b
				dir usr/lib
				link usr/lib/a e
				file usr/lib/c
				file usr/lib/d
				symlink usr/up ../usr/./lib`},
			"parent through dangling symlinks": {archive: `
				symlink a /made/here
				symlink b made/../there
				file a/f
				file b/f`, becomes: `
				symlink a /made/here
				symlink b made/../there
				dir made
				dir made/here
				file made/here/f
				dir there
				file there/f`},
			"symlink to its own directory": {archive: `
				dir a
				symlink a/self .
				file a/self/self/f
				symlink a/self/self b`, becomes: `
				dir a
				file a/f
				symlink a/self b`},
		} {
			t.Run(name, func(t *testing.T) {
				dir, report, err := layer(t, c.archive, options(t, mode))
				check(t, err)
				if c.becomes == "" {
					c.becomes = c.archive
				}
				if got, want := listing(t, dir), unindent(c.becomes); got != want {
					t.Errorf("got\n%swant\n%s", got, want)
				}
				if got := strings.Join(report.Notes(), "\n"); got != c.notes {
					t.Errorf("notes: got\n%s\nwant\n%s", got, c.notes)
				}
			})
		}
	})
}

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

// sparseArchive is a file of PAX's sparse format 1.0, which archive/tar cannot
// write: size bytes, all of them a hole but for data at the end.
func sparseArchive(size int64, data string) []byte {
	var b bytes.Buffer
	record := func(key, value string) string {
		s := " " + key + "=" + value + "\n"
		for n := len(s) + 1; ; n++ {
			if l := itoa(int64(n)) + s; len(l) == n {
				return l
			}
		}
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
		record("GNU.sparse.name", "sparse") + record("GNU.sparse.realsize", itoa(size))
	rawHeader(&b, "pax", 'x', int64(len(pax)))
	pad(&b, pax)
	regions := "1\n" + itoa(size-int64(len(data))) + "\n" + itoa(int64(len(data))) + "\n"
	rawHeader(&b, "sparse", '0', 512+int64(len(data)))
	pad(&b, regions)
	pad(&b, data)
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func TestContextEnds(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		ctx, cancel := context.WithCancel(context.Background())
		dir := t.TempDir()
		before := descriptors(t)
		r := io.MultiReader(bytes.NewReader(archive(t, "dir a\nfile a/b")[:2048]), readerFunc(func(p []byte) (int, error) {
			cancel()
			clear(p)
			return 0, nil
		}))
		if _, err := Layer(ctx, r, dir, options(t, mode)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		_, err := Layer(ctx, bytes.NewReader(sparseArchive(1<<40, "x")), dir, options(t, mode))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors open before, %d after", before, after)
		}
	}, nstest.Single)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReadsToTheEnd(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		r := bytes.NewReader(append(archive(t, "file a"), make([]byte, 1<<20)...))
		_, err := Layer(context.Background(), r, t.TempDir(), options(t, mode))
		check(t, err)
		if r.Len() != 0 {
			t.Errorf("%d bytes not read", r.Len())
		}
	}, nstest.Single)
}
