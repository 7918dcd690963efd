package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

// old is when the files of the layers below were changed.
var old = time.Unix(1_600_000_000, 123_456_789)

// below makes three layers: "gone" and "cut/low" of the lowest are hidden by those above.
func below(t *testing.T) []string {
	t.Helper()
	d := t.TempDir()
	dirs := []string{mkdir(t, d, "0"), mkdir(t, d, "1"), mkdir(t, d, "2")}
	plant(t, dirs[0], "etc/passwd", "etc/hosts", "cut/low", "gone", "dir/a", "dir/b", "dir/deep/c", "var/lib/x")
	check(t, os.Symlink("passwd", filepath.Join(dirs[0], "etc/link")))
	plant(t, dirs[1], "cut/high", "dir/d")
	check(t, unix.Mknod(filepath.Join(dirs[1], "gone"), unix.S_IFCHR, 0))
	check(t, unix.Setxattr(filepath.Join(dirs[1], "cut"), "user.overlay.opaque", []byte("y"), 0))
	plant(t, dirs[2], "etc/passwd")
	for _, dir := range dirs {
		age(t, dir)
	}
	return dirs
}

func plant(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		check(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		write(t, filepath.Join(dir, name), name)
	}
}

// age gives every file of a tree the same time.
func age(t *testing.T, dir string) {
	t.Helper()
	check(t, filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		ts, _ := unix.TimeToTimespec(old)
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}))
}

