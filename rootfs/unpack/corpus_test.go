package unpack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/rootfs/internal/nstest"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestCorpus unpacks the layers of real images, OCI layouts below the directory
// that BIVOUAC_CORPUS names.
func TestCorpus(t *testing.T) {
	corpus := os.Getenv("BIVOUAC_CORPUS")
	if corpus == "" {
		t.Skip("BIVOUAC_CORPUS names no directory of OCI layouts")
	}
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, l := range corpusLayers(t, corpus, "*") {
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
					t.Fatal(err)
				case theirErr != nil: // an owner that is not mapped, or an attribute it cannot leave out
					t.Logf("%v; the oracle: %v", err, theirErr)
					return
				case err != nil:
					t.Fatalf("%v; the oracle has no objection", err)
				}
				compare(t, inventory(t, ours, mode), inventory(t, theirs, mode))
				t.Logf("%d entries, %d bytes, notes %q, implied %v", report.Entries, report.Bytes, report.Notes(), report.Implied)
			})
		}
	})
}

// TestCorpusSpeed compares with the oracle, in turns; it is a measurement and
// fails only if nothing could be measured.
func TestCorpusSpeed(t *testing.T) {
	corpus, image := os.Getenv("BIVOUAC_CORPUS"), os.Getenv("BIVOUAC_CORPUS_IMAGE")
	if corpus == "" || image == "" {
		t.Skip("BIVOUAC_CORPUS and BIVOUAC_CORPUS_IMAGE name no image to measure")
	}
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		took := map[string][]time.Duration{}
		measure := func(what string, do func(io.Reader, string) error) {
			unix.Sync()
			start := time.Now()
			for _, l := range corpusLayers(t, corpus, image) {
				dir, err := os.MkdirTemp(os.Getenv("BIVOUAC_CORPUS_TARGET"), "layer")
				check(t, err)
				r := l.open(t)
				check(t, do(r, dir), r.Close())
				// At the end: ext4 is slow to reuse the inodes of recently deleted files.
				t.Cleanup(func() { check(t, Remove(dir)) })
			}
			took[what] = append(took[what], time.Since(start))
		}
		ours := func(r io.Reader, dir string) error {
			_, err := Layer(context.Background(), r, dir, options(t, mode))
			return err
		}
		for range 5 {
			measure("decompress only", func(r io.Reader, _ string) error { _, err := io.Copy(io.Discard, r); return err })
			measure("Layer", ours)
			measure("Layer with ReadAhead", func(r io.Reader, dir string) error {
				ahead := ReadAhead(r)
				return errors.Join(ours(ahead, dir), ahead.Close())
			})
			measure("go-archive", func(r io.Reader, dir string) error { return oracle(r, dir, mode) })
		}
		median := func(what string) time.Duration { slices.Sort(took[what]); return took[what][len(took[what])/2] }
		for what := range took {
			t.Logf("%-20s %8v %.2f of go-archive", what, median(what).Round(time.Millisecond), float64(median(what))/float64(median("go-archive")))
		}
	}, nstest.Mapped)
}

// corpusLayer is a blob of a layout.
type corpusLayer struct{ file, mediaType string }

func (l corpusLayer) open(t *testing.T) io.ReadCloser {
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

// corpusLayers are the layers of all images for this machine in some layouts.
func corpusLayers(t *testing.T, corpus, layouts string) map[string]corpusLayer {
	t.Helper()
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

func addLayers(t *testing.T, layout string, d ocispec.Descriptor, all map[string]corpusLayer) {
	t.Helper()
	blob := func(d ocispec.Descriptor) string {
		return filepath.Join(layout, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
	}
	if strings.Contains(d.MediaType, "index") || strings.Contains(d.MediaType, "manifest.list") {
		return // its images are others' too
	}
	if tag := d.Annotations[ocispec.AnnotationRefName]; os.Getenv("BIVOUAC_CORPUS_IMAGE") != "" && strings.Contains(tag, "zstd") {
		return
	}
	var m ocispec.Manifest
	readJSON(t, blob(d), &m)
	for _, l := range m.Layers {
		all[filepath.Base(layout)+"-"+l.Digest.Encoded()[:12]] = corpusLayer{blob(l), l.MediaType}
	}
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	check(t, err, json.Unmarshal(data, v))
}
