package example

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/postgres"
)

// This is the code of docs/checkpoint.md: TestPagesShowThisCode compares them.

var ready = testkit.Checkpoint("redis:7",
	testkit.Ready(testkit.Port(6379)),
	testkit.Prepare("users-v1", addUsers))

// addUsers runs once, whatever the number of tests, packages and runs.
func addUsers(ctx context.Context, c *testkit.Container) error {
	result, err := c.Exec(ctx, "redis-cli", "MSET", "user:1", "ada", "user:2", "grace")
	if err != nil {
		return err
	}
	return result.Err()
}

func TestRename(t *testing.T) {
	corpus.Need(t)

	t.Parallel()
	c := ready.Start(t) // a Redis of its own, with both users in it
	client := dial(t, c.Addr(6379))
	client.set("user:1", "adele")
	expect(t, client.length("user:1"), ":5")
}

func TestDelete(t *testing.T) {
	corpus.Need(t)

	t.Parallel()
	c := ready.Start(t) // another one
	client := dial(t, c.Addr(6379))
	expect(t, command(t, client.addr, "DEL user:1"), ":1")
	expect(t, client.length("user:1"), ":0")
}

var migrated = testkit.Checkpoint("postgres:15",
	testkit.Env("POSTGRES_HOST_AUTH_METHOD", "trust"),
	testkit.StopSignal("SIGINT"),
	testkit.Ready(testkit.Exec("pg_isready", "-q", "-h", "127.0.0.1")),
	testkit.HostFile("testdata/sql", "/migrations"),
	testkit.Prepare("migrations-v7", migrate, "testdata/sql/*.sql"))

func migrate(ctx context.Context, c *testkit.Container) error {
	result, err := c.Exec(ctx, "sh", "-ec", "cat /migrations/*.sql | psql -qU postgres -v ON_ERROR_STOP=1")
	if err != nil {
		return err
	}
	return result.Err()
}

var store = postgres.Checkpoint(
	postgres.Image("postgres:15"),
	postgres.Scripts(os.DirFS("testdata/sql")),
	postgres.Prepare("seed-v2", seed))

func seed(ctx context.Context, server *postgres.Server) error {
	_, err := server.Query(ctx, "CREATE TABLE baskets (id int)")
	return err
}

func TestMigrated(t *testing.T) {
	corpus.Need(t)
	t.Parallel()
	for range 2 {
		result, err := migrated.Start(t).Exec(t.Context(), "psql", "-U", "postgres", "-tAc", "SELECT count(*) > 0 FROM information_schema.tables WHERE table_schema = 'public'")
		expect(t, err, nil)
		expect(t, result.String(), "t")
	}
	dsn := store.Start(t).DSN() // for sql.Open
	expect(t, len(dsn) > 0, true)
}

func TestFork(t *testing.T) {
	corpus.Need(t)
	ctx := t.Context()

	c := testkit.Start(t, "redis:7", testkit.Ready(testkit.Port(6379)), testkit.Checkpointable())
	dial(t, c.Addr(6379)).set("stock", "12")

	for _, order := range []string{"1", "12", "13"} {
		t.Run(order, func(t *testing.T) {
			shop := c.Fork(t) // c goes on, and so does its copy
			expect(t, command(t, shop.Addr(6379), "DECRBY stock "+order)[0], ':')
		})
	}
	expect(t, command(t, c.Addr(6379), "INCR stock"), ":13")

	s, err := c.Checkpoint(ctx) // or keep the moment, for as many clones as you like
	expect(t, err, nil)
	one, two := s.Start(t), s.Start(t)
	expect(t, one.Addr(6379) != two.Addr(6379), true)
}

func TestReset(t *testing.T) {
	corpus.Need(t)
	ctx := t.Context()

	c := ready.Start(t)
	for i := range 3 {
		dial(t, c.Addr(6379)).set("user:1", fmt.Sprint(i))
		expect(t, c.Reset(ctx), nil) // its addresses stay
		expect(t, dial(t, c.Addr(6379)).length("user:1"), ":3")
	}
}

var pooled = testkit.Checkpoint("redis:7", testkit.Ready(testkit.Port(6379)), testkit.Pool(3))

func TestPooled(t *testing.T) {
	corpus.Need(t)
	c := pooled.Start(t)
	expect(t, command(t, c.Addr(6379), "PING"), "+PONG")
	t.Log(pooled.PoolStats()) // 2 of 3 clones ready (6.8 MB of memory), 5 made ahead in 22ms each, 3 taken, 1 missed
}

var quiet = testkit.Checkpoint("redis:7",
	testkit.Ready(testkit.Port(6379)),
	testkit.Quiesce(pauseWrites, allowWrites))

func pauseWrites(ctx context.Context, c *testkit.Container) error {
	_, err := c.Exec(ctx, "redis-cli", "CLIENT", "PAUSE", "60000", "WRITE")
	return err
}

func allowWrites(ctx context.Context, c *testkit.Container) error {
	_, err := c.Exec(ctx, "redis-cli", "CLIENT", "UNPAUSE")
	return err
}

func TestQuiet(t *testing.T) {
	corpus.Need(t)
	c := quiet.Start(t)
	expect(t, command(t, c.Addr(6379), "SET a b"), "+OK")
}

func TestOwn(t *testing.T) {
	corpus.Need(t)

	c := ready.Start(t, testkit.Hostname("cache"), testkit.Publish(7000), testkit.LogTo(t))
	s := c.Inspect().Snapshot // what it was made from
	t.Log(s.Tier, s.Fallback) // files, and why not processes

	expect(t, s.ID != "", true)
}
