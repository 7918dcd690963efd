package unpack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/internal/nstest"
	"golang.org/x/sys/unix"
)

// TestHostile is a table of archives that want to reach what lies around the
// layer. An archive with no error named is harmless because of what it becomes.
func TestHostile(t *testing.T) {
	deepUp := strings.Repeat("../", 30)
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, c := range map[string]struct {
			archive, becomes string
			err              error
		}{
			"name climbs":                       {archive: `file ../canary data=x`, err: ErrEscape},
			"name climbs far":                   {archive: `file "` + deepUp + `tmp/evil"`, err: ErrEscape},
			"name climbs later":                 {archive: `file a/../../canary data=x`, err: ErrEscape},
			"absolute name climbs":              {archive: `file /../canary data=x`, err: ErrEscape},
			"directory climbs":                  {archive: `dir ../canaries mode=777`, err: ErrEscape},
			"directory is the parent":           {archive: `dir .. mode=777`, err: ErrEscape},
			"symlink climbs":                    {archive: `symlink ../evil /etc`, err: ErrEscape},
			"whiteout climbs":                   {archive: `file ../.wh.canary`, err: ErrEscape},
			"opaque mark climbs":                {archive: `file ../.wh..wh..opq`, err: ErrEscape},
			"device climbs":                     {archive: `char ../canary`, err: ErrEscape},
			"whiteout of the parent":            {archive: `file a/.wh...`, err: ErrArchive},
			"whiteout of the root":              {archive: `file .wh..`, err: ErrArchive},
			"whiteout of nothing":               {archive: `file .wh.`, err: ErrArchive},
			"link climbs":                       {archive: `link a ../canary`, err: ErrEscape},
			"link climbs from the root":         {archive: `link a /../canary`, err: ErrEscape},
			"link to the host":                  {archive: `link a /etc/passwd`, err: ErrArchive},
			"link to the canary":                {archive: `link a CANARY`, err: ErrArchive},
			"link to the root":                  {archive: `link a /`, err: ErrArchive},
			"link to a directory":               {archive: "dir d\nlink a d", err: ErrArchive},
			"link to nothing":                   {archive: `link a b`, err: ErrArchive},
			"link into a file":                  {archive: "file f\nlink a f/x", err: ErrArchive},
			"link to itself":                    {archive: `link a a`, err: ErrArchive},
			"link below what it replaces":       {archive: "file a/b\nlink a a/b", err: ErrArchive},
			"relative symlink, then below it":   {archive: "symlink s ..\nfile s/canary data=x", err: ErrEscape},
			"deep symlink, then below it":       {archive: `symlink s ` + deepUp + "etc\nfile s/evil", err: ErrEscape},
			"symlink, then directory below it":  {archive: "symlink s ../canaries\ndir s/d", err: ErrEscape},
			"symlink, then whiteout below it":   {archive: "symlink s ..\nfile s/.wh.canary", err: ErrEscape},
			"symlink, then opaque below it":     {archive: "symlink s ../canaries\nfile s/.wh..wh..opq", err: ErrEscape},
			"symlink, then device below it":     {archive: "symlink s ..\nchar s/canary", err: ErrEscape},
			"symlink, then link out of it":      {archive: "symlink s ..\nlink a s/canary", err: ErrEscape},
			"symlinks that climb together":      {archive: "dir a\nsymlink a/b ..\nsymlink c a/b/..\nfile c/canary data=x", err: ErrEscape},
			"climb after an absolute symlink":   {archive: "symlink a /\nsymlink b a/..\nfile b/canary data=x", err: ErrEscape},
			"symlink loop":                      {archive: "symlink a b\nsymlink b a\nfile a/x", err: ErrArchive},
			"symlink to itself":                 {archive: "symlink a a/x\nfile a/x", err: ErrArchive},
			"symlink to a file, then below it":  {archive: "file f\nsymlink a f\nfile a/x", err: ErrArchive},
			"file, then below it":               {archive: "file f\nfile f/x", err: ErrArchive},
			"fifo, then below it":               {archive: "fifo f\nfile f/x", err: ErrArchive},
			"root is a file":                    {archive: `file .`, err: ErrArchive},
			"root is a symlink":                 {archive: `symlink / /etc`, err: ErrArchive},
			"root is a link":                    {archive: "file a\nlink a/.. a", err: ErrArchive},
			"unknown type":                      {archive: `type:Z a`, err: ErrArchive},
			"name too long":                     {archive: `file ` + strings.Repeat("n", 256), err: unix.ENAMETOOLONG},
			"directory name too long":           {archive: `file ` + strings.Repeat("n", 256) + `/a`, err: unix.ENAMETOOLONG},
			"path too long":                     {archive: `file ` + strings.Repeat("n/", 1<<16) + `n`, err: unix.ENAMETOOLONG},
			"symlink target too long":           {archive: `symlink a ` + strings.Repeat("n/", 1<<12) + `n`, err: unix.ENAMETOOLONG},
			"absolute symlink, then below it":   {archive: "symlink s /tmp\nfile s/evil", becomes: "symlink s /tmp\ndir tmp\nfile tmp/evil"},
			"symlink to the canary, then below": {archive: "symlink s CANARIES\nfile s/file data=x", becomes: "symlink s CANARIES\nCANARYDIRS\nfile CANARYDIR/file data=x"},
			"symlink to /proc, then below it":   {archive: "symlink s /proc/self/cwd\nfile s/evil", becomes: "dir proc\ndir proc/self\ndir proc/self/cwd\nfile proc/self/cwd/evil\nsymlink s /proc/self/cwd"},
			"file over a symlink out":           {archive: "symlink canary CANARY\nfile canary data=x", becomes: "file canary data=x"},
			"file over a symlink to a device":   {archive: "symlink a /dev/null\nfile a data=x", becomes: "file a data=x"},
			"file over a fifo":                  {archive: "fifo a\nfile a data=x", becomes: "file a data=x"},
			"directory over a symlink out":      {archive: "symlink d ..\ndir d mode=777\nfile d/canary data=x", becomes: "dir d mode=777 user.overlay.opaque=y\nfile d/canary data=x"},
			"symlink over an open directory":    {archive: "dir d\nfile d/a\nsymlink d /new\nfile d/b", becomes: "symlink d /new\ndir new\nfile new/b"},
			"symlink over a parent's parent":    {archive: "dir d\ndir d/e\nfile d/e/a\nsymlink d /new\nfile d/e/b", becomes: "symlink d /new\ndir new\ndir new/e\nfile new/e/b"},
			"link to a symlink out":             {archive: "symlink s CANARY\nlink l s\nfile l data=x", becomes: "file l data=x\nsymlink s CANARY"},
			"symlink target is kept":            {archive: "symlink s " + deepUp + "etc/shadow", becomes: "symlink s " + deepUp + "etc/shadow"},
			"device over a directory":           {archive: "dir d\nfile d/a\nchar d", becomes: ""},
		} {
			t.Run(name, func(t *testing.T) {
				place := newCanaries(t)
				o := options(t, mode)
				before := descriptors(t)
				report, err := Layer(context.Background(), bytes.NewReader(archive(t, place.fill(c.archive))), place.layer, o)
				if after := descriptors(t); after != before {
					t.Errorf("%d descriptors open before, %d after", before, after)
				}
				place.check(t)
				switch {
				case c.err == nil:
					check(t, err)
					if got, want := listing(t, place.layer), place.fill(c.becomes); strings.TrimSpace(got) != want {
						t.Errorf("got\n%swant\n%s", got, want)
					}
				case !errors.Is(err, c.err):
					t.Errorf("got %v, want %v", err, c.err)
				case strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "unpack "):
					t.Errorf("not one line with the name of the entry: %v", err)
				}
				_ = report
				check(t, Remove(place.layer))
				place.check(t)
			})
		}
	})
}

