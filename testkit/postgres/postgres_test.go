package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/postgres"
)

func TestMain(m *testing.M) { os.Exit(corpus.Main(m)) }

func Example() {
	var t *testing.T // the test's
	server := postgres.Start(t, postgres.Scripts(os.DirFS("testdata/sql")))
	db, err := sql.Open("pgx", server.DSN())
	fmt.Println(db, err)
}

func ExampleServer_Database() {
	var t *testing.T            // the test's
	var server *postgres.Server // of postgres.New in TestMain
	db, err := sql.Open("pgx", server.Database(t))
	fmt.Println(db, err)
}

const schema = `CREATE TABLE users (name text); INSERT INTO users VALUES ('ada'), ('grace');`

func query(t *testing.T, s *postgres.Server, sql string) string {
	t.Helper()
	got, err := s.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// inDatabase queries the database of a URL by TCP, as a client of the host would.
func inDatabase(t *testing.T, s *postgres.Server, dsn, sql string) string {
	t.Helper()
	result, err := s.Exec(t.Context(), "psql", "-XAtq", "-c", sql, inside(t, dsn))
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		t.Fatalf("%s: %v", dsn, err)
	}
	return result.String()
}

// inside is the URL for programs of the container.
func inside(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = "127.0.0.1:5432"
	return u.String()
}

func TestScriptsHaveRunWhenStartReturns(t *testing.T) {
	corpus.Need(t)
	t.Parallel()
	s := postgres.Start(t, postgres.Image("postgres:15"), postgres.User("o.hara"), postgres.Password("p@ss/word"), postgres.DB("my-db"),
		postgres.Script("1.sql", schema), postgres.Scripts(fstest.MapFS{"2.sql": {Data: []byte("INSERT INTO users VALUES ('mary')")}}),
		postgres.With(testkit.Env("TZ", "UTC")))
	if got := query(t, s, "SELECT name FROM users ORDER BY 1"); got != "ada\ngrace\nmary" {
		t.Errorf("got %q", got)
	}
	if got := inDatabase(t, s, s.DSN(), "SELECT current_user, current_database()"); got != "o.hara|my-db" {
		t.Errorf("got %q", got)
	}
	if want := "postgres://o.hara:p%40ss%2Fword@" + s.Addr(5432) + "/my-db?sslmode=disable"; s.DSN() != want {
		t.Errorf("got %s, want %s", s.DSN(), want)
	}
	if _, err := s.Query(t.Context(), "SELECT nonsense"); err == nil || !strings.Contains(err.Error(), `column "nonsense" does not exist`) {
		t.Errorf("got %v", err)
	}
	began := time.Now()
	if err := s.Stop(t.Context()); err != nil || s.ExitCode() != 0 || time.Since(began) > 30*time.Second {
		t.Errorf("stopped with %v, %d after %v", err, s.ExitCode(), time.Since(began))
	}
}

func TestEachTestHasItsDatabase(t *testing.T) {
	corpus.Need(t)
	t.Parallel()
	s := postgres.Start(t, postgres.Image("postgres:15"), postgres.Script("schema.sql", schema))
	t.Run("in parallel", func(t *testing.T) {
		for i := range 4 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				dsn := s.Database(t)
				inDatabase(t, s, dsn, fmt.Sprintf("INSERT INTO users VALUES ('%d')", i))
				if got := inDatabase(t, s, dsn, "SELECT count(*), max(length(name)) FROM users"); got != "3|5" {
					t.Errorf("got %s", got)
				}
			})
		}
	})
	if got := query(t, s, "SELECT count(*) FROM pg_database WHERE datname LIKE 'test\\_%'"); got != "0" {
		t.Errorf("%s databases are left", got)
	}
	if got := query(t, s, "SELECT count(*) FROM users"); got != "2" {
		t.Errorf("the template has %s users", got)
	}
}

func TestADatabaseInUseIsNotCopied(t *testing.T) {
	corpus.Need(t)
	t.Parallel()
	s, err := postgres.New(t.Context(), postgres.Image("postgres:15"), postgres.DB("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Run("own database is postgres", func(t *testing.T) { inDatabase(t, s, s.Database(t), "SELECT 1") })
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() { _, _ = s.Query(ctx, "SELECT pg_sleep(1000)") })
	defer busy.Wait()
	defer cancel()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		result, err := s.Exec(t.Context(), "psql", "-XAtq", "-U", "postgres", "-d", "template1", "-c",
			"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)' AND pid <> pg_backend_pid()")
		if err == nil && result.String() == "1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the other query does not run: %v, %v", result, err)
		}
	}
	tb := &failing{TB: t}
	tb.run(func() { s.Database(tb) })
	if !strings.Contains(tb.message, "is being accessed by other users") || !strings.Contains(tb.message, "close the connections to postgres") {
		t.Errorf("got %q", tb.message)
	}
}

func TestAScriptThatFailsIsToldAtOnce(t *testing.T) {
	corpus.Need(t)
	t.Parallel()
	_, err := postgres.New(t.Context(), postgres.Image("postgres:15"), postgres.Script("1.sql", "CREATE NONSENSE"))
	if err == nil || !strings.Contains(err.Error(), `syntax error at or near "NONSENSE"`) {
		t.Errorf("got %v", err)
	}
}

// failing is a test that may fail without failing this one.
type failing struct {
	testkit.TB
	message string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *failing) run(body func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		body()
	}()
	<-done
}
