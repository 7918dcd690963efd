package unpack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
)

// TestParents looks at the layers through the kernel, with what Parents adds.
func TestParents(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, c := range map[string]struct {
			layers string // parted by a line of ---
			shows  string // all that is a directory
			adds   int    // directories
		}{
			"described": {"dir tmp mode=1777\n---\ndir tmp mode=700\nfile tmp/f", "dir tmp mode=700", 0},
			"hidden":    {"dir tmp mode=1777\n---\nfile tmp/f", "dir tmp mode=1777", 2},
			"twice":     {"dir tmp mode=1777\n---\nfile tmp/f\n---\nfile tmp/g", "dir tmp mode=1777", 2},
			"owner and attributes": {"dir a uid=5 gid=6 mode=2750 xattr:user.x=y\n---\nfile a/f",
				"dir a mode=2750 owner=5:6 user.x=y", 2},
			"way":            {"dir a mode=700\ndir a/b uid=7 mode=711\n---\nfile a/b/c/f", "dir a mode=700\ndir a/b mode=711 owner=7:0\ndir a/b/c", 3},
			"mixed way":      {"dir a mode=700\ndir a/b mode=711\n---\ndir a mode=500\nfile a/b/f", "dir a mode=500\ndir a/b mode=711", 3},
			"nobody's":       {"file x\n---\nfile a/f\n---\nfile a/g", "dir a", 0},
			"in between":     {"dir a mode=700\n---\nfile a/f\n---\ndir a mode=711", "dir a mode=711", 0},
			"described late": {"dir a mode=700\n---\nfile a/f\ndir a mode=711", "dir a mode=711", 0},
			"whiteout":       {"dir a mode=700\n---\nfile .wh.a\n---\nfile a/f", "dir a", 0},
			"opaque":         {"dir a mode=700\n---\nfile a/f\nfile a/.wh..wh..opq", "dir a", 0},
			"hidden itself":  {"dir a mode=700\n---\nfile a/f\n---\nfile a", "", 0},
			"through symlink": {"dir a mode=700\ndir a/b mode=711\nsymlink s a\n---\nsymlink s a\nfile s/b/f",
				"dir a mode=700\ndir a/b mode=711", 3},
			"root":        {"dir . mode=700\ndir tmp mode=1777\n---\ndir . mode=711\nfile tmp/f", "dir . mode=711\ndir tmp mode=1777", 2},
			"opaque root": {"dir a mode=700\n---\nfile .wh..wh..opq\nfile a/f\n---\nfile g", "dir a", 0},
		} {
			t.Run(name, func(t *testing.T) {
				layers, all := []Lower{}, []string{}
				for lines := range strings.SplitSeq(c.layers, "---\n") {
					dir, report, err := layer(t, lines, options(t, mode))
					check(t, err)
					layers, all = append(layers, Lower{dir, report.Implied}), append(all, dir)
				}
				top := t.TempDir()
				check(t, os.Chmod(top, 0o755))
				n, err := Parents(top, layers)
				check(t, err)
				if n != c.adds {
					t.Errorf("%d directories, want %d:\n%s", n, c.adds, listing(t, top))
				}
				if n > 0 {
					all = append(all, top)
				}
				if got := directories(t, all); got != c.shows {
					t.Errorf("got\n%s\nwant\n%s", got, c.shows)
				}
			})
		}
	})
}

// directories lists those of layers that are stacked.
func directories(t *testing.T, layers []string) string {
	t.Helper()
	top := t.TempDir()
	target := filepath.Join(top, "target")
	check(t, os.Mkdir(target, 0o755))
	check(t, overlay.Mount(target, overlay.Options{Lower: layers}))
	defer func() { check(t, overlay.Unmount(target)) }()
	var dirs []string
	for line := range strings.Lines(listing(t, target)) {
		if strings.HasPrefix(line, "dir ") {
			dirs = append(dirs, strings.TrimSpace(line))
		}
	}
	return strings.Join(dirs, "\n")
}

func TestImpliedIsBounded(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		deep := strings.Repeat("d/", 2000) + "f"
		_, report, err := layer(t, "file "+deep, options(t, mode))
		check(t, err)
		size := 0
		for _, name := range report.Implied {
			size += len(name)
		}
		if size > maxImpliedNames || len(report.Implied)+report.Unnamed.Count != 2000 {
			t.Errorf("%d names of %d bytes and %d more", len(report.Implied), size, report.Unnamed.Count)
		}
		if notes := strings.Join(report.Notes(), "\n"); !strings.Contains(notes, "does not describe") {
			t.Errorf("notes %q", notes)
		}
	}, nstest.Single)
}
