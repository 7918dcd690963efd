package testkit_test

import (
	"bufio"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

//go:embed doc.go
var assets embed.FS

// The test needs no clean-up: the container ends with it.
func ExampleStart() {
	_ = func(t *testing.T) { // func TestStore(t *testing.T)
		db := testkit.Start(t, "postgres:16",
			testkit.Env("POSTGRES_PASSWORD", "secret"),
			testkit.File("/docker-entrypoint-initdb.d/schema.sql", "create table users (name text)"),
			testkit.Ready(testkit.LogLine("ready to accept connections").Times(2), testkit.Port(5432)),
		)
		store, err := sql.Open("pgx", "postgres://postgres:secret@"+db.Addr(5432)+"/postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
	}
}

// What one container writes, others see. The volume is gone after the test.
func ExampleVolume() {
	_ = func(t *testing.T) { // func TestUploads(t *testing.T)
		uploads := testkit.Volume(t)
		testkit.Start(t, "uploader", testkit.MountVolume(uploads, "/srv/uploads"))
		testkit.Start(t, "nginx", testkit.MountVolumeReadOnly(uploads, "/usr/share/nginx/html"))
	}
}

// The image of the package's own Dockerfile is built once, and again when what it is made of has changed.
func ExampleBuild() {
	_ = func(t *testing.T) { // func TestServer(t *testing.T)
		image := testkit.Build(t, "..", testkit.Target("server"), testkit.BuildArg("VERSION", "test"))
		server := testkit.Start(t, image, testkit.Ready(testkit.HTTP(8080, "/healthz")))
		t.Log(server.Addr(8080))
	}
}

// Programs that are no tests get errors, and close what they start. Should they not come to it, the kernel does.
func ExampleNew() {
	ctx := context.Background()
	c, err := testkit.New(ctx, "redis:7", testkit.Ready(testkit.Port(6379)))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	result, err := c.Exec(ctx, "redis-cli", "ping")
	fmt.Println(result, err)
	// Output: PONG <nil>
}

// A command's exit code is a result, not an error.
func ExampleRunContext() {
	result, err := testkit.RunContext(context.Background(), "busybox", []string{"sh", "-c", "tr a-z A-Z; exit 3"},
		testkit.Stdin(strings.NewReader("hello")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result, result.Code)
	// Output: HELLO 3
}

func ExampleHTTP() {
	c, err := testkit.New(context.Background(), "nginx",
		testkit.File("/var/www/html/index.html", "it works"),
		testkit.Ready(testkit.HTTP(80, "/").Status(200).Answer("works")))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	answer, err := http.Get("http://" + c.Addr(80))
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	fmt.Println(string(body), err)
	http.DefaultClient.CloseIdleConnections()
	// Output: it works <nil>
}

// What a container waits for can be put together. It is given up at once when its program exits.
func ExampleReady() {
	_, err := testkit.New(context.Background(), "busybox",
		testkit.Args("sh", "-c", "echo no configuration; exit 2"),
		testkit.Ready(testkit.Any(testkit.Port(8080), testkit.FileExists("/run/ready")), testkit.LogLine("serving")))
	var exited *testkit.ExitedError
	fmt.Println(errors.As(err, &exited), exited)
	// Output: true the program exited with code 2
}

func ExampleCustom() {
	fedTwice := testkit.Custom("two jobs", func(ctx context.Context, c *testkit.Container) error {
		result, err := c.Exec(ctx, "ls", "/jobs")
		if err == nil && len(strings.Fields(result.String())) < 2 {
			err = fmt.Errorf("jobs: %q", result)
		}
		return err
	})
	c, err := testkit.New(context.Background(), "busybox", testkit.Ready(fedTwice),
		testkit.Args("sh", "-c", "mkdir /jobs; touch /jobs/a; sleep 0.1; touch /jobs/b; sleep 1000"))
	fmt.Println(err, c.Close())
	// Output: <nil> <nil>
}

func ExampleFiles() {
	result, err := testkit.RunContext(context.Background(), "busybox", []string{"head", "-n1", "/src/doc.go"}, testkit.Files("/src", assets))
	fmt.Println(strings.HasPrefix(result.String(), "// Package testkit"), err)
	// Output: true <nil>
}

// Whatever the program is given to write to, what it has written can be read as files are.
func ExampleContainer_FS() {
	ctx := context.Background()
	c, err := testkit.New(ctx, "busybox", testkit.Args("sh", "-c", "mkdir /out; echo 42 > /out/answer"), testkit.Ready(testkit.Exited(0)))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	answer, err := fs.ReadFile(c.FS(), "out/answer")
	fmt.Printf("%q %v\n", answer, err)
	changes, err := c.Diff(ctx)
	fmt.Println(changes, err)
	// Output:
	// "42\n" <nil>
	// [A /out A /out/answer] <nil>
}

func ExampleContainer_Follow() {
	c, err := testkit.New(context.Background(), "busybox", testkit.Args("sh", "-c", "for i in 1 2 3; do echo line $i; done"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for lines := bufio.NewScanner(c.Follow()); lines.Scan(); {
		fmt.Println(lines.Text())
	}
	// Output:
	// line 1
	// line 2
	// line 3
}

// A port can be reached from inside of the container, published or not.
func ExampleContainer_Dial() {
	ctx := context.Background()
	c, err := testkit.New(ctx, "busybox", testkit.Args("sh", "-c", "nc -l -p 7000 -e echo inside"), testkit.Ready(testkit.Port(7000).Inside()))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	conn, err := c.Dial(ctx, "tcp", 7000)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	said, err := io.ReadAll(conn)
	fmt.Printf("%q %v\n", said, err)
	// Output: "inside\n" <nil>
}

func ExampleContainer_Restart() {
	ctx := context.Background()
	c, err := testkit.New(ctx, "redis:7", testkit.Ready(testkit.Port(6379)), testkit.StopGrace(5*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	before := c.Addr(6379)
	fmt.Println(c.Restart(ctx), c.Addr(6379) == before)
	// Output: <nil> true
}
