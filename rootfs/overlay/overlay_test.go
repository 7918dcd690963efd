package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

// ways are the two interfaces; each test runs with either.
var ways = map[string]way{"new mount API": newest, "mount(2)": older}

func eachWay(t *testing.T, test func(t *testing.T, mount func(string, Options) error)) {
	t.Helper()
	nstest.Both(t, func(t *testing.T, _ nstest.Mode) {
		for name, w := range ways {
			t.Run(name, func(t *testing.T) {
				before := descriptorsOpen(t)
				test(t, func(target string, o Options) error {
					err := mountBy(target, o, w)
					if err == nil {
						t.Cleanup(func() { check(t, Unmount(target)) })
					}
					return err
				})
				if after := descriptorsOpen(t); after != before {
					t.Errorf("%d descriptors open before, %d after", before, after)
				}
			})
		}
	})
}

func TestUpperTakesChangesOfLayers(t *testing.T) {
	eachWay(t, func(t *testing.T, mount func(string, Options) error) {
		d := t.TempDir()
		lower := layers(t, d, 3)
		upper, work, target := mkdir(t, d, "upper"), mkdir(t, d, "work"), mkdir(t, d, "target")
		check(t, mount(target, Options{Lower: lower, Upper: upper, Work: work}))
		expect(t, target, map[string]string{"common": "layer 2", "only-0": "layer 0", "only-2": "layer 2"})
		check(t, os.Remove(filepath.Join(target, "only-1")))
		check(t, os.RemoveAll(filepath.Join(target, "dir")))
		mkdir(t, target, "dir")
		write(t, filepath.Join(target, "made"), "x")
		expect(t, target, map[string]string{"made": "x", "only-1": "", "dir/deep": ""})
		expect(t, upper, map[string]string{"made": "x"})
		expect(t, lower[1], map[string]string{"only-1": "layer 1"})
	})
}

func TestManyLayers(t *testing.T) {
	eachWay(t, func(t *testing.T, mount func(string, Options) error) {
		d := t.TempDir()
		lower := layers(t, mkdir(t, d, strings.Repeat("long", 20)), MaxLower)
		for _, n := range []int{1, 2, 127, MaxLower} {
			target := mkdir(t, d, fmt.Sprint("target", n))
			check(t, mount(target, Options{Lower: lower[:n]}))
			expect(t, target, map[string]string{
				"common": fmt.Sprint("layer ", n-1), "only-0": "layer 0", fmt.Sprint("only-", n): "",
			})
		}
	})
}

