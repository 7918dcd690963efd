package redis_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/redis"
)

func TestMain(m *testing.M) { os.Exit(corpus.Main(m)) }

func Example() {
	var t *testing.T // the test's
	server := redis.Start(t, redis.Image("redis:7-alpine"))
	fmt.Println("connect to", server.Addr())
}

func TestARedisAnswers(t *testing.T) {
	corpus.Need(t)
	server := redis.Start(t)
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "SET greeting hello\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "+OK\r\n" || err != nil {
		t.Fatalf("got %q, %v", line, err)
	}
	if got, err := server.CLI(t.Context(), "GET", "greeting"); got != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := server.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := server.CLI(t.Context(), "DBSIZE"); got != "0" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := server.CLI(t.Context(), "NO-SUCH-COMMAND"); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("got %v", err)
	}
}

func TestAPasswordIsAskedFor(t *testing.T) {
	corpus.Need(t)
	server, err := redis.New(t.Context(), redis.Password("s3 cret"), redis.With(testkit.Label("a", "b")))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got, err := server.CLI(t.Context(), "PING"); got != "PONG" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, want := server.URL(), "redis://:s3%20cret@"+server.Addr()+"/0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	result, err := server.Exec(t.Context(), "redis-cli", "PING")
	if err != nil || !strings.Contains(result.String(), "NOAUTH") {
		t.Errorf("got %v, %v", result, err)
	}
	if labels := server.Inspect().Labels; labels["a"] != "b" {
		t.Errorf("got labels %v", labels)
	}
}

func TestAnImageThatIsNotThereIsAnError(t *testing.T) {
	corpus.Need(t)
	if _, err := redis.New(t.Context(), redis.Image("redis:none")); err == nil || !strings.Contains(err.Error(), "redis:none") {
		t.Errorf("got %v", err)
	}
}