// canaries surround a layer's directory.
type canaries struct {
	top, layer, before string
}

func newCanaries(t *testing.T) *canaries {
	t.Helper()
	c := &canaries{top: filepath.Join(t.TempDir(), "top")}
	c.layer = filepath.Join(c.top, "store", "layer")
	check(t, os.MkdirAll(c.layer, 0o755), os.Mkdir(c.dir(), 0o755),
		os.WriteFile(c.file(), []byte("alive"), 0o640), os.WriteFile(c.dir()+"/file", []byte("alive"), 0o600),
		os.WriteFile(filepath.Join(c.top, "canary"), []byte("alive"), 0o600))
	c.before = c.state(t)
	return c
}

func (c *canaries) file() string { return filepath.Join(c.top, "store", "canary") }
func (c *canaries) dir() string  { return filepath.Join(c.top, "store", "canaries") }

// fill puts the names of the canaries into a text.
func (c *canaries) fill(lines string) string {
	dirs, p := "", ""
	for part := range strings.SplitSeq(c.dir()[1:], "/") {
		p = filepath.Join(p, part)
		dirs += "\ndir " + p
	}
	r := strings.NewReplacer("CANARYDIRS", dirs[1:], "CANARYDIR", c.dir()[1:], "CANARY", c.file(), "CANARIES", c.dir())
	lines = r.Replace(lines)
	if strings.Contains(lines, "symlink s "+c.dir()+"\ndir ") { // a listing is sorted
		first, rest, _ := strings.Cut(lines, "\n")
		if rest > first[len("symlink "):] {
			lines = rest + "\n" + first
		}
	}
	return lines
}