func TestOddNames(t *testing.T) {
	names := []string{`a:b`, `a,b`, `a\b`, `a\:b`, `a\\,"b"`, "a\nb", "a b", `tail\`, strings.Repeat("n", 255)}
	eachWay(t, func(t *testing.T, mount func(string, Options) error) {
		for i, name := range names {
			d := mkdir(t, t.TempDir(), name)
			lower := layers(t, d, 2)
			target := mkdir(t, d, "target")
			check(t, mount(target, Options{Lower: lower, Upper: mkdir(t, d, `up:,\`), Work: mkdir(t, d, `work:,\`), Volatile: i%2 == 0}))
			write(t, filepath.Join(target, "made"), name)
			expect(t, target, map[string]string{"common": "layer 1", "made": name})
			expect(t, filepath.Join(d, `up:,\`), map[string]string{"made": name})
		}
	})
}

func TestReadOnly(t *testing.T) {
	eachWay(t, func(t *testing.T, mount func(string, Options) error) {
		d := t.TempDir()
		lower := layers(t, d, 2)
		for i, o := range []Options{
			{Lower: lower[:1]},
			{Lower: lower},
			{Lower: lower, Upper: mkdir(t, d, "upper"), Work: mkdir(t, d, "work"), ReadOnly: true},
		} {
			target := mkdir(t, d, fmt.Sprint("target", i))
			check(t, mount(target, o))
			if err := os.WriteFile(filepath.Join(target, "made"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("%+v: wrote, or failed otherwise: %v", o, err)
			}
		}
	})
}

func TestOpaqueRootHidesLayersBelow(t *testing.T) {
	eachWay(t, func(t *testing.T, mount func(string, Options) error) {
		d := t.TempDir()
		lower := layers(t, d, 4)
		check(t, unix.Setxattr(lower[2], "user.overlay.opaque", []byte("y"), 0))
		target := mkdir(t, d, "target")
		check(t, mount(target, Options{Lower: lower}))
		expect(t, target, map[string]string{"only-3": "layer 3", "only-2": "layer 2", "only-1": "", "only-0": ""})
	})
}

func TestVolatile(t *testing.T) {
	eachWay(t, func(t *testing.T, mount func(string, Options) error) {
		d := t.TempDir()
		work := mkdir(t, d, "work")
		check(t, mount(mkdir(t, d, "target"), Options{Lower: layers(t, d, 2), Upper: mkdir(t, d, "upper"), Work: work, Volatile: true}))
		if _, err := os.Stat(filepath.Join(work, "work/incompat/volatile")); err != nil {
			t.Error("the mount is not volatile:", err)
		}
	})
}

func TestMountFD(t *testing.T) {
	nstest.Both(t, func(t *testing.T, _ nstest.Mode) {
		d := t.TempDir()
		for _, n := range []int{1, 2} {
			target := mkdir(t, d, fmt.Sprint("target", n))
			fd, err := MountFD(Options{Lower: layers(t, d, n)})
			check(t, err)
			check(t, attach(fd, target), unix.Close(fd))
			expect(t, target, map[string]string{"common": fmt.Sprint("layer ", n-1)})
			check(t, Unmount(target))
		}
	})
}

func TestErrors(t *testing.T) {
	eachWay(t, func(t *testing.T, mount func(string, Options) error) {
		d := t.TempDir()
		two, target := layers(t, d, 2), mkdir(t, d, "target")
		gone := filepath.Join(d, "gone")
		nested := mkdir(t, d, "nested")
		check(t, mount(nested, Options{Lower: two, Upper: mkdir(t, d, "upper"), Work: mkdir(t, d, "work")}))
		for name, c := range map[string]struct {
			target string
			o      Options
			want   error
			text   string
		}{
			"no layer":            {target, Options{}, ErrOptions, "no lower"},
			"too many":            {target, Options{Lower: make([]string, MaxLower+1)}, ErrOptions, "501 layers"},
			"upper alone":         {target, Options{Lower: two, Upper: "u"}, ErrOptions, "work"},
			"volatile alone":      {target, Options{Lower: two, Volatile: true}, ErrOptions, "volatile"},
			"no such layer":       {target, Options{Lower: append(two[:2:2], gone)}, unix.ENOENT, gone},
			"no such only layer":  {target, Options{Lower: []string{gone}}, unix.ENOENT, gone},
			"no such upper":       {target, Options{Lower: two, Upper: gone, Work: d}, unix.ENOENT, gone},
			"no such target":      {gone, Options{Lower: two}, unix.ENOENT, gone},
			"upper on an overlay": {target, Options{Lower: two, Upper: mkdir(t, nested, "u"), Work: mkdir(t, nested, "w")}, errors.ErrUnsupported, "use ext4"},
		} {
			err := mount(c.target, c.o)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: got %v, want %v and %q in one line", name, err, c.want, c.text)
			}
		}
	})
}

func TestNotPermittedOutsideOfNamespace(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("user 0 may mount")
	}
	d := t.TempDir()
	err := Mount(mkdir(t, d, "target"), Options{Lower: layers(t, d, 2)})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "user namespace") {
		t.Errorf("got %v, want a hint at user namespaces", err)
	}
}

// TestCost prints what a mount takes; it fails only if that is out of all
// proportion.
func TestCost(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		d := t.TempDir()
		lower, target := layers(t, d, 127), mkdir(t, d, "target")
		o := Options{Upper: mkdir(t, d, "upper"), Work: mkdir(t, d, "work")}
		for name, w := range ways {
			for _, n := range []int{5, 127} {
				o.Lower = lower[:n]
				var took []time.Duration
				for range 51 {
					start := time.Now()
					check(t, mountBy(target, o, w))
					took = append(took, time.Since(start))
					check(t, Unmount(target))
				}
				slices.Sort(took)
				t.Logf("%s, %d layers: median %v, best %v", name, n, took[25], took[0])
				if took[25] > 100*time.Millisecond {
					t.Errorf("%s: %v for %d layers", name, took[25], n)
				}
			}
		}
	}, nstest.Single)
}

// layers makes n directories in a fresh one. Each has a file of its own, and one
// that it has in common with the others.
func layers(t *testing.T, dir string, n int) (dirs []string) {
	t.Helper()
	top, err := os.MkdirTemp(dir, "layers")
	check(t, err)
	for i := range n {
		d := mkdir(t, top, fmt.Sprint(i))
		content := fmt.Sprint("layer ", i)
		write(t, filepath.Join(d, "common"), content)
		write(t, filepath.Join(d, fmt.Sprint("only-", i)), content)
		write(t, filepath.Join(mkdir(t, d, "dir"), "deep"), content)
		dirs = append(dirs, d)
	}
	return dirs
}

// expect compares files; no content means no file.
func expect(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	for name, content := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if content == "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there", name)
		} else if content != "" && string(got) != content {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, content)
		}
	}
}

func mkdir(t *testing.T, dir, name string) string {
	t.Helper()
	check(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	return filepath.Join(dir, name)
}

func write(t *testing.T, name, content string) {
	t.Helper()
	check(t, os.WriteFile(name, []byte(content), 0o644))
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func descriptorsOpen(t *testing.T) int {
	t.Helper()
	if _, err := os.ReadFile("/proc/self/status"); err != nil { // the runtime's own, from the first file on
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}
