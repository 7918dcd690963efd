package keeper

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// newDoor makes a door in a runtime directory of the test's own.
func newDoor(t testing.TB, users uint64) (*keeper, *container) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	k := &keeper{}
	k.doors.users.Store(users)
	k.doors.receive = (*server).receive
	c := &container{k: k, id: newID(), spec: &sandbox.Spec{Listed: true}}
	c.warn(k.show(c))
	t.Cleanup(func() { k.doors.close(c) })
	if len(c.warnings) > 0 {
		t.Fatal(c.warnings)
	}
	return k, c
}

func socketOf(t testing.TB, c *container) string {
	dir, err := sandbox.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, c.id+sandbox.SocketSuffix)
}

func TestDoorIsItsOwnersAlone(t *testing.T) {
	_, c := newDoor(t, 1)
	for path, want := range map[string]os.FileMode{socketOf(t, c): os.ModeSocket | 0o600, filepath.Dir(socketOf(t, c)): os.ModeDir | 0o700} {
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != want {
			t.Errorf("%s: %v, want %v", path, st.Mode(), want)
		}
	}
}

func TestDoorVanishesWithItsContainer(t *testing.T) {
	k, c := newDoor(t, 1)
	k.doors.close(c)
	k.doors.close(c)
	entries, err := os.ReadDir(filepath.Dir(socketOf(t, c)))
	if err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestNoDoorOpensAfterTheLastWasShut(t *testing.T) {
	k, _ := newDoor(t, 1)
	k.doors.lock(func(*container) bool { return false })
	late := &container{k: k, id: newID(), spec: &sandbox.Spec{Listed: true}}
	late.warn(k.show(late))
	entries, err := os.ReadDir(filepath.Dir(socketOf(t, late)))
	if err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestDoorInALongDirectory(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", long)
	c := &container{k: &keeper{}, id: newID(), spec: &sandbox.Spec{Listed: true}}
	c.warn(c.k.show(c))
	defer c.k.doors.close(c)
	if len(c.warnings) > 0 {
		t.Error(c.warnings)
	}
}

func TestDoorThatCannotBeMadeIsAWarning(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bivouac"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", dir)
	c := &container{k: &keeper{}, id: newID(), spec: &sandbox.Spec{Listed: true}}
	c.warn(c.k.show(c))
	if len(c.warnings) != 1 || !strings.Contains(c.warnings[0], "set XDG_RUNTIME_DIR") {
		t.Errorf("%q", c.warnings)
	}
}

// TestDoorAnswersOwnNamespaceAlone tries what a hostile guest could send instead of a file of the caller's user namespace.
func TestDoorAnswersOwnNamespaceAlone(t *testing.T) {
	ns := open(t, "/proc/self/ns/user")
	st, err := ns.Stat()
	if err != nil {
		t.Fatal(err)
	}
	own := st.Sys().(*syscall.Stat_t).Ino
	regular := open(t, "/proc/self/exe")
	other := open(t, "/proc/self/ns/mnt")
	for _, tt := range []struct {
		name    string
		users   uint64
		kind    string
		files   []*os.File
		welcome bool
	}{
		{"own", own, sandbox.KindHello, []*os.File{ns}, true},
		{"another's", own + 1, sandbox.KindHello, []*os.File{ns}, false},
		{"nobody's", 0, sandbox.KindHello, []*os.File{ns}, false},
		{"no file", own, sandbox.KindHello, nil, false},
		{"two files", own, sandbox.KindHello, []*os.File{ns, ns}, false},
		{"a regular file", own, sandbox.KindHello, []*os.File{regular}, false},
		{"another kind of namespace", own, sandbox.KindHello, []*os.File{other}, false},
		{"no greeting", own, sandbox.KindAttach, []*os.File{ns}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := newDoor(t, tt.users)
			path := sandbox.SocketPath(open(t, filepath.Dir(socketOf(t, c))), c.id+sandbox.SocketSuffix)
			u, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
			if err != nil {
				t.Fatal(err)
			}
			conn := wire.FromConn(u)
			defer conn.Close()
			if err := conn.Send(0, tt.kind, sandbox.Hello{}, tt.files...); err != nil {
				t.Fatal(err)
			}
			m, err := conn.Receive()
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Kind == sandbox.KindHello; got != tt.welcome {
				t.Errorf("answer %q", m.Kind)
			}
		})
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAFileThatAnswersIoctlIsNoNamespace(t *testing.T) {
	if n := userNamespaceOf(open(t, "/dev/null")); n != 0 {
		t.Errorf("inode %d", n)
	}
}

func TestStaleSocketRefuses(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := listen(dir, "x.sock")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: sandbox.SocketPath(dir, "x.sock"), Net: "unixpacket"})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}

func BenchmarkDoor(b *testing.B) {
	b.Setenv("XDG_RUNTIME_DIR", b.TempDir())
	k := &keeper{}
	for b.Loop() {
		c := &container{k: k, id: newID(), spec: &sandbox.Spec{Listed: true}}
		c.warn(k.show(c))
		k.doors.close(c)
	}
}

func TestCoverDirectory(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(lower, "a"), 0o751), os.Chmod(filepath.Join(lower, "a"), 0o751)); err != nil {
		t.Fatal(err)
	}
	if err := coverDirectory(lower, upper, "a/b/c"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"a": 0o751, "a/b": 0o700, "a/b/c": 0o700} {
		if st, err := os.Stat(filepath.Join(upper, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	buf := make([]byte, 8)
	if n, err := syscall.Getxattr(filepath.Join(upper, "a/b/c"), "user.overlay.opaque", buf); err != nil || string(buf[:n]) != "y" {
		t.Errorf("opaque: %q, %v", buf, err)
	}
}
