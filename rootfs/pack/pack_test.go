package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	goarchive "github.com/moby/go-archive"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/nstest"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func packed(t testing.TB, dir string, o Options) ([]byte, Report) {
	t.Helper()
	var b bytes.Buffer
	report, err := Layer(t.Context(), &b, dir, o)
	check(t, err)
	return b.Bytes(), report
}

func unpacked(t testing.TB, stream []byte, mode nstest.Mode) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { _ = unpack.Remove(dir) })
	if _, err := unpack.Layer(t.Context(), bytes.NewReader(stream), dir, unpack.Options{Single: mode == nstest.Single}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lines lists a stream, an entry a line: type, name, mode, owner, target, size, attributes.
func lines(t testing.TB, stream []byte) []string {
	t.Helper()
	var out []string
	r := tar.NewReader(bytes.NewReader(stream))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		check(t, err)
		content, err := io.ReadAll(r)
		check(t, err)
		line := fmt.Sprintf("%c %s %o %d:%d", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if len(content) > 0 && len(content) < 100 {
			line += " " + string(content)
		}
		for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			if strings.HasPrefix(key, "SCHILY.") {
				line += " " + strings.TrimPrefix(key, "SCHILY.xattr.") + "=" + h.PAXRecords[key]
			}
		}
		out = append(out, line)
	}
}

func compare(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// upper makes a directory as overlayfs leaves it.
func upper(t testing.TB) string {
	t.Helper()
	d := t.TempDir()
	at := func(name string) string { return filepath.Join(d, name) }
	check(t, os.Chmod(d, 0o755))
	check(t, os.MkdirAll(at("etc/deep"), 0o755))
	check(t, os.WriteFile(at("etc/b"), []byte("bee"), 0o644))
	check(t, os.Link(at("etc/b"), at("etc/a")))
	check(t, os.Symlink("../etc/b", at("z")))
	check(t, unix.Mkfifo(at("pipe"), 0o600))
	check(t, unix.Mknod(at("etc/gone"), unix.S_IFCHR, 0))
	check(t, os.Mkdir(at("new"), 0o700))
	check(t, unix.Setxattr(at("new"), handle.Opaque, []byte("y"), 0))
	check(t, unix.Setxattr(at("etc"), handle.OverlayPrefix+"impure", []byte("y"), 0))
	check(t, unix.Setxattr(at("etc/b"), handle.OverlayPrefix+"origin", []byte("\x00\xfb"), 0))
	check(t, unix.Setxattr(at("etc/b"), "user.mine", []byte("1"), 0))
	check(t, unix.Setxattr(at("etc/b"), "user.a=b", []byte("1"), 0))
	check(t, os.WriteFile(at("su"), nil, 0o755))
	check(t, os.Chmod(at("su"), 0o755|os.ModeSetuid))
	check(t, os.WriteFile(at("new/.wh.trick"), nil, 0o644))
	return d
}

var upperLines = []string{
	"6 pipe 600 0:0", "0 su 4755 0:0", "2 z 777 0:0 -> ../etc/b", "5 etc/ 755 0:0",
	"0 etc/a 644 0:0 bee user.mine=1", "1 etc/b 644 0:0 -> etc/a", "0 etc/.wh.gone 600 0:0",
	"5 etc/deep/ 755 0:0", "5 new/ 700 0:0", "0 new/.wh..wh..opq 600 0:0",
}

func TestLayer(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		d := upper(t)
		l, err := net.Listen("unix", filepath.Join(d, "etc/socket"))
		check(t, err)
		defer l.Close()
		stream, report := packed(t, d, Options{Single: mode == nstest.Single})
		compare(t, lines(t, stream), upperLines)
		if report.Entries != len(upperLines) || report.Bytes != 3 || len(report.Notes()) != 2 {
			t.Errorf("%+v", report)
		}
	})
}

func TestOwners(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		d := t.TempDir()
		check(t, os.Chmod(d, 0o755))
		name := filepath.Join(d, "x")
		check(t, os.WriteFile(name, nil, 0o644))
		if mode == nstest.Single {
			check(t, unix.Setxattr(name, handle.OwnerAttribute, []byte{8, 0xe8, 7, 16, 5}, 0))
		} else {
			check(t, os.Chown(name, 1000, 5))
		}
		stream, _ := packed(t, d, Options{Single: mode == nstest.Single})
		compare(t, lines(t, stream), []string{"0 x 644 1000:5"})
	})
}

