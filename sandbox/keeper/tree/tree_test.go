package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// plant makes a tree out of lines: "dir NAME", "file NAME CONTENT", "symlink NAME TARGET", "link NAME TARGET", "fifo NAME",
// "socket NAME".
func plant(t testing.TB, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, line := range lines {
		w := append(strings.Fields(line), "", "")
		name := filepath.Join(dir, w[1])
		check(t, os.MkdirAll(filepath.Dir(name), 0o755))
		switch w[0] {
		case "dir":
			check(t, os.MkdirAll(name, 0o755))
		case "file":
			check(t, os.WriteFile(name, []byte(w[2]), 0o644))
		case "symlink":
			check(t, os.Symlink(w[2], name))
		case "link":
			check(t, os.Link(filepath.Join(dir, w[2]), name))
		case "fifo":
			check(t, unix.Mkfifo(name, 0o644))
		case "socket":
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			check(t, err)
			t.Chdir(filepath.Dir(name))
			check(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Base(name)}), unix.Close(fd))
		}
	}
	return dir
}

func open(t testing.TB, dir string, single bool) *Root {
	t.Helper()
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	check(t, err)
	r := New(f, single)
	t.Cleanup(r.Close)
	return r
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// unprivileged returns whom files can be given to.
func unprivileged() (uid, gid int) { return os.Getuid(), os.Getgid() }

func TestStatStaysBelowTheRoot(t *testing.T) {
	outside := plant(t, "file secret 12345")
	r := open(t, plant(t, "file a/file content", "symlink up ../../../../../../../../etc", "symlink abs "+outside,
		"symlink good /a/file", "symlink loop loop", "fifo pipe", "file etc/here x"), false)
	for path, want := range map[string]string{
		"/": "drwx", "a": "drwx", "/a/file": "-rw-", "good": "-rw-", "pipe": "prw-", "up": "drwx", "up/here": "-rw-",
		"../../a": "drwx", "abs/secret": "no such file", "loop": "too many levels", "a/file/x": "not a directory", "up/passwd": "no such file",
	} {
		st, err := r.Stat(path, true)
		got := st.Mode.String()
		if err != nil {
			got = Errno(err).Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]fs.FileMode{"good": fs.ModeSymlink, "loop": fs.ModeSymlink, "abs": fs.ModeSymlink, "up/here": 0} {
		if st, err := r.Stat(path, false); err != nil || st.Mode.Type() != want {
			t.Errorf("%s: got %v, %v", path, st.Mode, err)
		}
	}
}

func TestOpenOnlyRegularFiles(t *testing.T) {
	r := open(t, plant(t, "file f content", "fifo p", "dir d", "symlink l f", "socket s"), false)
	for path, opened := range map[string]bool{"f": true, "l": true, "p": false, "d": false, "s": false} {
		f, _, err := r.Open(path)
		check(t, err)
		if (f != nil) != opened {
			t.Errorf("%s: opened %v", path, f != nil)
		}
		if f == nil {
			continue
		}
		content, err := io.ReadAll(f)
		check(t, err, f.Close())
		if string(content) != "content" {
			t.Errorf("%s: %q", path, content)
		}
	}
	if _, _, err := r.Open("none"); Errno(err) != unix.ENOENT {
		t.Error(err)
	}
}

func TestALeaseIsNotWaitedFor(t *testing.T) {
	dir := plant(t, "file f content")
	holder, err := os.OpenFile(filepath.Join(dir, "f"), os.O_RDWR, 0)
	check(t, err)
	defer holder.Close()
	if _, err := unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skip("no leases here:", err)
	}
	start := time.Now()
	if _, _, err := open(t, dir, false).Open("f"); Errno(err) != unix.EAGAIN || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestReadDirAndReadLink(t *testing.T) {
	r := open(t, plant(t, "file d/b x", "file d/a xy", "dir d/c", "symlink d/l /nowhere"), false)
	entries, err := r.ReadDir("d")
	check(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s %c %d", e.Name, e.Mode.String()[0], e.Links))
	}
	if want := []string{"a - 1", "b - 1", "c d 2", "l L 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if target, err := r.ReadLink("d/l"); err != nil || target != "/nowhere" {
		t.Error(target, err)
	}
	if _, err := r.ReadLink("d/a"); Errno(err) != unix.EINVAL {
		t.Error(err)
	}
	if _, err := r.ReadDir("d/a"); Errno(err) != unix.ENOTDIR {
		t.Error(err)
	}
}

// archiveOf makes a tar stream; owners are those of this process unless set.
func archiveOf(t testing.TB, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Linkname, h.Size = "", int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Uid == 0 && h.Gid == 0 {
			h.Uid, h.Gid = unprivileged()
		}
		h.ModTime = time.Unix(1_600_000_000, 0)
		check(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, content)
			check(t, err)
		}
	}
	check(t, w.Close())
	return &b
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
}

