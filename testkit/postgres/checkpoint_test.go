package postgres_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/postgres"
)

func TestClonesHaveTheTables(t *testing.T) {
	corpus.Need(t)
	t.Parallel()
	ready := postgres.Checkpoint(postgres.Image("postgres:15"), postgres.DB("store"), postgres.Script("schema.sql", schema),
		postgres.Prepare(rand.Text(), func(ctx context.Context, s *postgres.Server) error {
			_, err := s.Query(ctx, "INSERT INTO users VALUES ('mary')")
			return err
		}))
	for range 2 {
		server := ready.Start(t, testkit.Label("a", "b"))
		if got := inDatabase(t, server, server.DSN(), "SELECT count(*) FROM users"); got != "3" {
			t.Errorf("got %q", got)
		}
		query(t, server, "DELETE FROM users")
		if got := inDatabase(t, server, server.Database(t), "SELECT count(*), current_database() LIKE 'test%' FROM users"); got != "0|t" {
			t.Errorf("got %q", got)
		}
	}
}