func TestCapabilities(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		d := t.TempDir()
		check(t, os.WriteFile(filepath.Join(d, "ping"), nil, 0o755))
		raw := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		check(t, unix.Setxattr(filepath.Join(d, "ping"), "security.capability", []byte(raw), 0))
		stream, _ := packed(t, d, Options{Single: mode == nstest.Single})
		h, err := tar.NewReader(bytes.NewReader(stream)).Next()
		for err == nil && h.Name != "ping" {
			t.Fatal(h.Name)
		}
		check(t, err)
		if got := h.PAXRecords["SCHILY.xattr.security.capability"]; got != raw {
			t.Errorf("%x", got)
		}
	})
}

func TestOmit(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		d, lower := upper(t), t.TempDir()
		check(t, os.MkdirAll(filepath.Join(d, "var/lib/data"), 0o755))
		check(t, os.MkdirAll(filepath.Join(d, "made/up/mount"), 0o755))
		check(t, os.MkdirAll(filepath.Join(lower, "var/lib"), 0o755))
		check(t, os.MkdirAll(filepath.Join(lower, "new"), 0o755))
		check(t, os.MkdirAll(filepath.Join(d, "changed/mount"), 0o755))
		check(t, os.MkdirAll(filepath.Join(lower, "changed"), 0o755))
		check(t, os.Chmod(filepath.Join(d, "changed"), 0o711))
		o := Options{Single: mode == nstest.Single, Lower: []string{lower},
			Omit: []string{"/etc/a", "etc/deep", "/var/lib/data", "/made/up/mount/", "/changed/mount", "/su", "/none"}}
		want := []string{"6 pipe 600 0:0", "2 z 777 0:0 -> ../etc/b", "5 changed/ 711 0:0", "5 etc/ 755 0:0",
			"0 etc/b 644 0:0 bee user.mine=1", "0 etc/.wh.gone 600 0:0", "5 new/ 700 0:0", "0 new/.wh..wh..opq 600 0:0"}
		stream, _ := packed(t, d, o)
		compare(t, lines(t, stream), want)
		o.Adopt = true
		again, _ := packed(t, d, o)
		if !bytes.Equal(stream, again) {
			t.Error("adopting makes another layer")
		}
		plain, _ := packed(t, d, Options{Single: o.Single})
		if !bytes.Equal(stream, plain) {
			t.Errorf("what was adopted is not what was packed: %v", lines(t, plain))
		}
		if n, err := unix.Lgetxattr(filepath.Join(d, "etc/b"), handle.OverlayPrefix+"origin", nil); err == nil {
			t.Errorf("an attribute of the upper directory is still there: %d bytes", n)
		}
	})
}

func TestOpaqueWithNothingBelow(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		stream, _ := packed(t, upper(t), Options{Single: true, Lower: []string{t.TempDir()}})
		for _, line := range lines(t, stream) {
			if strings.Contains(line, "opq") {
				t.Error(line)
			}
		}
	}, nstest.Single)
}

func TestLatest(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		d := upper(t)
		latest := time.Unix(1000, 0)
		old := filepath.Join(d, "su")
		check(t, os.Chtimes(old, time.Unix(5, 7), time.Unix(5, 7)))
		stream, _ := packed(t, d, Options{Latest: latest, Adopt: true})
		r := tar.NewReader(bytes.NewReader(stream))
		for h, err := r.Next(); err == nil; h, err = r.Next() {
			if want := int64(1000); h.ModTime.Unix() != want && h.Name != "su" && !strings.Contains(h.Name, ".wh.") {
				t.Errorf("%s: %v", h.Name, h.ModTime)
			}
		}
		for _, name := range []string{".", "etc", "etc/a", "z", "pipe", "etc/deep", "su"} {
			var st unix.Stat_t
			check(t, unix.Lstat(filepath.Join(d, name), &st))
			if name != "." && st.Mtim.Sec > 1000 {
				t.Errorf("%s: %v", name, st.Mtim)
			}
		}
	})
}

func TestSparse(t *testing.T) { nstest.Run(t, sparse, nstest.Single) }

