package unpack

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
)

// TestLayersMounted asks the kernel whether it understands what was unpacked.
func TestLayersMounted(t *testing.T) {
	const base = `
		dir d
		file d/a data=0
		file d/b data=0
		dir d/e
		file d/e/f data=0
		file f data=0
		symlink s d`
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, c := range map[string]struct {
			layers []string // above base
			shows  string
		}{
			"whiteouts": {[]string{"file d/.wh.a\nfile .wh.f\nfile d/.wh.e\nfile .wh.s"}, `
				dir d
				file d/b data=0`},
			"whiteouts of nothing": {[]string{"file d/.wh.none\nfile .wh.none"}, base},
			"opaque": {[]string{"file d/.wh..wh..opq\nfile d/n"}, `
				dir d
				file d/n
				file f data=0
				symlink s d`},
			"opaque and whiteouts": {[]string{"file d/.wh.a\nfile d/.wh..wh..opq\nfile d/.wh.b"}, `
				dir d
				file f data=0
				symlink s d`},
			"opaque root": {[]string{"file f data=1", "file .wh..wh..opq\nfile n", "file m"}, "file m\nfile n"},
			"whiteout and replacement": {[]string{"file .wh.d\ndir d\nfile d/n\nfile f\nfile .wh.f"}, `
				dir d
				file d/n
				file f
				symlink s d`},
			"whiteout, then implied": {[]string{"file .wh.d\nfile d/n\nfile .wh.s\nfile s/n"}, `
				dir d
				file d/n
				file f data=0
				dir s
				file s/n`},
			"gone and back": {[]string{"file .wh.d\nfile .wh.f", "dir d\nfile d/n\nfile f data=2"}, `
				dir d
				file d/n
				file f data=2
				symlink s d`},
			"file, then directory, hides": {[]string{"file d\ndir d\nfile d/n"}, `
				dir d
				file d/n
				file f data=0
				symlink s d`},
			"forged": {[]string{"dir d xattr:user.overlay.opaque=y\nfile f data=1 xattr:user.overlay.whiteout=y"}, `
				dir d
				file d/a data=0
				file d/b data=0
				dir d/e
				file d/e/f data=0
				file f data=1
				symlink s d`},
		} {
			for _, noDevices := range []bool{false, true} {
				t.Run(name+map[bool]string{true: " without devices"}[noDevices], func(t *testing.T) {
					o := options(t, mode)
					o.noDevices = noDevices
					if noDevices && !kernelHas(6, 7) {
						t.Skip("attributes as whiteouts need Linux 6.7")
					}
					got := mounted(t, append([]string{base}, c.layers...), o)
					if want := unindent(c.shows); got != want {
						t.Errorf("got\n%swant\n%s", got, want)
					}
				})
			}
		}
	})
}

// mounted lists layers that are stacked. Attributes of overlayfs do not shine
// through, that of owners does.
func mounted(t *testing.T, layers []string, o Options) string {
	t.Helper()
	var lower []string
	for _, lines := range layers {
		dir, _, err := layer(t, lines, o)
		check(t, err)
		lower = append(lower, dir)
	}
	top := t.TempDir()
	for _, d := range []string{"upper", "work", "target"} {
		check(t, os.Mkdir(filepath.Join(top, d), 0o755))
	}
	target := filepath.Join(top, "target")
	check(t, overlay.Mount(target, overlay.Options{Lower: lower, Upper: filepath.Join(top, "upper"), Work: filepath.Join(top, "work")}))
	defer func() { check(t, overlay.Unmount(target)) }()
	return listing(t, target)
}

func Test127Layers(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		layers := []string{"dir d\nfile d/all data=0"}
		want := "dir d\nfile d/all data=126\nfile d/own126\n"
		for i := 1; i < 127; i++ {
			n := strconv.Itoa(i)
			layers = append(layers, "dir d\nfile d/all data="+n+"\nfile d/own"+n+"\nfile d/.wh.own"+strconv.Itoa(i-1))
		}
		if got := mounted(t, layers, options(t, mode)); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}, nstest.Single)
}
