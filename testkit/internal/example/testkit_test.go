package example

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/nginx"
	"github.com/bivouac-run/bivouac/testkit/postgres"
)

// This is the code of docs/testkit.md: TestPagesShowThisCode compares them.

func TestGreeting(t *testing.T) {
	corpus.Need(t)

	server := testkit.Start(t, "redis:7", testkit.Ready(testkit.Port(6379)))
	client := dial(t, server.Addr(6379)) // 127.0.0.1 and a free port
	client.set("greeting", "hello")

	expect(t, client.length("greeting"), ":5")
}

func TestMany(t *testing.T) {
	corpus.Need(t)

	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testkit.Start(t, "redis:7", testkit.Ready(testkit.Port(6379)))
			client := dial(t, server.Addr(6379))
			client.set("name", name)

			expect(t, client.length("name"), fmt.Sprint(":", len(name)))
		})
	}
}

func TestEarlyAddress(t *testing.T) {
	corpus.Need(t)

	c := testkit.Start(t, "redis:7",
		testkit.Ready(testkit.Port(6379)),
		testkit.BeforeStart(func(ctx context.Context, c *testkit.Container) error {
			return register("cache", c.Addr(6379)) // a connection to it waits until Redis is ready
		}))

	expect(t, registered["cache"], c.Addr(6379))
}

func TestLook(t *testing.T) {
	corpus.Need(t)
	ctx := t.Context()
	c := testkit.Start(t, "nginx:latest", testkit.Ready(testkit.HTTP(80, "/")))

	pid, err := fs.ReadFile(c.FS(), "run/nginx.pid") // an fs.FS of its root
	expect(t, string(pid), "1\n")
	expect(t, err, nil)

	conn, err := c.Dial(ctx, "tcp", 80) // a connection made inside, past published ports
	expect(t, err, nil)
	expect(t, conn.Close(), nil)

	changes, err := c.Diff(ctx) // what it has added, changed and deleted
	expect(t, err, nil)
	expect(t, len(changes) > 0, true)

	stats, err := c.Stats(ctx)
	expect(t, err, nil)
	expect(t, stats.Processes >= 2, true)
}

func TestModules(t *testing.T) {
	corpus.Need(t)
	const schema = "CREATE TABLE items (name text);"
	site := fstest.MapFS{"index.html": {Data: []byte("<p>hello")}}

	db := postgres.Start(t, postgres.Image("postgres:15"), postgres.Script("schema.sql", schema))
	web := nginx.Start(t, nginx.Image("nginx:latest"), nginx.Files(site), nginx.Config("location /old { return 301 /; }"))
	expect(t, len(db.DSN()) > 0, true)
	expect(t, get(t, web.URL()+"/"), "<p>hello")
	http.DefaultClient.CloseIdleConnections()
}

func TestWithoutATest(t *testing.T) {
	corpus.Need(t)
	expect(t, serve(t.Context()), nil)
}

func serve(ctx context.Context) error {
	c, err := testkit.New(ctx, "busybox:latest",
		testkit.Args("sh", "-c", "echo ready; exec sleep 1000"),
		testkit.Ready(testkit.LogLine("ready")))
	if err != nil {
		return err // it says what the program has printed
	}
	return c.Close()
}

var registered = map[string]string{}

func register(name, addr string) error {
	registered[name] = addr
	return nil
}

// client speaks to Redis.
type client struct {
	t    *testing.T
	addr string
}

func dial(t *testing.T, addr string) client { return client{t, addr} }

func (c client) set(key, value string) {
	c.t.Helper()
	expect(c.t, command(c.t, c.addr, "SET "+key+" "+value), "+OK")
}

// length returns a value's, as Redis answers it.
func (c client) length(key string) string {
	c.t.Helper()
	return command(c.t, c.addr, "STRLEN "+key)
}