func sparse(t *testing.T, _ nstest.Mode) {
	d := t.TempDir()
	check(t, os.Chmod(d, 0o755))
	f, err := os.Create(filepath.Join(d, "big"))
	check(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("middle"), 1<<30)
	check(t, err)
	check(t, f.Truncate(3<<30))
	check(t, os.WriteFile(filepath.Join(d, "next"), []byte("next"), 0o644))
	stream, report := packed(t, d, Options{})
	if len(stream) > 1<<20 || report.Bytes != 3<<30+4 {
		t.Fatalf("%d bytes, %+v", len(stream), report)
	}
	r := tar.NewReader(bytes.NewReader(stream))
	h, err := r.Next()
	check(t, err)
	if h.Name != "big" || h.Size != 3<<30 || h.Mode != 0o644 {
		t.Fatalf("%+v", h)
	}
	_, err = io.CopyN(io.Discard, r, 1<<30)
	check(t, err)
	b := make([]byte, 6)
	_, err = io.ReadFull(r, b)
	check(t, err)
	h, err = r.Next()
	check(t, err)
	if string(b) != "middle" || h.Name != "next" {
		t.Errorf("%q, then %s", b, h.Name)
	}
	if tool, err := os.Stat("/usr/bin/tar"); err == nil && tool != nil {
		gnuTar(t, stream)
	}
}

func TestPathTooLong(t *testing.T) {
	d := t.TempDir()
	t.Cleanup(func() { _ = unpack.Remove(d) })
	at, err := unix.Open(d, handle.DirFlags, 0)
	check(t, err)
	name := strings.Repeat("x", 200)
	for range 25 {
		check(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, handle.DirFlags, 0)
		check(t, err)
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	if _, err := Layer(t.Context(), io.Discard, d, Options{}); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
}

// TestRoundTrip packs random trees: what unpack, and what Docker makes of the stream, packs to the same stream.
func TestRoundTrip(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for seed := range uint64(40) {
			stream, _ := packed(t, randomUpper(t, seed, mode), Options{Single: mode == nstest.Single})
			again, _ := packed(t, unpacked(t, stream, mode), Options{Single: mode == nstest.Single})
			compare(t, lines(t, again), lines(t, stream))
			if !bytes.Equal(stream, again) && !t.Failed() {
				t.Errorf("seed %d: the streams differ", seed)
			}
			if mode == nstest.Mapped {
				docker := t.TempDir()
				check(t, os.Chmod(docker, 0o755))
				check(t, goarchive.Unpack(bytes.NewReader(stream), docker, &goarchive.TarOptions{
					WhiteoutFormat: goarchive.OverlayWhiteoutFormat, InUserNS: true}))
				other, _ := packed(t, docker, Options{})
				compare(t, lines(t, other), lines(t, stream))
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

// randomUpper makes a tree with all kinds of files.
func randomUpper(t *testing.T, seed uint64, mode nstest.Mode) string {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	d := t.TempDir()
	check(t, os.Chmod(d, 0o755))
	dirs, files := []string{"."}, []string{}
	for i := range 30 {
		name := filepath.Join(dirs[r.IntN(len(dirs))], fmt.Sprintf("%c%d\xff ü", 'a'+r.IntN(26), i))
		at := filepath.Join(d, name)
		switch r.IntN(7) {
		case 0, 1:
			check(t, os.Mkdir(at, 0o755))
			if r.IntN(3) == 0 {
				check(t, unix.Setxattr(at, handle.Opaque, []byte("y"), 0))
			} else { // what is in an opaque directory has no whiteouts
				dirs = append(dirs, name)
			}
		case 2:
			check(t, os.Symlink(fmt.Sprint("../", i), at))
			continue
		case 3:
			check(t, unix.Mknod(at, unix.S_IFCHR, 0))
			continue
		case 4:
			if len(files) > 0 {
				check(t, os.Link(filepath.Join(d, files[r.IntN(len(files))]), at))
			}
			continue
		default:
			check(t, os.WriteFile(at, bytes.Repeat([]byte("x"), r.IntN(3000)), 0o644))
			files = append(files, name)
			if r.IntN(2) == 0 {
				check(t, unix.Setxattr(at, "user.x", []byte{0, byte(i)}, 0))
			}
		}
		own(t, at, r.IntN(3000), r.IntN(100), mode)
		check(t, unix.Chmod(at, []uint32{0o755, 0o1777, 0o600, 0o2750}[r.IntN(4)]))
	}
	for i, name := range slices.Concat(files, dirs) {
		check(t, os.Chtimes(filepath.Join(d, name), time.Time{}, time.Unix(int64(i)*1e8, 0)))
	}
	return d
}

func own(t *testing.T, name string, uid, gid int, mode nstest.Mode) {
	t.Helper()
	if mode == nstest.Mapped {
		check(t, os.Chown(name, uid, gid))
	}
}
