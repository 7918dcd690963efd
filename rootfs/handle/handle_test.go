package handle

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	found, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(found)
}

func TestOpenBelow(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "a/b/file"), nil, 0o600))
	check(t, os.Symlink("a", filepath.Join(dir, "link")))
	root, err := OpenDir(dir)
	check(t, err)
	defer root.Close()
	for name, open := range map[string]func(int, string) (int, error){"any": OpenBelow, "openat2": openPart, "step by step": openSteps} {
		before := openDescriptors(t)
		for path, want := range map[string]error{".": nil, "a": nil, "a/b": nil, "a/b/file": unix.ENOTDIR, "link": unix.ELOOP, "link/b": unix.ELOOP,
			"no": unix.ENOENT, "..": unix.EXDEV, "a/../..": unix.EXDEV, "": unix.ENOENT} {
			fd, err := open(int(root.Fd()), path)
			if err == nil {
				check(t, unix.Close(fd))
			}
			if !errors.Is(err, want) && !(Gone(err) && Gone(want)) { // a symlink is no directory, or one too many
				t.Errorf("%s, %q: %v; want %v", name, path, err, want)
			}
		}
		if after := openDescriptors(t); after != before {
			t.Errorf("%s: %d descriptors open before, %d after", name, before, after)
		}
	}
}

func TestOpenBelowOfALongPath(t *testing.T) {
	root, err := OpenDir(t.TempDir())
	check(t, err)
	defer root.Close()
	component := strings.Repeat("d", 200)
	at, path := int(root.Fd()), component
	for range 3 * unix.PathMax / len(component) {
		check(t, unix.Mkdirat(at, component, 0o700))
		below, err := Open(at, component, DirFlags, 0)
		check(t, err)
		defer unix.Close(below)
		at, path = below, path+"/"+component
	}
	check(t, unix.Mkdirat(at, component, 0o700))
	before := openDescriptors(t)
	fd, err := OpenBelow(int(root.Fd()), path)
	check(t, err)
	check(t, unix.Close(fd))
	for _, bad := range []string{path + "/no", strings.Repeat("x", 2*unix.PathMax), path + "/" + strings.Repeat("x", unix.PathMax), strings.Repeat("/", unix.PathMax)} {
		if fd, err := OpenBelow(int(root.Fd()), bad); err == nil {
			t.Errorf("it opened %d bytes that are no directory", len(bad))
			check(t, unix.Close(fd))
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors open before, %d after", before, after)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	want := []string{"a", "b", "c"}
	for _, name := range want {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	root, err := OpenDir(dir)
	check(t, err)
	defer root.Close()
	for range 2 { // each time from the beginning
		var got []string
		for batch, err := range Names(int(root.Fd())) {
			check(t, err)
			got = append(got, batch...)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	}
}

func TestAttributes(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	check(t, err)
	defer file.Close()
	fd := int(file.Fd())
	all := func(string) bool { return true }
	long := strings.Repeat("v", 2000)
	for name, value := range map[string]string{"user.long": long, "user.empty": "", "user.other": "o", Opaque: "y"} {
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); errors.Is(err, unix.ENOTSUP) {
			t.Skip("no user attributes here")
		} else {
			check(t, err)
		}
	}
	got, err := Attributes(fd, func(name string) bool { return name != "user.other" && strings.HasPrefix(name, "user.") })
	check(t, err)
	if v, ok := got["user.empty"]; len(got) != 3 || got["user.long"] != long || v != "" || !ok || got[Opaque] != "y" {
		t.Errorf("got %v", got)
	}
	if !IsOpaque(fd) {
		t.Error("it is not opaque")
	}
	_ = file.Close()
	if _, err := Attributes(-1, all); !errors.Is(err, unix.EBADF) {
		t.Errorf("no file: %v", err)
	}
}

func TestOwner(t *testing.T) {
	for _, o := range []Owner{{}, {UID: 5}, {GID: 1 << 20}, {7, maxID}} {
		if got := ParseOwner(o.Message()); got != o {
			t.Errorf("%v became %v", o, got)
		}
	}
	for _, damaged := range []string{"\x08", "\x08\xff\xff\xff\xff\x0f", "\x08\x05\x10", "\x08\x05\x10\x80"} {
		if got := ParseOwner([]byte(damaged)); got != (Owner{}) {
			t.Errorf("%q: %v", damaged, got)
		}
	}
	if got := ParseOwner([]byte{8, 1, 24, 9}); got != (Owner{UID: 1}) {
		t.Errorf("other fields: %v", got)
	}
}

func FuzzParseOwner(f *testing.F) {
	f.Add([]byte{8, 1, 16, 2})
	f.Fuzz(func(t *testing.T, message []byte) {
		if o := ParseOwner(message); ParseOwner(o.Message()) != o {
			t.Errorf("%x is %v", message, o)
		}
	})
}
