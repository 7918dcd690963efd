package testkit_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// needCRIU skips a test where processes cannot be checkpointed.
func needCRIU(t *testing.T) {
	t.Helper()
	if why := os.Getenv("BIVOUAC_E2E_NO_CRIU"); why != "" {
		t.Skip(why)
	}
	if os.Getenv("BIVOUAC_CRIU") == "" {
		t.Skip("BIVOUAC_CRIU is not set; run make test")
	}
}

// eachTier runs a test for checkpoints of files and for those of processes.
func eachTier(t *testing.T, test func(t *testing.T, tier testkit.Option)) {
	t.Run("files", func(t *testing.T) { test(t, testkit.FilesOnly()) })
	t.Run("processes", func(t *testing.T) {
		needCRIU(t)
		test(t, testkit.ProcessesRequired())
	})
}

// fresh is a step that keeps a checkpoint of an earlier run from being used.
func fresh(do testkit.Hook) testkit.Option { return testkit.Prepare(rand.Text(), do) }

// redisCLI runs a command of Redis and returns its answer.
func redisCLI(ctx context.Context, c *testkit.Container, args ...string) (string, error) {
	result, err := c.Exec(ctx, append([]string{"redis-cli"}, args...)...)
	if err == nil {
		err = result.Err()
	}
	return result.String(), err
}

func redisSays(t *testing.T, c *testkit.Container, want string, args ...string) {
	t.Helper()
	if got, err := redisCLI(t.Context(), c, args...); got != want || err != nil {
		t.Errorf("%s: got %q, %v, want %q", strings.Join(args, " "), got, err, want)
	}
}

func setPrepared(ctx context.Context, c *testkit.Container) error {
	_, err := redisCLI(ctx, c, "set", "prepared", "yes")
	return err
}

// preparedRedis is a Redis that has a key.
func preparedRedis(t *testing.T, opts ...testkit.Option) *testkit.Prepared {
	t.Helper()
	return testkit.Checkpoint(image(t, "redis:7"), append([]testkit.Option{testkit.Ready(testkit.Port(6379)), fresh(setPrepared)}, opts...)...)
}

func TestClonesAreIndependent(t *testing.T) {
	eachTier(t, func(t *testing.T, tier testkit.Option) {
		ready := preparedRedis(t, tier)
		var mu sync.Mutex
		seen := map[string]bool{}
		own := func(t *testing.T, what string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if what == "" || seen[what] {
				t.Errorf("%q is not its own", what)
			}
			seen[what] = true
		}
		t.Run("all", func(t *testing.T) {
			for i := range 6 {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					c := ready.Start(t)
					redisSays(t, c, "yes", "get", "prepared")
					redisSays(t, c, "", "get", "mine")
					redisSays(t, c, "OK", "set", "mine", fmt.Sprint(i))
					redisSays(t, c, fmt.Sprint(i), "get", "mine")
					redisSays(t, c, "OK", "save")
					host, err := c.Exec(t.Context(), "hostname")
					if err != nil {
						t.Fatal(err)
					}
					own(t, host.String())
					own(t, c.Addr(6379))
					own(t, c.ID())
					waitForLog(t, c, "DB saved on disk")
				})
			}
		})
	})
}

func TestClonesHavePortsOfTheirOwn(t *testing.T) {
	ready := testkit.Checkpoint(image(t, "redis:7"), testkit.Ready(testkit.LogLine("Ready to accept connections")))
	plain, more := ready.Start(t), ready.Start(t, testkit.Publish(7000), testkit.Hostname("cache"))
	for _, address := range []string{plain.Addr(6379), more.Addr(6379)} { // which the image exposes
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := ping(t, conn); got != "+PONG" {
			t.Errorf("%s: got %q", address, got)
		}
		conn.Close()
	}
	if more.Addr(7000) == more.Addr(6379) {
		t.Error("two ports have the same address")
	}
	if host, err := more.Exec(t.Context(), "hostname"); host.String() != "cache" || err != nil {
		t.Errorf("got %v, %v", host, err)
	}
}

// waitForLog waits until a container has printed something.
func waitForLog(t *testing.T, c *testkit.Container, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(c.Logs(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not in the log %q", text, c.Logs())
		}
	}
}

