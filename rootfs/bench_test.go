package rootfs

import (
	"context"
	"testing"
)

// BenchmarkPullMissing is what `bivouac run` waits for if it has the image.
func BenchmarkPullMissing(b *testing.B) {
	r := newServer(b)
	var trees []tree
	for range 5 {
		trees = append(trees, tree{"file last " + b.Name() + string(rune('a'+len(trees)))})
	}
	ref := mustParse(b, r.push(b, "x:1", imageOf(b, packedGzip, trees...)))
	s, err := Open(b.TempDir(), StoreOptions{IDs: singleIDs})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Pull(context.Background(), ref, PullOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