// within runs steps in a directory; each is a line of words.
func within(t *testing.T, dir string, steps ...string) {
	t.Helper()
	for _, step := range steps {
		w := strings.Fields(step)
		at := func(i int) string { return filepath.Join(dir, w[i]) }
		var err error
		switch w[0] {
		case "write":
			err = os.WriteFile(at(1), []byte(step), 0o644)
		case "append":
			var f *os.File
			if f, err = os.OpenFile(at(1), os.O_WRONLY|os.O_APPEND, 0); err == nil {
				_, err = f.WriteString(strings.Join(w[2:], " "))
				err = errors.Join(err, f.Close())
			}
		case "mkdir":
			err = os.Mkdir(at(1), 0o755)
		case "remove":
			err = os.RemoveAll(at(1))
		case "rename":
			err = os.Rename(at(1), at(2))
		case "link":
			err = os.Link(at(1), at(2))
		case "symlink":
			err = os.Symlink(w[1], at(2))
		case "fifo":
			err = unix.Mkfifo(at(1), 0o644)
		case "private":
			err = os.Chmod(at(1), 0o700)
		case "same-mode":
			var st os.FileInfo
			if st, err = os.Stat(at(1)); err == nil {
				err = os.Chmod(at(1), st.Mode())
			}
		case "owner":
			err = unix.Setxattr(at(1), handle.OwnerAttribute, []byte{8, 5}, 0)
		case "touch":
			err = os.Chtimes(at(1), time.Now(), time.Now())
		default:
			err = errors.New("no such step")
		}
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
}

func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		steps string // separated by ";"
		want  string
	}{
		"nothing":                        {"", ""},
		"an added file":                  {"write etc/new", "C /etc, A /etc/new"},
		"a file at the root":             {"write new", "A /new"},
		"a changed file":                 {"append etc/passwd more", "C /etc/passwd"},
		"a replaced file":                {"write etc/x; rename etc/x etc/passwd", "C /etc, C /etc/passwd"},
		"a deleted file":                 {"remove etc/passwd", "C /etc, D /etc/passwd"},
		"a deleted directory":            {"remove dir", "D /dir"},
		"a file copied up alone":         {"same-mode etc/passwd; append etc/hosts", ""},
		"a directory copied up alone":    {"same-mode dir/deep", ""},
		"a mode":                         {"private dir/deep; private etc/hosts", "C /dir/deep, C /etc/hosts"},
		"an emulated owner":              {"owner dir/deep; owner etc/hosts", "C /dir/deep, C /etc/hosts"},
		"a time":                         {"touch etc/hosts; touch dir/deep", "C /dir/deep, C /etc/hosts"},
		"what came and went":             {"write dir/x; remove dir/x", "C /dir"},
		"what came and went in a new":    {"mkdir n; write n/x; remove n/x", "A /n"},
		"an added tree":                  {"mkdir n; mkdir n/m; write n/m/f; symlink x n/l; fifo n/p", "A /n, A /n/l, A /n/m, A /n/m/f, A /n/p"},
		"a directory made anew":          {"remove dir; mkdir dir; write dir/b", "C /dir, D /dir/a, C /dir/b, D /dir/d, D /dir/deep"},
		"a directory that hides below":   {"append cut/high x", "C /cut/high"},
		"a name that was hidden below":   {"write gone; write cut/low", "C /cut, A /cut/low, A /gone"},
		"and goes again":                 {"write gone; remove gone", ""},
		"a file instead of a directory":  {"remove dir; write dir", "C /dir"},
		"a directory instead of a file":  {"remove etc/hosts; mkdir etc/hosts; write etc/hosts/x", "C /etc, C /etc/hosts, A /etc/hosts/x"},
		"a symlink instead of a file":    {"remove etc/hosts; symlink passwd etc/hosts", "C /etc, C /etc/hosts"},
		"another symlink":                {"remove etc/link; symlink hosts etc/link", "C /etc, C /etc/link"},
		"a hard link":                    {"link etc/passwd etc/again", "C /etc, A /etc/again"},
		"a renamed file":                 {"rename dir/a dir/z", "C /dir, D /dir/a, A /dir/z"},
		"names that sort oddly":          {"mkdir a; write a/f; write a.b; write a-b", "A /a, A /a-b, A /a.b, A /a/f"},
		"below directories without news": {"append var/lib/x !", "C /var/lib/x"},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Both(t, func(t *testing.T, _ nstest.Mode) {
				got, _ := changesAfter(t, Diff{}, splitSteps(c.steps)...)
				if got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

func splitSteps(steps string) []string {
	return slices.DeleteFunc(strings.Split(steps, ";"), func(s string) bool { return strings.TrimSpace(s) == "" })
}

// changesAfter mounts an overlay, does the steps in it and compares, while it is mounted and after that.
func changesAfter(t *testing.T, d Diff, steps ...string) (list, target string) {
	t.Helper()
	dir := t.TempDir()
	d.Lower, d.Upper = below(t), mkdir(t, dir, "upper")
	target = mkdir(t, dir, "target")
	check(t, Mount(target, Options{Lower: d.Lower, Upper: d.Upper, Work: mkdir(t, dir, "work")}))
	within(t, target, steps...)
	before := descriptorsOpen(t)
	mounted := listed(t, d)
	check(t, Unmount(target))
	if list = listed(t, d); list != mounted {
		t.Errorf("while mounted: %s\nlater: %s", mounted, list)
	}
	if after := descriptorsOpen(t); after != before {
		t.Errorf("%d descriptors open before, %d after", before, after)
	}
	return list, target
}

func listed(t *testing.T, d Diff) string {
	t.Helper()
	changes, err := d.Changes(t.Context())
	check(t, err)
	var lines []string
	for _, c := range changes {
		lines = append(lines, string(c.Kind)+" "+c.Path)
	}
	return strings.Join(lines, ", ")
}

func TestChangesOfTheKeeperAreNotThePrograms(t *testing.T) {
	d := Diff{Covered: []string{"/etc/hosts", "/etc/hostname", "/data/in/here", "/proc"}, Made: []string{"/work/dir"}}
	made := "write etc/hostname;mkdir data;mkdir data/in;mkdir data/in/here;mkdir work;mkdir work/dir;mkdir proc;"
	for name, c := range map[string]struct{ steps, want string }{
		"nothing":              {"", ""},
		"below a mount":        {"write data/in/here/x; write proc/x", ""},
		"beside a mount":       {"write data/in/x", "A /data/in/x"},
		"in the working dir":   {"write work/dir/x", "A /work/dir/x"},
		"a mode of theirs":     {"private work/dir; private data", "A /data, A /work/dir"},
		"beside a system file": {"write etc/new", "C /etc, A /etc/new"},
		"a system file's dir":  {"private etc", "C /etc"},
		"a deletion beside":    {"remove etc/passwd", "C /etc, D /etc/passwd"},
		"a change beside":      {"append etc/passwd x", "C /etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
				if got, _ := changesAfter(t, d, splitSteps(made+c.steps)...); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			}, nstest.Single)
		})
	}
}

func TestChangesOfWhatWasAdopted(t *testing.T) {
	d := Diff{Adopted: true}
	for steps, want := range map[string]string{
		"touch dir; touch etc":          "",
		"touch dir; write etc/new":      "C /etc, A /etc/new",
		"touch dir; append etc/hosts x": "C /etc/hosts",
	} {
		nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
			if got, _ := changesAfter(t, d, splitSteps(steps)...); got != want {
				t.Errorf("%s\ngot  %s\nwant %s", steps, got, want)
			}
		}, nstest.Single)
	}
}

