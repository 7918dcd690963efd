package pack

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// FuzzRoundTrip unpacks a foreign stream, and packs that: what comes out is a layer that unpacks to the same again.
func FuzzRoundTrip(f *testing.F) {
	for seed := range uint64(3) {
		var b bytes.Buffer
		if _, err := Layer(f.Context(), &b, f.TempDir(), Options{Single: true}); err != nil {
			f.Fatal(err)
		}
		f.Add(append(b.Bytes(), byte(seed)))
	}
	f.Add(sample)
	f.Fuzz(func(t *testing.T, stream []byte) {
		dir := t.TempDir()
		t.Cleanup(func() { _ = unpack.Remove(dir) })
		o := unpack.Options{Single: true, Budget: unpack.NewBudget(4 << 20)}
		if _, err := unpack.Layer(t.Context(), bytes.NewReader(stream), dir, o); err != nil {
			return
		}
		first, _ := packed(t, dir, Options{Single: true})
		again, _ := packed(t, unpacked(t, first, nstest.Single), Options{Single: true})
		if !bytes.Equal(first, again) {
			t.Errorf("%q, then %q", lines(t, first), lines(t, again))
		}
	})
}

// sample has a few entries of different kinds, by hand.
var sample = bytes.Join([][]byte{block("a/", '5'), block("a/f", '0'), block("a/.wh.g", '0'), block("l", '2'), make([]byte, 1024)}, nil)

func block(name string, kind byte) []byte {
	var b bytes.Buffer
	if err := writePlain(&b, tar.Header{Name: name, Mode: 0o755, Linkname: "a"}, 0, kind); err != nil {
		panic(err)
	}
	return b.Bytes()
}
