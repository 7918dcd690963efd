package unpack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestReadAhead(t *testing.T) {
	defer goleak.VerifyNone(t)
	broken := errors.New("broken")
	for _, size := range []int{0, 1, aheadSize - 1, aheadSize, aheadSize + 1, 9*aheadSize + 7} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		for name, source := range map[string]io.Reader{
			"plain":      bytes.NewReader(data),
			"data, EOF":  iotest.DataErrReader(bytes.NewReader(data)),
			"half reads": iotest.HalfReader(bytes.NewReader(data)),
		} {
			r := ReadAhead(source)
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d of %d bytes, %v", name, len(got), size, err)
			}
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: after the end: %v", name, err)
			}
			check(t, r.Close(), r.Close())
		}
		r := ReadAhead(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)))
		got, err := io.ReadAll(r)
		if !errors.Is(err, broken) || !bytes.Equal(got, data) {
			t.Errorf("%d of %d bytes before the error %v", len(got), size, err)
		}
		check(t, r.Close())
	}
}

func TestReadAheadClosedEarly(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, reads := range []int{0, 1, 100} {
		r := ReadAhead(&repeated{data: []byte("endless")})
		for range reads {
			_, err := r.Read(make([]byte, 64<<10))
			check(t, err)
		}
		check(t, r.Close(), r.Close())
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("read after Close")
		}
	}
}

func TestLayerFromReadAhead(t *testing.T) {
	defer goleak.VerifyNone(t)
	r := ReadAhead(bytes.NewReader(archive(t, "file a data=hello")))
	dir := t.TempDir()
	_, err := Layer(context.Background(), r, dir, Options{Single: true})
	check(t, err, r.Close())
	data, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil || string(data) != "hello" {
		t.Errorf("got %q, %v", data, err)
	}
}