func entry(kind byte, name, target string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o755}
}

// content lists a tree as lines.
func content(t testing.TB, dir string) (lines []string) {
	t.Helper()
	check(t, filepath.Walk(dir, func(path string, info fs.FileInfo, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(path)
			lines = append(lines, name+"="+string(b))
			return err
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			lines = append(lines, name+"->"+target)
			return err
		default:
			lines = append(lines, fmt.Sprintf("%s %c", name, info.Mode().String()[0]))
		}
		return nil
	}))
	return lines
}

func TestExtract(t *testing.T) {
	for name, c := range map[string]struct {
		before  []string
		dir     string
		headers []tar.Header
		want    string
		code    sandbox.Code
	}{
		"files in a new directory":   {nil, "/data/in", []tar.Header{file("a", "1"), file("b/c", "2")}, "data d, data/in d, data/in/a=1, data/in/b d, data/in/b/c=2", ""},
		"absolute names":             {nil, "/data", []tar.Header{file("/a", "1")}, "data d, data/a=1", ""},
		"a file is replaced":         {[]string{"file d/a old"}, "/d", []tar.Header{file("a", "new")}, "d d, d/a=new", ""},
		"a symlink is replaced":      {[]string{"symlink d/a /etc/passwd"}, "/d", []tar.Header{file("a", "new")}, "d d, d/a=new", ""},
		"a file by a symlink":        {[]string{"file d/a old"}, "/d", []tar.Header{entry(tar.TypeSymlink, "a", "x")}, "d d, d/a->x", ""},
		"twice the same":             {nil, "/", []tar.Header{file("a", "1"), file("a", "2")}, "a=2", ""},
		"directories merge":          {[]string{"file d/e/a old"}, "/d", []tar.Header{entry(tar.TypeDir, "e/", ""), file("e/b", "1")}, "d d, d/e d, d/e/a=old, d/e/b=1", ""},
		"a symlink to the directory": {[]string{"dir run", "symlink var/run /run"}, "/var/run", []tar.Header{file("pid", "1")}, "run d, run/pid=1, var d, var/run->/run", ""},
		"a symlink in the archive":   {[]string{"dir usr/lib", "symlink lib usr/lib"}, "/", []tar.Header{entry(tar.TypeDir, "lib", ""), file("lib/x", "1")}, "lib->usr/lib, usr d, usr/lib d, usr/lib/x=1", ""},
		"its own symlink":            {nil, "/", []tar.Header{entry(tar.TypeSymlink, "up", "../../.."), file("up/x", "1")}, "up->../../.., x=1", ""},
		"an absolute symlink":        {[]string{"dir etc"}, "/", []tar.Header{entry(tar.TypeSymlink, "e", "/etc"), file("e/x", "1")}, "e->/etc, etc d, etc/x=1", ""},
		"a hard link":                {nil, "/d", []tar.Header{file("a", "1"), entry(tar.TypeLink, "b/c", "a")}, "d d, d/a=1, d/b d, d/b/c=1", ""},
		"a hard link again":          {[]string{"file d/a 1", "link d/b d/a"}, "/d", []tar.Header{entry(tar.TypeLink, "b", "a")}, "d d, d/a=1, d/b=1", ""},
		"a fifo":                     {nil, "/d", []tar.Header{entry(tar.TypeFifo, "p", "")}, "d d, d/p p", ""},
		"the top":                    {[]string{"dir d"}, "/d", []tar.Header{entry(tar.TypeDir, "./", ""), file("./a", "1")}, "d d, d/a=1", ""},

		"out of the directory":          {nil, "/d", []tar.Header{file("../a", "1")}, "d d", sandbox.CodeBadArchive},
		"a hard link out of it":         {[]string{"file a 1"}, "/d", []tar.Header{entry(tar.TypeLink, "b", "../a")}, "a=1, d d", sandbox.CodeBadArchive},
		"a hard link to nothing":        {nil, "/d", []tar.Header{entry(tar.TypeLink, "b", "a")}, "d d", sandbox.CodeBadArchive},
		"a device":                      {nil, "/d", []tar.Header{entry(tar.TypeChar, "null", "")}, "d d", sandbox.CodeUnsupported},
		"a directory by a file":         {[]string{"dir d/a"}, "/d", []tar.Header{file("a", "1")}, "d d, d/a d", sandbox.CodeInvalid},
		"a file by a directory":         {[]string{"file d/a 1"}, "/d", []tar.Header{entry(tar.TypeDir, "a", "")}, "d d, d/a=1", sandbox.CodeInvalid},
		"below a file":                  {[]string{"file d/a 1"}, "/d", []tar.Header{file("a/b", "1")}, "d d, d/a=1", sandbox.CodeInvalid},
		"to a file":                     {[]string{"file d 1"}, "/d", []tar.Header{file("b", "1")}, "d=1", sandbox.CodeInvalid},
		"a dangling symlink on the way": {[]string{"symlink d /gone"}, "/d", []tar.Header{file("b", "1")}, "d->/gone", sandbox.CodeInvalid},
		"an impossible owner":           {nil, "/d", []tar.Header{{Typeflag: tar.TypeReg, Name: "a", Uid: 1 << 33, Gid: 1}}, "d d", sandbox.CodeUnmappedID},
	} {
		t.Run(name, func(t *testing.T) {
			dir := plant(t, c.before...)
			err := open(t, dir, false).Extract(t.Context(), c.dir, archiveOf(t, c.headers...))
			if sandbox.CodeOf(err) != c.code {
				t.Errorf("%v: %s, want %s", err, sandbox.CodeOf(err), c.code)
			}
			if got := strings.Join(content(t, dir), ", "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestExtractDescribes(t *testing.T) {
	dir := plant(t)
	root := open(t, dir, true)
	uid := 70
	headers := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o2750, Uid: uid, Gid: 71},
		{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o4755, Uid: uid, Gid: 71, PAXRecords: map[string]string{"SCHILY.xattr.user.mine": "v", "SCHILY.xattr.user.overlay.opaque": "y"}},
	}
	check(t, root.Extract(t.Context(), "/", archiveOf(t, headers...)))
	for name, mode := range map[string]fs.FileMode{"d": fs.ModeDir | fs.ModeSetgid | 0o750, "d/f": fs.ModeSetuid | 0o755} {
		st, err := root.Stat(name, true)
		check(t, err)
		if st.UID != 70 || st.GID != 71 || st.Mode != mode || st.ModSeconds != 1_600_000_000 {
			t.Errorf("%s: %+v", name, st)
		}
	}
	var value [8]byte
	if n, err := unix.Getxattr(filepath.Join(dir, "d/f"), "user.mine", value[:]); err != nil || string(value[:n]) != "v" {
		t.Errorf("user.mine: %q, %v", value[:max(n, 0)], err)
	}
	if _, err := unix.Getxattr(filepath.Join(dir, "d/f"), "user.overlay.opaque", nil); err == nil {
		t.Error("an attribute of overlayfs was set")
	}
	out := archived(t, root, "/d")
	if h := out[1]; h.Uid != 70 || h.Gid != 71 || h.PAXRecords["SCHILY.xattr.user.mine"] != "v" || h.Mode != 0o4755 {
		t.Errorf("archived as %+v", h)
	}
}

func TestExtractDamaged(t *testing.T) {
	whole := archiveOf(t, file("a", strings.Repeat("x", 5000))).Bytes()
	for _, n := range []int{100, 700, 3000} {
		dir := plant(t)
		err := open(t, dir, false).Extract(t.Context(), "/", bytes.NewReader(whole[:n]))
		if sandbox.CodeOf(err) != sandbox.CodeBadArchive {
			t.Errorf("%d bytes: %v", n, err)
		}
		if got := content(t, dir); len(got) > 0 {
			t.Errorf("%d bytes left %q", n, got)
		}
	}
}

func TestExtractHeedsItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := plant(t)
	if err := open(t, dir, false).Extract(ctx, "/", archiveOf(t, file("a", "1"))); err == nil || len(content(t, dir)) > 0 {
		t.Error(err)
	}
}

// archived lists what Archive writes.
func archived(t testing.TB, r *Root, path string) (headers []tar.Header) {
	t.Helper()
	a, err := r.Archive(path)
	check(t, err)
	var b bytes.Buffer
	check(t, a.WriteTo(t.Context(), &b))
	a.Close()
	tr := tar.NewReader(&b)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return headers
		}
		check(t, err)
		headers = append(headers, *h)
	}
}

