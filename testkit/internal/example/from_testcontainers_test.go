package example

import (
	"archive/tar"
	"context"
	"io"
	"io/fs"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/postgres"
	"github.com/bivouac-run/bivouac/testkit/redis"
)

// This is the Bivouac side of docs/from-testcontainers.md: TestPagesShowThisCode compares them.

func TestStart(t *testing.T) {
	corpus.Need(t)

	c := testkit.Start(t, "redis:7", testkit.Ready(testkit.Port(6379)))
	addr := c.Addr(6379)

	expect(t, command(t, addr, "PING"), "+PONG")
}

func TestRequest(t *testing.T) {
	corpus.Need(t)

	c := testkit.Start(t, "nginx:latest",
		testkit.Env("TZ", "UTC"),
		testkit.Args("nginx", "-g", "daemon off;"),
		testkit.File("/var/www/html/health", "fine", testkit.Mode(0o644)),
		testkit.HostFile("testdata/site.conf", "/etc/nginx/conf.d/site.conf"),
		testkit.Tmpfs("/var/cache"),
		testkit.Label("team", "store"),
		testkit.Ready(testkit.HTTP(80, "/health")))

	expect(t, get(t, "http://"+c.Addr(80)+"/health"), "fine")
}

func TestWaiting(t *testing.T) {
	corpus.Need(t)

	c := testkit.Start(t, "redis:7",
		testkit.Ready(
			testkit.Port(6379),
			testkit.LogLine("Ready to accept connections").Times(1),
			testkit.Exec("redis-cli", "PING").Output("PONG"),
			testkit.FileExists("/usr/local/bin/docker-entrypoint.sh")),
		testkit.StartTimeout(30*time.Second))

	expect(t, command(t, c.Addr(6379), "PING"), "+PONG")
}

func TestPostgres(t *testing.T) {
	corpus.Need(t)

	server := postgres.Start(t,
		postgres.Image("postgres:15"),
		postgres.DB("store"),
		postgres.User("store"),
		postgres.Password("secret"),
		postgres.Scripts(os.DirFS("testdata/sql")))
	dsn := server.DSN() // for sql.Open

	expect(t, strings.HasPrefix(dsn, "postgres://store:secret@127.0.0.1:"), true)
	testDatabasePerTest(t, server)
}

func testDatabasePerTest(t *testing.T, server *postgres.Server) {
	t.Run("each test its database", func(t *testing.T) {
		t.Parallel()
		dsn := server.Database(t) // a copy, with the tables and rows that the scripts have made

		expect(t, strings.Contains(dsn, "/test_"), true)
	})
}

func TestRedis(t *testing.T) {
	corpus.Need(t)

	server := redis.Start(t, redis.Image("redis:7"))
	url := server.URL() // redis://127.0.0.1:PORT/0

	expect(t, strings.HasPrefix(url, "redis://127.0.0.1:"), true)
}

func TestExec(t *testing.T) {
	corpus.Need(t)
	ctx := t.Context()
	c := testkit.Start(t, "redis:7", testkit.Ready(testkit.Port(6379)))

	result, err := c.Exec(ctx, "redis-cli", "SET", "greeting", "hello")
	if err != nil {
		t.Fatal(err) // it could not be run
	}
	if result.Code != 0 || result.String() != "OK" {
		t.Errorf("exit code %d, %s", result.Code, result.Stderr)
	}

	expect(t, result.String(), "OK")
}

func TestLogs(t *testing.T) {
	corpus.Need(t)

	c := testkit.Start(t, "redis:7",
		testkit.LogTo(t), // to this test's log, as it comes
		testkit.LogLines(func(stream testkit.Stream, line string) { count(stream, line) }),
		testkit.Ready(testkit.LogLine("Ready to accept connections")))
	everything := c.Logs()

	expect(t, strings.Contains(everything, "Server initialized"), true)
}

func TestFiles(t *testing.T) {
	corpus.Need(t)
	ctx := t.Context()
	c := testkit.Start(t, "redis:7", testkit.Ready(testkit.Port(6379)))

	content, err := fs.ReadFile(c.FS(), "etc/debian_version") // also after its program has ended
	if err != nil {
		t.Fatal(err)
	}
	err = c.CopyTo(ctx, "/srv", archive) // a tar stream, as docker cp takes

	expect(t, len(content) > 0, true)
	expect(t, err, nil)
	got, err := fs.ReadFile(c.FS(), "srv/greeting")
	expect(t, err, nil)
	expect(t, string(got), "hello")
}

func TestLifecycle(t *testing.T) {
	corpus.Need(t)
	ctx := t.Context()

	c := testkit.Start(t, "redis:7",
		testkit.Ready(testkit.Port(6379)),
		testkit.StopGrace(5*time.Second),
		testkit.AfterReady(func(ctx context.Context, c *testkit.Container) error {
			_, err := c.Exec(ctx, "redis-cli", "SET", "greeting", "hello")
			return err
		}))
	if err := c.Restart(ctx); err != nil { // or Stop, Kill, Pause and Resume
		t.Fatal(err)
	}

	expect(t, command(t, c.Addr(6379), "GET greeting"), "$5")
}

// The container that the tests of a package share.
var shared *redis.Server

func TestMain(m *testing.M) {
	os.Exit(corpus.Main(m))
}

func runTests(m interface{ Run() int }) int {
	server, err := redis.New(context.Background(), redis.Image("redis:7"))
	if err != nil {
		log.Print(err)
		return 1
	}
	defer server.Close() // it would end with the process as well
	shared = server
	return m.Run()
}

func TestShared(t *testing.T) {
	corpus.Need(t)
	expect(t, runTests(ran{}), 7)
	expect(t, shared != nil, true)
}

type ran struct{}

func (ran) Run() int { return 7 }

func TestOneCommand(t *testing.T) {
	corpus.Need(t)

	result := testkit.Run(t, "busybox", []string{"wc", "-c"}, testkit.Stdin(strings.NewReader("hello")))

	expect(t, result.String(), "5")
}

var archive io.Reader = func() io.Reader {
	var b strings.Builder
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "greeting", Mode: 0o644, Size: 5, Typeflag: tar.TypeReg}) // to memory
	_, _ = io.WriteString(w, "hello")
	_ = w.Close()
	return strings.NewReader(b.String())
}()

func count(testkit.Stream, string) {}
