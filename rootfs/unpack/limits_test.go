package unpack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

func TestBudget(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		big := "file big data=" + strings.Repeat("x", 1<<20)
		for name, c := range map[string]struct {
			limit int64
			r     func() io.Reader
		}{
			"content":        {1 << 19, func() io.Reader { return bytes.NewReader(archive(t, big)) }},
			"announced":      {1 << 19, func() io.Reader { return bytes.NewReader(rawFile("a", 1<<40)) }},
			"entries":        {100 << 10, func() io.Reader { return bytes.NewReader(archive(t, strings.Repeat("file a\n", 200))) }},
			"directories":    {1 << 20, func() io.Reader { return bytes.NewReader(archive(t, "file "+strings.Repeat("d/", 2040)+"f")) }},
			"sparse":         {1 << 30, func() io.Reader { return bytes.NewReader(sparseArchive(1<<40, "x")) }},
			"after the end":  {1 << 20, func() io.Reader { return &repeated{data: archive(t, "")} }},
			"endless header": {1 << 20, func() io.Reader { return &repeated{data: emptyPax()} }},
			"skipped":        {1 << 19, func() io.Reader { return bytes.NewReader(archive(t, strings.Replace(big, "big", ".wh.a", 1))) }},
		} {
			t.Run(name, func(t *testing.T) {
				o := options(t, mode)
				o.Budget = NewBudget(c.limit)
				_, err := Layer(context.Background(), c.r(), t.TempDir(), o)
				if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), itoa(c.limit)) {
					t.Errorf("got %v", err)
				}
			})
		}
		t.Run("shared", func(t *testing.T) {
			o := options(t, mode)
			o.Budget = NewBudget(3 << 19)
			_, _, err := layer(t, big, o)
			check(t, err)
			if _, _, err = layer(t, big, o); !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}, nstest.Single)
}

// repeated has no end.
type repeated struct {
	data []byte
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

// emptyPax is a header for an entry that does not come.
func emptyPax() []byte {
	var b bytes.Buffer
	rawHeader(&b, "pax", 'x', 8)
	pad(&b, "8 a=bcd\n")
	return b.Bytes()
}

func TestDiskFull(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		dir := mountTemp(t, "tmpfs", "size=64k")
		before := descriptors(t)
		r := bytes.NewReader(archive(t, "file a data="+strings.Repeat("x", 1<<20)))
		if _, err := Layer(context.Background(), r, dir, options(t, mode)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("got %v", err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors open before, %d after", before, after)
		}
	})
}

// TestNoXattr uses the one file system that has none and can be mounted here.
func TestNoXattr(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		dir := mountTemp(t, "devpts", "newinstance")
		_, err := Layer(context.Background(), bytes.NewReader(archive(t, "file .wh..wh..opq")), dir, options(t, mode))
		if !errors.Is(err, ErrNoXattr) || !strings.Contains(err.Error(), "0x1cd1") || !strings.Contains(err.Error(), "BIVOUAC_HOME") {
			t.Errorf("got %v", err)
		}
	})
}

func mountTemp(t *testing.T, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	check(t, unix.Mount(kind, dir, kind, 0, options))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func TestDamaged(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		whole := archive(t, "file a data="+strings.Repeat("x", 2000)+"\n")
		broken := errors.New("connection lost")
		for name, c := range map[string]struct {
			r    io.Reader
			want error
		}{
			"cut in a header":  {bytes.NewReader(whole[:300]), ErrArchive},
			"cut in a file":    {bytes.NewReader(whole[:1000]), ErrArchive},
			"not a tar":        {strings.NewReader(strings.Repeat("no tar at all ", 100)), ErrArchive},
			"source breaks":    {io.MultiReader(bytes.NewReader(whole[:1000]), readerFunc(func([]byte) (int, error) { return 0, broken })), broken},
			"breaks at header": {readerFunc(func([]byte) (int, error) { return 0, broken }), broken},
		} {
			_, err := Layer(context.Background(), c.r, t.TempDir(), options(t, mode))
			if !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", name, err, c.want)
			}
			if errors.Is(c.want, broken) && errors.Is(err, ErrArchive) {
				t.Errorf("%s: the archive is blamed: %v", name, err)
			}
		}
	}, nstest.Single)
}

func TestContextEnds(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		ctx, cancel := context.WithCancel(context.Background())
		dir := t.TempDir()
		before := descriptors(t)
		r := io.MultiReader(bytes.NewReader(archive(t, "dir a\nfile a/b")[:2048]), readerFunc(func(p []byte) (int, error) {
			cancel()
			clear(p)
			return 0, nil
		}))
		if _, err := Layer(ctx, r, dir, options(t, mode)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		_, err := Layer(ctx, bytes.NewReader(sparseArchive(1<<40, "x")), dir, options(t, mode))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors open before, %d after", before, after)
		}
	}, nstest.Single)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReadsToTheEnd(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		r := bytes.NewReader(append(archive(t, "file a"), make([]byte, 1<<20)...))
		_, err := Layer(context.Background(), r, t.TempDir(), options(t, mode))
		check(t, err)
		if r.Len() != 0 {
			t.Errorf("%d bytes not read", r.Len())
		}
	}, nstest.Single)
}