func TestArchive(t *testing.T) {
	root := open(t, plant(t, "file d/a 1", "link d/z d/a", "symlink d/l /etc/passwd", "fifo d/p", "file d/e/f 22", "socket d/s", "symlink s d"), false)
	for path, want := range map[string]string{
		"/d":    "5d/ 0d/a 1d/z=d/a 2d/l=/etc/passwd 6d/p 5d/e/ 0d/e/f",
		"d/e/f": "0f", "/d/l": "2l=/etc/passwd", "s": "2s=d", "s/e": "5e/ 0e/f",
	} {
		var got []string
		for _, h := range archived(t, root, path) {
			line := string(h.Typeflag) + h.Name
			if h.Linkname != "" {
				line += "=" + h.Linkname
			}
			got = append(got, line)
		}
		slices.Sort(got)
		sorted := strings.Fields(want)
		slices.Sort(sorted)
		if !slices.Equal(got, sorted) {
			t.Errorf("%s: got %q, want %q", path, got, sorted)
		}
	}
	if names := archived(t, root, "/"); names[0].Name != "./" {
		t.Errorf("the root is %q", names[0].Name)
	}
	if _, err := root.Archive("/none"); sandbox.CodeOf(err) != sandbox.CodeNotFound {
		t.Error(err)
	}
}

