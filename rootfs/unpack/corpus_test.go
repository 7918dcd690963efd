package unpack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

// TestCorpus unpacks the layers of real images, OCI layouts below oci/ in the
// directory that BIVOUAC_CORPUS names.
func TestCorpus(t *testing.T) {
	if os.Getenv("BIVOUAC_CORPUS") == "" {
		t.Skip("BIVOUAC_CORPUS names no directory of images")
	}
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, l := range corpusLayers(t, "*") {
			t.Run(name, func(t *testing.T) {
				ours, theirs := t.TempDir(), t.TempDir()
				r := l.open(t)
				report, err := Layer(context.Background(), r, ours, options(t, mode))
				check(t, r.Close())
				r = l.open(t)
				theirErr := oracle(r, theirs, mode)
				check(t, r.Close())
				var unmapped *UnmappedIDError
				switch {
				case err != nil && !errors.As(err, &unmapped):
					t.Fatalf("%s: %v", l.file, err)
				case theirErr != nil: // an owner that is not mapped, or an attribute it cannot leave out
					t.Logf("%v; the oracle: %v", err, theirErr)
					return
				case err != nil:
					t.Fatalf("%s: %v; the oracle has no objection", l.file, err)
				}
				compare(t, inventory(t, ours, mode), inventory(t, theirs, mode))
				t.Logf("%d entries, %d bytes, notes %q, implied %v", report.Entries, report.Bytes, report.Notes(), report.Implied)
			})
		}
	})
}

// BenchmarkCorpus unpacks the layers of one image, that of BIVOUAC_CORPUS_IMAGE
// or else postgres, and has the oracle do the same.
func BenchmarkCorpus(b *testing.B) {
	if os.Getenv("BIVOUAC_CORPUS") == "" {
		b.Skip("BIVOUAC_CORPUS names no directory of images")
	}
	o := Options{Single: true} // needs no namespace
	for _, c := range []struct {
		name string
		do   func(r io.Reader, dir string) error
	}{
		{"decompress", func(r io.Reader, _ string) error { _, err := io.Copy(io.Discard, r); return err }},
		{"Layer", func(r io.Reader, dir string) error { _, err := Layer(b.Context(), r, dir, o); return err }},
		{"Layer with ReadAhead", func(r io.Reader, dir string) error {
			ahead := ReadAhead(r)
			_, err := Layer(b.Context(), ahead, dir, o)
			return errors.Join(err, ahead.Close())
		}},
		{"go-archive", func(r io.Reader, dir string) error { return oracle(r, dir, nstest.Single) }},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkCorpus(b, c.do) })
	}
}

func benchmarkCorpus(b *testing.B, do func(r io.Reader, dir string) error) {
	image := cmp.Or(os.Getenv("BIVOUAC_CORPUS_IMAGE"), "postgres")
	for b.Loop() {
		for _, l := range corpusLayers(b, image) {
			dir, err := os.MkdirTemp(os.Getenv("BIVOUAC_CORPUS_TARGET"), "layer")
			check(b, err)
			// At the end: ext4 is slow to reuse the inodes of recently deleted files.
			b.Cleanup(func() { check(b, Remove(dir)) })
			r := l.open(b)
			check(b, do(r, dir), r.Close())
		}
	}
}

// corpusLayer is a blob of a layout.
type corpusLayer struct{ file, mediaType string }

func (l corpusLayer) open(t testing.TB) io.ReadCloser {
	t.Helper()
	f, err := os.Open(l.file)
	check(t, err)
	switch {
	case strings.HasSuffix(l.mediaType, "gzip"):
		z, err := gzip.NewReader(f)
		check(t, err)
		return both{z, f}
	case strings.HasSuffix(l.mediaType, "zstd"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		check(t, err)
		return both{z.IOReadCloser(), f}
	}
	return f
}

// both closes what decompresses and the file below.
type both struct {
	io.ReadCloser
	file io.Closer
}

func (b both) Close() error { return errors.Join(b.ReadCloser.Close(), b.file.Close()) }

// corpusLayers are the layers of all images for this machine in some layouts, by
// digest.
func corpusLayers(t testing.TB, layouts string) map[string]corpusLayer {
	t.Helper()
	corpus := filepath.Join(os.Getenv("BIVOUAC_CORPUS"), "oci")
	files, err := filepath.Glob(filepath.Join(corpus, layouts, "index.json"))
	check(t, err)
	if len(files) == 0 {
		t.Fatalf("no layout in %s", corpus)
	}
	all := map[string]corpusLayer{}
	for _, file := range files {
		var index ocispec.Index
		readJSON(t, file, &index)
		for _, d := range index.Manifests {
			addLayers(t, filepath.Dir(file), d, all)
		}
	}
	return all
}

func addLayers(t testing.TB, layout string, d ocispec.Descriptor, all map[string]corpusLayer) {
	t.Helper()
	blob := func(d ocispec.Descriptor) string {
		return filepath.Join(layout, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
	}
	if strings.Contains(d.MediaType, "index") || strings.Contains(d.MediaType, "manifest.list") {
		return // its images are others' too
	}
	var m ocispec.Manifest
	readJSON(t, blob(d), &m)
	for _, l := range m.Layers {
		all[l.Digest.Encoded()[:12]] = corpusLayer{blob(l), l.MediaType} // once, however many layouts have it
	}
}

func readJSON(t testing.TB, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	check(t, err, json.Unmarshal(data, v))
}
