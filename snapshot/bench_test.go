package snapshot

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// BenchmarkCopyTree copies the directory that BIVOUAC_COPY_FROM names to a new one in BIVOUAC_COPY_TO. With other owners'
// files in it, it is run as user 0 of a namespace.
func BenchmarkCopyTree(b *testing.B) {
	from, to := os.Getenv("BIVOUAC_COPY_FROM"), os.Getenv("BIVOUAC_COPY_TO")
	if from == "" || to == "" {
		b.Skip("BIVOUAC_COPY_FROM and BIVOUAC_COPY_TO name no directories")
	}
	var stats Stats
	for b.Loop() {
		dir, err := os.MkdirTemp(to, "copy")
		check(b, err)
		// At the end: ext4 is slow to reuse the inodes of recently deleted files.
		b.Cleanup(func() { check(b, unpack.Remove(dir)) })
		stats, err = copyTree(b, dir, from, CopyOptions{})
		check(b, err)
	}
	b.ReportMetric(float64(stats.Files), "files")
	b.ReportMetric(float64(stats.Bytes)/1e6, "MB")
}

// BenchmarkVerify looks at 5000 files.
func BenchmarkVerify(b *testing.B) {
	s := openStore(b)
	d, err := s.Draft(context.Background(), nil)
	check(b, err)
	for i := range 50 {
		dir := filepath.Join(d.Layer(), "base", string(rune('a'+i)))
		check(b, os.MkdirAll(dir, 0o755))
		for j := range 100 {
			check(b, os.WriteFile(filepath.Join(dir, string(rune(1000+j))), nil, 0o600))
		}
	}
	sn, err := d.Finish(Meta{})
	check(b, err)
	for b.Loop() {
		check(b, sn.Verify(context.Background()))
	}
}

// BenchmarkByKey finds one of 100 snapshots.
func BenchmarkByKey(b *testing.B) {
	s := openStore(b)
	for range 100 {
		publish(b, s, nil, Meta{})
	}
	publish(b, s, nil, Meta{Key: "k"})
	for b.Loop() {
		_, err := s.ByKey("k")
		check(b, err)
	}
}
