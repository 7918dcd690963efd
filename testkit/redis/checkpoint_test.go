package redis_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/redis"
)

func TestClonesHaveTheKeys(t *testing.T) {
	corpus.Need(t)
	for name, tier := range map[string]testkit.Option{"files": testkit.FilesOnly(), "what can be had": testkit.Options()} {
		t.Run(name, func(t *testing.T) {
			ready := redis.Checkpoint(redis.Password("s3 cret"), redis.With(tier),
				redis.Prepare(rand.Text(), func(ctx context.Context, s *redis.Server) error {
					_, err := s.CLI(ctx, "SET", "greeting", "hello")
					return err
				}))
			for range 2 {
				server := ready.Start(t)
				if got, err := server.CLI(t.Context(), "GET", "greeting"); got != "hello" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				if err := server.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