func TestArchiveAndExtractAreInverse(t *testing.T) {
	from := plant(t, "file d/a 1", "link d/z d/a", "symlink d/l /etc/passwd", "fifo d/p", "file d/e/f 22", "dir d/empty")
	a, err := open(t, from, false).Archive("/d")
	check(t, err)
	var b bytes.Buffer
	check(t, a.WriteTo(t.Context(), &b))
	a.Close()
	to := plant(t)
	check(t, open(t, to, false).Extract(t.Context(), "/", &b))
	if got, want := content(t, to), content(t, from); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	one, _ := os.Stat(filepath.Join(from, "d"))
	two, _ := os.Stat(filepath.Join(to, "d"))
	if !one.ModTime().Equal(two.ModTime()) {
		t.Errorf("%v became %v", one.ModTime(), two.ModTime())
	}
}

func TestArchiveLeavesOutWhatTheKernelMakesUp(t *testing.T) {
	root := open(t, "/", false)
	a, err := root.Archive("/proc/self/status")
	check(t, err)
	defer a.Close()
	if err := a.WriteTo(t.Context(), io.Discard); sandbox.CodeOf(err) != sandbox.CodeUnsupported {
		t.Error(err)
	}
}

// swap exchanges a directory against a symlink to the outside until stop is closed, with other names for a while.
func swap(t *testing.T, dir, name, outside string) (stop func() int) {
	t.Helper()
	check(t, os.Symlink(outside, filepath.Join(dir, "evil")))
	end, done := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-end:
				done <- n
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_FDCWD, filepath.Join(dir, "evil"), unix.RENAME_EXCHANGE)
			}
		}
	}()
	return func() int { close(end); return <-done }
}

