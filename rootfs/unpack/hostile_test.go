package unpack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
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
			eachWalk(t, name, mode, func(t *testing.T, o Options) {
				place := newCanaries(t)
				before := descriptors(t)
				_, err := Layer(context.Background(), bytes.NewReader(archive(t, place.fill(c.archive))), place.layer, o)
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
