package unpack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goarchive "github.com/moby/go-archive"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

// oracle unpacks as Docker does.
func oracle(r io.Reader, dir string, mode nstest.Mode) error {
	return goarchive.Unpack(r, dir, &goarchive.TarOptions{
		WhiteoutFormat: goarchive.OverlayWhiteoutFormat,
		InUserNS:       true,
		NoLchown:       mode == nstest.Single,
	})
}

// inventory is all there is to know about a tree, but for directories that the
// layer does not describe, whose times are no one's.
func inventory(t *testing.T, dir string, mode nstest.Mode) map[string]string {
	t.Helper()
	all := map[string]string{}
	inodes := map[uint64]string{}
	check(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		var st unix.Stat_t
		check(t, unix.Lstat(p, &st))
		name, _ := filepath.Rel(dir, p)
		all[name] = about(t, p, st, mode)
		if first, ok := inodes[st.Ino]; ok {
			all[name] += " like " + first
		} else {
			inodes[st.Ino] = name
		}
		return nil
	}))
	return all
}

func about(t *testing.T, p string, st unix.Stat_t, mode nstest.Mode) string {
	t.Helper()
	if isWhiteout(&st) {
		return "whiteout"
	}
	attrs := attrsOf(t, p)
	delete(attrs, handle.OwnerAttribute) // the oracle has no such mode
	if kind(&st) == unix.S_IFREG && st.Nlink > 1 {
		// The headers of hard links may say something else than the file's. They
		// count for the oracle, and as in GNU tar not for us.
		return digest(t, p)
	}
	s := fmt.Sprintf("%o %d:%d %d bytes %d.%d %v", st.Mode, st.Uid, st.Gid, st.Size*b2i(kind(&st) != unix.S_IFDIR), st.Mtim.Sec, st.Mtim.Nsec, attrs)
	switch kind(&st) {
	case unix.S_IFLNK:
		target, err := os.Readlink(p)
		check(t, err)
		s += " " + target
	case unix.S_IFREG:
		s += " " + digest(t, p)
	}
	return s
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func digest(t *testing.T, p string) string {
	t.Helper()
	f, err := os.Open(p)
	check(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	check(t, err)
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// compare reports the differences of two trees.
func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%q: got %q, the oracle %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%q: got %q, the oracle nothing", name, got[name])
		}
	}
}

// TestLikeOracle unpacks random archives.
func TestLikeOracle(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for seed := range uint64(150) {
			lines := randomLines(rand.New(rand.NewPCG(seed, 0)))
			stream := archive(t, lines)
			ours, theirs := t.TempDir(), t.TempDir()
			_, err := Layer(context.Background(), bytes.NewReader(stream), ours, options(t, mode))
			if e := oracle(bytes.NewReader(stream), theirs, mode); err != nil || e != nil {
				t.Fatalf("seed %d: %v; the oracle %v\n%s", seed, err, e, lines)
			}
			compare(t, inventory(t, ours, mode), inventory(t, theirs, mode))
			if t.Failed() {
				t.Fatalf("seed %d\n%s", seed, lines)
			}
		}
	})
}

// randomLines makes an archive of things that all tools agree about: it leaves
// out directories in the place of files, and whiteouts of what is there.
func randomLines(r *rand.Rand) string {
	var b strings.Builder
	dirs := []string{"."}
	made := map[string]string{} // file to its options
	var files []string
	for i := range 40 {
		name := path.Join(dirs[r.IntN(len(dirs))], fmt.Sprintf("%c%d", 'a'+r.IntN(4), i))
		o := fmt.Sprintf("mode=%o uid=%d gid=%d time=%s", r.IntN(0o10000), r.IntN(3)*r.IntN(30000), r.IntN(3)*r.IntN(30000),
			time.Unix(r.Int64N(2e9), r.Int64N(1e9)).UTC().Format(time.RFC3339Nano))
		switch r.IntN(10) {
		case 0, 1, 2:
			fmt.Fprintf(&b, "dir %s/ %s xattr:user.n=%d\n", name, o, i)
			dirs = append(dirs, name)
		case 3, 4, 5:
			if len(files) > 0 && r.IntN(4) == 0 {
				name = files[r.IntN(len(files))] // once more
			}
			fmt.Fprintf(&b, "file /%s %s data=%s xattr:user.n=%d\n", name, o, strings.Repeat("x", r.IntN(3)*r.IntN(30)), i)
			files, made[name] = append(files, name), o
		case 6:
			fmt.Fprintf(&b, "symlink %s ../somewhere %s\n", name, o)
		case 7:
			fmt.Fprintf(&b, "fifo %s %s\n", name, o)
		case 8:
			if len(files) > 0 {
				target := files[r.IntN(len(files))]
				fmt.Fprintf(&b, "link %s %s %s\n", name, target, made[target])
			}
		case 9:
			if len(path.Dir(name))%2 == 0 { // not both in one directory
				name = path.Join(path.Dir(name), ".wh..wh..opq")
			} else {
				name = path.Join(path.Dir(name), ".wh."+path.Base(name))
			}
			fmt.Fprintf(&b, "file %s\n", name)
		}
	}
	return b.String()
}