// state describes everything but the layer itself, with inodes and times.
func (c *canaries) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(listing(t, c.top)) {
		if !strings.Contains(line, " store/layer") {
			b.WriteString(line)
		}
	}
	for _, p := range []string{c.top, c.file(), c.dir(), c.dir() + "/file", filepath.Join(c.top, "canary")} {
		var st unix.Stat_t
		check(t, unix.Lstat(p, &st))
		fmt.Fprintln(&b, p, st.Ino, st.Mtim, st.Nlink)
	}
	return b.String()
}

func (c *canaries) check(t *testing.T) {
	t.Helper()
	if after := c.state(t); after != c.before {
		t.Errorf("something outside of the layer changed: before\n%safter\n%s", c.before, after)
	}
}

func TestUnmappedOwner(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		o := options(t, mode)
		top := nstest.MaxID(t)
		lines := fmt.Sprintf("file ok uid=%d gid=%d\nfile srv/f uid=%d\n", top, top, top+1)
		_, _, err := layer(t, lines, o)
		var unmapped *UnmappedIDError
		if !errors.As(err, &unmapped) {
			t.Fatalf("got %v", err)
		}
		for _, part := range []string{`"srv/f"`, itoa(int64(top + 1)), fmt.Sprintf("0-%d", top), "/etc/subuid", "--ignore-chown-errors"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in: %v", part, err)
			}
		}
		for _, ids := range []string{"gid=2000000000", "uid=-1", "uid=4294967295", "gid=4294967296"} {
			for _, kind := range []string{"dir a ", "file a ", "fifo a ", "symlink a b "} {
				_, _, err = layer(t, kind+ids, o)
				if !errors.As(err, &unmapped) || unmapped.Kind == "group" != strings.HasPrefix(ids, "gid") {
					t.Errorf("%s%s: got %v", kind, ids, err)
				}
			}
		}
		_, _, err = layer(t, "file a uid=2000000000", Options{}) // the kernel decides
		if !errors.As(err, &unmapped) {
			t.Errorf("got %v", err)
		}
		o.IgnoreChownErrors = true
		dir, report, err := layer(t, "file a uid=2000000000 gid=3\nsymlink b c gid=2000000000\n", o)
		check(t, err)
		if got, want := listing(t, dir), "file a owner=65534:3\nsymlink b c owner=0:65534\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if report.Reowned.Count != 2 || !strings.Contains(strings.Join(report.Notes(), "\n"), `"a", "b"`) {
			t.Errorf("got %+v, %v", report, report.Notes())
		}
		o.UIDs, o.GIDs = o.UIDs[:1:1], IDRanges{{Size: 10}}
		o.UIDs[0].Size = 10
		dir, _, err = layer(t, "file a uid=11 gid=9\n", o)
		check(t, err)
		if got, want := listing(t, dir), "file a owner=0:9\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}, nstest.Mapped)
}

func TestImpossibleOwnerWithSingleID(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		o := options(t, mode)
		var unmapped *UnmappedIDError
		if _, _, err := layer(t, "file a uid=4294967295", o); !errors.As(err, &unmapped) {
			t.Errorf("got %v", err)
		}
		dir, _, err := layer(t, "file a uid=4294967294 gid=300\ndir b uid=1\ndir b", o)
		check(t, err)
		if got, want := listing(t, dir), "file a owner=4294967294:300\ndir b\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}, nstest.Single)
}

func TestOwners(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		lines := `
			dir a uid=1 gid=2 mode=2755
			dir a/b
			file a/c
			file a/d uid=65000 gid=128 mode=6755
			file a/implied/e
			dir a uid=3 gid=4 mode=2755
			file a/f`
		want := unindent(`
			dir a mode=2755 owner=3:4
			dir a/b
			file a/c
			file a/d mode=6755 owner=65000:128
			dir a/f`)
		dir, _, err := layer(t, lines, options(t, mode))
		check(t, err)
		want = strings.Replace(want, "dir a/f", "file a/f", 1)
		var got strings.Builder
		for line := range strings.Lines(listing(t, dir)) {
			if !strings.Contains(line, "implied") { // inherits the group, as from mkdir
				got.WriteString(line)
			}
		}
		if got.String() != want {
			t.Errorf("got\n%swant\n%s", got.String(), want)
		}
	})
}

