package snapshot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// TestMain is also the main function of the processes that tests start: see child.
func TestMain(m *testing.M) {
	if task := os.Getenv("SNAPSHOT_TEST_CHILD"); task != "" {
		if err := runChild(strings.Split(task, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a process that does one of tasks; the first argument names it.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_CHILD="+strings.Join(args, "\n"))
	cmd.Stderr = os.Stderr
	return cmd
}

var tasks = map[string]func(args []string) error{}

func runChild(args []string) error { return tasks[args[0]](args[1:]) }

func isKilled(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// plant makes a tree out of lines: "dir NAME [MODE]", "file NAME CONTENT [MODE]", "symlink NAME TARGET", "link NAME TARGET",
// "fifo NAME", "socket NAME", "whiteout NAME", "attr NAME ATTRIBUTE VALUE", "own NAME UID", "time NAME SECONDS".
func plant(t testing.TB, dir string, lines ...string) string {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o755))
	for _, line := range lines {
		w := append(strings.Fields(line), "", "", "")
		check(t, plantOne(dir, filepath.Join(dir, w[1]), w))
	}
	return dir
}

func plantOne(dir, name string, w []string) error {
	var mode uint32 = 0o644
	number := func(s string, format string) (n uint32) {
		if s != "" {
			_, _ = fmt.Sscanf(s, format, &n)
		}
		return n
	}
	switch w[0] {
	case "dir":
		mode = 0o755
		if w[2] != "" {
			mode = number(w[2], "%o")
		}
		return errors.Join(os.MkdirAll(name, 0o755), unix.Chmod(name, mode))
	case "file":
		if w[3] != "" {
			mode = number(w[3], "%o")
		}
		return errors.Join(os.WriteFile(name, []byte(w[2]), 0o600), unix.Chmod(name, mode))
	case "symlink":
		return os.Symlink(w[2], name)
	case "link":
		return os.Link(filepath.Join(dir, w[2]), name)
	case "fifo":
		return unix.Mkfifo(name, 0o640)
	case "socket":
		return unix.Mknod(name, unix.S_IFSOCK|0o750, 0)
	case "whiteout":
		return unix.Mknod(name, unix.S_IFCHR, 0)
	case "attr":
		return unix.Setxattr(name, w[2], []byte(w[3]), 0)
	case "own":
		return os.Lchown(name, int(number(w[2], "%d")), 7)
	case "time":
		ts := unix.NsecToTimespec(int64(number(w[2], "%d"))*1e9 + 123456789)
		return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return fmt.Errorf("no such kind of line: %q", w[0])
}

// inventory says everything of a tree that a copy must have too, a line a file.
func inventory(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	firsts := map[uint64]string{}
	check(t, filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		below, _ := filepath.Rel(dir, name)
		fmt.Fprintf(&b, "%q %o", below, st.Mode)
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			fmt.Fprintln(&b)
			return nil
		}
		fmt.Fprintf(&b, " %d:%d %d.%d", st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		describe(t, &b, name, &st)
		if first, ok := firsts[st.Ino]; ok {
			fmt.Fprintf(&b, " = %q", first)
		}
		firsts[st.Ino] = below
		fmt.Fprintln(&b)
		return nil
	}))
	return b.String()
}

func describe(t testing.TB, b *strings.Builder, name string, st *unix.Stat_t) {
	t.Helper()
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := os.Readlink(name)
		check(t, err)
		fmt.Fprintf(b, " -> %q", target)
	case unix.S_IFREG:
		content, err := os.ReadFile(name)
		check(t, err)
		fmt.Fprintf(b, " %d %s", st.Size, digest(content)[:16])
	}
	if k := st.Mode & unix.S_IFMT; k == unix.S_IFREG || k == unix.S_IFDIR {
		fd, err := handle.Open(unix.AT_FDCWD, name, unix.O_RDONLY, 0)
		check(t, err)
		defer unix.Close(fd)
		attrs, err := attributesOf(fd, false)
		check(t, err)
		slices.SortFunc(attrs, func(a, b attribute) int { return strings.Compare(a.name, b.name) })
		fmt.Fprintf(b, " %q", attrs)
	}
}

// descriptors is how many are open, but for those of the runtime, which come when it likes.
func descriptors(t testing.TB) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:[event") {
			n++
		}
	}
	return n
}