func TestChangesBelowAMount(t *testing.T) {
	d := Diff{At: "/usr", Adopted: true, Covered: []string{"/usr/etc/hosts", "/etc/passwd", "/user"}}
	for covered, want := range map[string]string{"/none": "C /usr, C /usr/etc/passwd, A /usr/new", "/usr/etc": "C /usr, A /usr/new", "/usr": "", "/": ""} {
		nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
			d := d
			d.Covered = append(d.Covered, covered)
			if got, _ := changesAfter(t, d, "append etc/passwd x", "append etc/hosts x", "write new"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}, nstest.Single)
	}
}

func TestChangesOfAWholeTree(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	for _, dir := range []string{lower, upper} {
		plant(t, dir, "etc/a", "etc/b", "gone/x")
		check(t, os.Symlink("usr/lib", filepath.Join(dir, "lib")))
		age(t, dir)
	}
	within(t, upper, "remove gone", "remove etc/a", "write new", "remove lib", "symlink usr/lib lib")
	d := Diff{Lower: []string{lower}, Upper: upper, Whole: true, Adopted: true, Covered: []string{"/etc/c"}}
	if got, want := listed(t, d), "C /etc, D /etc/a, D /gone, A /new"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestChangesOfWhiteoutsInAttributes(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		d := Diff{Lower: below(t), Upper: mkdir(t, t.TempDir(), "upper")}
		plant(t, d.Upper, "dir/a", "dir/none", "dir/empty")
		check(t, os.Truncate(filepath.Join(d.Upper, "dir/a"), 0), os.Truncate(filepath.Join(d.Upper, "dir/none"), 0))
		for _, name := range []string{"dir/a", "dir/none"} {
			check(t, unix.Setxattr(filepath.Join(d.Upper, name), "user.overlay.whiteout", []byte("y"), 0))
		}
		check(t, unix.Setxattr(filepath.Join(d.Upper, "dir"), "user.overlay.opaque", []byte("x"), 0))
		if got, want := listed(t, d), "C /dir, D /dir/a, A /dir/empty"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}, nstest.Single)
}

func TestChangesOfADeepTree(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		d := Diff{Lower: below(t), Upper: mkdir(t, t.TempDir(), "upper")}
		fd, err := handle.Open(unix.AT_FDCWD, d.Upper, handle.DirFlags, 0)
		for range 3000 {
			check(t, err, unix.Mkdirat(fd, "d", 0o755))
			at := fd
			fd, err = handle.Open(at, "d", handle.DirFlags, 0)
			check(t, unix.Close(at))
		}
		check(t, err, unix.Close(fd))
		start := time.Now()
		changes, err := d.Changes(t.Context())
		if err != nil || len(changes) != unix.PathMax/2+1 {
			t.Errorf("%d changes, %v", len(changes), err)
		}
		t.Log(time.Since(start))
	}, nstest.Single)
}

func TestChangesWhileTheContainerIsHostile(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		dir := t.TempDir()
		outside := mkdir(t, dir, "outside")
		plant(t, outside, "secret")
		d := Diff{Lower: below(t), Upper: mkdir(t, dir, "upper")}
		plant(t, d.Upper, "real/inner/file")
		check(t, os.Symlink(outside, filepath.Join(d.Upper, "evil")))
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for range 20_000 {
				_ = unix.Renameat2(unix.AT_FDCWD, d.Upper+"/real", unix.AT_FDCWD, d.Upper+"/evil", unix.RENAME_EXCHANGE)
			}
		}()
		for running := true; running; {
			select {
			case <-stop:
				running = false
			default:
			}
			if got := listed(t, d); strings.Contains(got, "secret") {
				t.Fatalf("it looked outside: %s", got)
			}
		}
	}, nstest.Single)
}

func TestChangesHeedTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Diff{Lower: []string{t.TempDir()}, Upper: t.TempDir()}.Changes(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestChangesOfWhatIsNotThere(t *testing.T) {
	here, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	for _, d := range []Diff{{Lower: []string{gone}, Upper: here}, {Lower: []string{here}, Upper: gone}} {
		if _, err := d.Changes(t.Context()); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), gone) {
			t.Errorf("got %v", err)
		}
	}
}

// TestCostOfChanges prints what a comparison takes.
func TestCostOfChanges(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		d := Diff{Lower: below(t), Upper: mkdir(t, t.TempDir(), "upper")}
		for i := range 100 {
			for j := range 10 {
				plant(t, d.Upper, fmt.Sprintf("dir/deep/%d/%d", i, j))
			}
		}
		start := time.Now()
		changes, err := d.Changes(t.Context())
		check(t, err)
		t.Logf("%d changes in %v", len(changes), time.Since(start))
	}, nstest.Single)
}
