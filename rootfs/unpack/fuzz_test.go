package unpack

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// FuzzLayer looks for archives that change something outside of the layer,
// leave descriptors open, panic, or make a tree that cannot be removed. It needs
// no namespace.
func FuzzLayer(f *testing.F) {
	for _, lines := range []string{
		"", "dir a\nfile a/b data=hello\nlink c a/b\nsymlink d ../canary\nfifo e",
		"symlink s ..\nfile s/canary data=x", "symlink s /a/../b\nfile s/t/u\nlink l s/t/u",
		"file ../canary", "link a ../canary", "link a /etc/passwd", "file a/.wh.b\nfile a/.wh..wh..opq\ndir a/b",
		"dir a\nsymlink a b\ndir a\nfile a\ndir a/b", "char a\nblock b\ntype:Z c", "file a xattr:user.overlay.opaque=y xattr:user.b=c uid=1",
		"symlink a b\nsymlink b a\nfile a/x", "symlink a a/x\nfile a/x", "dir d mode=0\nfile d/f", "global x\nfile a time=1900-01-01T00:00:00Z",
	} {
		f.Add(archive(f, lines))
	}
	f.Add(sparseArchive(1<<20, "tail"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		top := t.TempDir()
		dir, canary := filepath.Join(top, "layer"), filepath.Join(top, "canary")
		check(t, os.Mkdir(dir, 0o755), os.WriteFile(canary, []byte("alive"), 0o640))
		before, open := listing(t, top), descriptors(t)
		o := Options{Single: true, Budget: NewBudget(1 << 22)}
		_, err := Layer(context.Background(), bytes.NewReader(stream), dir, o)
		if after := descriptors(t); after != open {
			t.Errorf("%d descriptors open before, %d after: %v", open, after, err)
		}
		// Read in other pieces, the result is the same.
		again := filepath.Join(t.TempDir(), "layer")
		check(t, os.Mkdir(again, 0o755))
		_, err2 := Layer(context.Background(), iotest.HalfReader(bytes.NewReader(stream)), again, Options{Single: true, Budget: NewBudget(1 << 22)})
		if (err == nil) != (err2 == nil) {
			t.Errorf("%v, but %v", err, err2)
		}
		check(t, Remove(dir), Remove(again), os.Mkdir(dir, 0o755))
		if after := listing(t, top); after != before {
			t.Errorf("outside of the layer: before\n%safter\n%s", before, after)
		}
	})
}