func TestSwapsWhileExtracting(t *testing.T) {
	outside := plant(t, "file secret untouched")
	dir := plant(t, "dir box/in", "file box/in/old x")
	stop := swap(t, filepath.Join(dir, "box"), "in", outside)
	var errs int
	for range 300 {
		archive := archiveOf(t, file("in/secret", "overwritten"), entry(tar.TypeDir, "in/deep/er", ""), entry(tar.TypeSymlink, "in/l", "x"), file("in/new", "1"), entry(tar.TypeLink, "in/hard", "in/new"), entry(tar.TypeFifo, "in/p", ""))
		if open(t, dir, false).Extract(t.Context(), "/box", archive) != nil {
			errs++
		}
	}
	t.Logf("%d swaps, %d of 300 copies failed", stop(), errs)
	if got := content(t, outside); !slices.Equal(got, []string{"secret=untouched"}) {
		t.Errorf("outside there is %q", got)
	}
}

func TestSwapsWhileArchivingAndReading(t *testing.T) {
	outside := plant(t, "file secret LEAKED")
	dir := plant(t, "dir box/in", "file box/in/secret mine", "file box/in/deep/secret mine")
	root := open(t, dir, false)
	stop := swap(t, filepath.Join(dir, "box"), "in", outside)
	for range 300 {
		a, err := root.Archive("/box")
		check(t, err)
		var b bytes.Buffer
		check(t, a.WriteTo(t.Context(), &b))
		a.Close()
		if bytes.Contains(b.Bytes(), []byte("LEAKED")) {
			t.Fatal("a file of outside was archived")
		}
		if f, _, err := root.Open("/box/in/secret"); err == nil {
			content, _ := io.ReadAll(f)
			if f.Close(); string(content) != "mine" {
				t.Fatalf("read %q", content)
			}
		}
	}
	t.Logf("%d swaps", stop())
}

func TestNothingStaysOpen(t *testing.T) {
	root := open(t, plant(t, "file d/a 1"), false)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		check(t, err)
		return len(entries)
	}
	before := count()
	for range 10 {
		archived(t, root, "/")
		check(t, root.Extract(t.Context(), "/x", archiveOf(t, file("a", "1"), file("b/c", "1"), entry(tar.TypeDir, "q", ""))))
		_ = root.Extract(t.Context(), "/x", archiveOf(t, file("../a", "1")))
		_, _ = root.ReadDir("/d")
		_, _ = root.Stat("none", true)
		_, _ = root.ReadLink("d/a")
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// FuzzExtract feeds archives of strangers to a directory that must not be left.
func FuzzExtract(f *testing.F) {
	f.Add(archiveOf(f, file("a", "1"), entry(tar.TypeSymlink, "l", "/.."), file("l/x", "2"), entry(tar.TypeLink, "h", "a")).Bytes())
	f.Add(archiveOf(f, entry(tar.TypeDir, "d", ""), entry(tar.TypeFifo, "d/p", ""), file("../a", "1")).Bytes())
	f.Add(archiveOf(f, entry(tar.TypeSymlink, "d", "../outside"), file("d/x", "1")).Bytes())
	f.Fuzz(func(t *testing.T, archive []byte) {
		dir := plant(t, "dir inside/existing", "file outside/secret x")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_ = open(t, filepath.Join(dir, "inside"), true).Extract(ctx, "/existing", bytes.NewReader(archive))
		_ = filepath.Walk(dir, func(path string, info fs.FileInfo, err error) error {
			if err == nil && info.IsDir() {
				_ = os.Chmod(path, 0o700) // for TempDir's removal
			}
			return nil
		})
		if got := content(t, filepath.Join(dir, "outside")); !slices.Equal(got, []string{"secret=x"}) {
			t.Errorf("outside there is %q", got)
		}
		entries, err := os.ReadDir(dir)
		check(t, err)
		if len(entries) != 2 {
			t.Errorf("beside there is %v", entries)
		}
	})
}