func TestBudget(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		big := "file big data=" + strings.Repeat("x", 1<<20)
		for name, c := range map[string]struct {
			limit int64
			r     func() io.Reader
		}{
			"content":        {1 << 19, func() io.Reader { return bytes.NewReader(archive(t, big)) }},
			"announced":      {1 << 19, func() io.Reader { return bytes.NewReader(rawFile("a", 1<<40)) }},
			"entries":        {100 << 10, func() io.Reader { return bytes.NewReader(archive(t, strings.Repeat("file a\n", 200))) }},
			"directories":    {1 << 20, func() io.Reader { return bytes.NewReader(archive(t, "file "+strings.Repeat("d/", 2040)+"f")) }},
			"sparse":         {1 << 30, func() io.Reader { return bytes.NewReader(sparseArchive(1<<40, "x")) }},
			"after the end":  {1 << 20, func() io.Reader { return &repeated{data: archive(t, "")} }},
			"endless header": {1 << 20, func() io.Reader { return &repeated{data: emptyPax()} }},
			"skipped":        {1 << 19, func() io.Reader { return bytes.NewReader(archive(t, strings.Replace(big, "big", ".wh.a", 1))) }},
		} {
			t.Run(name, func(t *testing.T) {
				o := options(t, mode)
				o.Budget = NewBudget(c.limit)
				_, err := Layer(context.Background(), c.r(), t.TempDir(), o)
				if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), itoa(c.limit)) {
					t.Errorf("got %v", err)
				}
			})
		}
		t.Run("shared", func(t *testing.T) {
			o := options(t, mode)
			o.Budget = NewBudget(3 << 19)
			_, _, err := layer(t, big, o)
			check(t, err)
			if _, _, err = layer(t, big, o); !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}, nstest.Single)
}

// repeated has no end.
type repeated struct {
	data []byte
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

// emptyPax is a header for an entry that does not come.
func emptyPax() []byte {
	var b bytes.Buffer
	rawHeader(&b, "pax", 'x', 8)
	pad(&b, "8 a=bcd\n")
	return b.Bytes()
}

func TestDiskFull(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		dir := mountTemp(t, "tmpfs", "size=64k")
		before := descriptors(t)
		r := bytes.NewReader(archive(t, "file a data="+strings.Repeat("x", 1<<20)))
		if _, err := Layer(context.Background(), r, dir, options(t, mode)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("got %v", err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors open before, %d after", before, after)
		}
	})
}

// TestNoXattr uses the one file system that has none and can be mounted here.
func TestNoXattr(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		dir := mountTemp(t, "devpts", "newinstance")
		_, err := Layer(context.Background(), bytes.NewReader(archive(t, "file .wh..wh..opq")), dir, options(t, mode))
		if !errors.Is(err, ErrNoXattr) || !strings.Contains(err.Error(), "0x1cd1") || !strings.Contains(err.Error(), "BIVOUAC_HOME") {
			t.Errorf("got %v", err)
		}
	})
}

func mountTemp(t *testing.T, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	check(t, unix.Mount(kind, dir, kind, 0, options))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func TestDamaged(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		whole := archive(t, "file a data="+strings.Repeat("x", 2000)+"\n")
		broken := errors.New("connection lost")
		for name, c := range map[string]struct {
			r    io.Reader
			want error
		}{
			"cut in a header":  {bytes.NewReader(whole[:300]), ErrArchive},
			"cut in a file":    {bytes.NewReader(whole[:1000]), ErrArchive},
			"not a tar":        {strings.NewReader(strings.Repeat("no tar at all ", 100)), ErrArchive},
			"source breaks":    {io.MultiReader(bytes.NewReader(whole[:1000]), readerFunc(func([]byte) (int, error) { return 0, broken })), broken},
			"breaks at header": {readerFunc(func([]byte) (int, error) { return 0, broken }), broken},
		} {
			_, err := Layer(context.Background(), c.r, t.TempDir(), options(t, mode))
			if !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", name, err, c.want)
			}
			if c.want == broken && errors.Is(err, ErrArchive) {
				t.Errorf("%s: the archive is blamed: %v", name, err)
			}
		}
	}, nstest.Single)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// rawHeader writes a header without asking archive/tar whether it makes sense.
func rawHeader(b *bytes.Buffer, name string, kind byte, size int64) {
	var h [512]byte
	copy(h[:], name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00        ", size, 0))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(h[:])
}

func rawHeaderOf(name string, kind byte, size int64) []byte {
	var b bytes.Buffer
	rawHeader(&b, name, kind, size)
	return b.Bytes()
}

// rawFile announces more than 8 GiB, in the binary form of GNU tar.
func rawFile(name string, size int64) []byte {
	h := rawHeaderOf(name, '0', 0)
	copy(h[124:136], "\x80\x00\x00\x00"+string([]byte{byte(size >> 56), byte(size >> 48), byte(size >> 40), byte(size >> 32), byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}))
	copy(h[257:], "ustar  \x00")
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func pad(b *bytes.Buffer, s string) {
	b.WriteString(s)
	b.Write(make([]byte, -len(s)&511))
}