func TestNginxClonesAnswerAtOnce(t *testing.T) {
	eachTier(t, func(t *testing.T, tier testkit.Option) {
		text := rand.Text()
		ready := testkit.Checkpoint(image(t, "nginx:latest"), tier, testkit.File("/var/www/html/hello.txt", text),
			testkit.Ready(testkit.HTTP(80, "/hello.txt").Answer(text)))
		for range 3 {
			c := ready.Start(t)
			answer, err := http.Get("http://" + c.Addr(80) + "/hello.txt")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || string(body) != text {
				t.Errorf("got %q, %v", body, err)
			}
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

func TestPostgresIsMigratedOnce(t *testing.T) {
	sql := func(ctx context.Context, c *testkit.Container, query string) (string, error) {
		result, err := c.Exec(ctx, "psql", "-U", "postgres", "-h", "127.0.0.1", "-XAtqc", query)
		if err == nil {
			err = result.Err()
		}
		return result.String(), err
	}
	migrated := 0
	test := func(t *testing.T, opts ...testkit.Option) {
		migrated = 0
		ready := testkit.Checkpoint(image(t, "postgres:15"), append([]testkit.Option{
			testkit.Env("POSTGRES_HOST_AUTH_METHOD", "trust"), testkit.StopSignal("SIGINT"),
			testkit.Ready(testkit.Port(5432).Inside(), testkit.Exec("pg_isready", "-q", "-h", "127.0.0.1")),
			fresh(func(ctx context.Context, c *testkit.Container) error {
				migrated++
				_, err := sql(ctx, c, "CREATE TABLE users (name text); INSERT INTO users VALUES ('ada')")
				return err
			}),
		}, opts...)...)
		for i := range 3 {
			c := ready.Start(t)
			got, err := sql(t.Context(), c, fmt.Sprintf("INSERT INTO users VALUES ('%d'); SELECT count(*) FROM users", i))
			if got != "2" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if migrated != 1 {
			t.Errorf("it was migrated %d times", migrated)
		}
	}
	eachTier(t, func(t *testing.T, tier testkit.Option) { test(t, tier) })
	t.Run("what can be had", func(t *testing.T) { test(t) })
}

func TestAPoolIsThereBeforeItsTests(t *testing.T) {
	eachTier(t, func(t *testing.T, tier testkit.Option) {
		ready := preparedRedis(t, tier, testkit.Pool(2))
		ready.Start(t)
		for deadline := time.Now().Add(time.Minute); ready.PoolStats().Ready < 2; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the pool has %v", ready.PoolStats())
			}
		}
		if ready.PoolStats().Memory == 0 {
			t.Error("nobody knows its memory")
		}
		began := time.Now()
		c := ready.Start(t)
		t.Logf("a clone of the pool took %v", time.Since(began))
		redisSays(t, c, "yes", "get", "prepared")
		if s := ready.PoolStats(); s.Taken != 2 || s.Made < 2 {
			t.Errorf("got %v", s)
		}
	})
}

// A message queue of POSIX is one of the things that CRIU does not know.
const withQueue = `import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
if libc.mq_open(b"/queue", 0o102, 0o600, None) < 0: raise OSError(ctypes.get_errno(), "mq_open")
print("ready", flush=True)
time.sleep(1000)`

func TestWhatCannotBeCheckpointedHasItsFiles(t *testing.T) {
	needCRIU(t)
	opts := []testkit.Option{
		testkit.Entrypoint("python3", "-c", withQueue), testkit.Ready(testkit.LogLine("ready")), testkit.StopGrace(0),
		fresh(func(context.Context, *testkit.Container) error { return nil }),
	}
	tb := &recorder{TB: t}
	s := testkit.Checkpoint(image(t, "python:3"), opts...).Start(tb).Inspect().Snapshot
	if s.Tier != sandbox.TierFiles || !strings.Contains(s.Fallback, "python3") {
		t.Errorf("got %s: %s", s.Tier, s.Fallback)
	}
	if log := tb.log(); !regexp.MustCompile(`testkit: checkpoint of \S+python:3: files only \([^)]+\), made in \S+: .*python3`).MatchString(log) {
		t.Errorf("got the log %q", log)
	}
	_, err := testkit.Checkpoint(image(t, "python:3"), append(opts, testkit.ProcessesRequired())...).New(t.Context())
	if sandbox.CodeOf(err) != sandbox.CodeCheckpoint || !strings.Contains(err.Error(), "python3") {
		t.Errorf("got %v", err)
	}
}

// recorder is a test whose log can be read.
type recorder struct {
	testkit.TB
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Logf(format string, args ...any) {
	r.TB.Helper()
	r.TB.Logf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

func TestTheLogSaysWhatWasMade(t *testing.T) {
	needCRIU(t)
	ready := preparedRedis(t, testkit.ProcessesRequired())
	tb := &recorder{TB: t}
	ready.Start(tb)
	ready.Start(tb)
	pattern := regexp.MustCompile(`^testkit: checkpoint of \S+redis:7: processes \(\d+\.\d MB, 1 process\), made in [0-9.]+m?s$`)
	if log := tb.log(); !pattern.MatchString(log) {
		t.Errorf("got the log %q", log)
	}
}
