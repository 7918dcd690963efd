package unpack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/rootfs/internal/nstest"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	goarchive "github.com/moby/go-archive"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
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
	delete(attrs, ownerXattr) // the oracle has no such mode
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
				check(t, err, r.Close())
				r = l.open(t)
				check(t, oracle(r, theirs, mode), r.Close())
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
