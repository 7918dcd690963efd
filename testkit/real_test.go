package testkit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// shell starts a container of busybox that runs a script.
func shell(t *testing.T, script string, opts ...testkit.Option) *testkit.Container {
	t.Helper()
	return testkit.Start(t, image(t, "busybox:latest"), append([]testkit.Option{testkit.Args("sh", "-c", script)}, opts...)...)
}

func TestACommandIsRunToItsEnd(t *testing.T) {
	result := testkit.Run(t, image(t, "busybox:latest"), []string{"sh", "-c", "cat; echo $A >&2; id -u; exit 3"},
		testkit.Env("A", "env"), testkit.User("1000"), testkit.Stdin(strings.NewReader("in\n")))
	if result.Code != 3 || result.String() != "in\n1000" || string(result.Stderr) != "env\n" {
		t.Errorf("got %d, %q, %q", result.Code, result.Stdout, result.Stderr)
	}
}

func TestACommandThatDoesNotEndIsGivenUp(t *testing.T) {
	began := time.Now()
	_, err := testkit.RunContext(t.Context(), image(t, "busybox:latest"), []string{"sh", "-c", "echo words; sleep 1000"}, testkit.StartTimeout(5*time.Second))
	if err == nil || !strings.Contains(err.Error(), "has not ended in time") || !strings.Contains(err.Error(), "    words") {
		t.Errorf("got %v", err)
	}
	if spent := time.Since(began); spent > time.Minute {
		t.Errorf("it took %v", spent)
	}
}

func TestRedisIsReadyWhenStartReturns(t *testing.T) {
	c := testkit.Start(t, image(t, "redis:7"), testkit.Ready(testkit.Port(6379)))
	conn, err := net.Dial("tcp", c.Addr(6379))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := ping(t, conn); got != "+PONG" {
		t.Errorf("got %q", got)
	}
	inside, err := c.Dial(t.Context(), "tcp", 6379)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if got := ping(t, inside); got != "+PONG" {
		t.Errorf("got %q", got)
	}
	result, err := c.Exec(t.Context(), "redis-cli", "ping")
	if err != nil || result.String() != "PONG" {
		t.Errorf("got %v, %v", result, err)
	}
}

func ping(t *testing.T, conn io.ReadWriter) string {
	t.Helper()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestNginxServesFilesOfTheTest(t *testing.T) {
	c := testkit.Start(t, image(t, "nginx:latest"),
		testkit.File("/var/www/html/hello.txt", "hello from the test"),
		testkit.Ready(testkit.HTTP(80, "/hello.txt").Answer("from the test")))
	answer, err := http.Get("http://" + c.Addr(80) + "/hello.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != "hello from the test" {
		t.Errorf("got %q, %v", body, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestPostgresIsHealthyByItsOwnCheck(t *testing.T) {
	c := testkit.Start(t, image(t, "postgres:15"), testkit.Env("POSTGRES_PASSWORD", "x"),
		testkit.Ready(testkit.LogLine("ready to accept connections").Times(2), testkit.Healthy()))
	result, err := c.ExecWith(t.Context(), testkit.Command{Args: []string{"psql", "-U", "postgres", "-tAc", "select 6*7"}})
	if err != nil || result.String() != "42" {
		t.Errorf("got %+v, %v", result, err)
	}
	if err := c.Stop(t.Context()); err != nil || c.ExitCode() != 0 {
		t.Errorf("got %v, exit code %d\n%s", err, c.ExitCode(), c.Logs())
	}
}

func TestAnExitWhileWaitingFailsAtOnce(t *testing.T) {
	for name, strategy := range map[string]testkit.Strategy{
		"port": testkit.Port(80), "http": testkit.HTTP(80, "/"), "exec": testkit.Exec("false"), "file": testkit.FileExists("/ready"),
		"log": testkit.LogLine("ready"), "health": testkit.All(testkit.Any(testkit.Port(1), testkit.FileExists("/x"))),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			c, err := testkit.New(t.Context(), image(t, "busybox:latest"),
				testkit.Args("sh", "-c", "sleep 0.2; echo cannot open the door; exit 3"), testkit.Ready(strategy))
			if err == nil {
				t.Fatal(c.Close())
			}
			var exited *testkit.ExitedError
			if !errors.As(err, &exited) || exited.Exit.Code != 3 || !strings.Contains(err.Error(), "    cannot open the door") {
				t.Errorf("got %v", err)
			}
			if spent := time.Since(began); spent > 30*time.Second {
				t.Errorf("it took %v", spent)
			}
		})
	}
}

func TestFilesGoInAndOut(t *testing.T) {
	c := shell(t, "cat /etc/greeting; mkdir /new; echo made > /new/file; rm /bin/ls; echo done; sleep 1000",
		testkit.File("/etc/greeting", "good morning\n", testkit.Mode(0o600)),
		testkit.Ready(testkit.LogLine("done"), testkit.FileExists("/new/file").Contains("made")))
	if !strings.HasPrefix(c.Logs(), "good morning\n") {
		t.Errorf("got %q", c.Logs())
	}
	content, err := fs.ReadFile(c.FS(), "new/file")
	if err != nil || string(content) != "made\n" {
		t.Errorf("got %q, %v", content, err)
	}
	changes, err := c.Diff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(changes)
	for _, want := range []string{"A /new", "A /new/file", "D /bin/ls", "A /etc/greeting"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
}

func TestTheProgramIsStoppedAndRestarted(t *testing.T) {
	c := shell(t, "trap 'echo bye; exit 5' TERM; echo started >> /count; wc -l < /count; nc -ll -p 8080 -e echo hi & wait",
		testkit.Ready(testkit.Port(8080)), testkit.Init())
	before := c.Addr(8080)
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitForLog(t, c, "1\nbye\n2\n")
	if c.Addr(8080) != before {
		t.Errorf("%s became %s", before, c.Addr(8080))
	}
	conn, err := net.Dial("tcp", c.Addr(8080))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hi\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := c.Stop(t.Context()); err != nil || c.ExitCode() != 5 {
		t.Errorf("got %v, exit code %d", err, c.ExitCode())
	}
}

func TestEarlyConnectionsWait(t *testing.T) {
	answer := make(chan string, 1)
	shell(t, "sleep 0.5; nc -l -p 8080 -e echo hi; sleep 1000",
		testkit.Ready(testkit.Port(8080).Inside()),
		testkit.BeforeStart(func(_ context.Context, c *testkit.Container) error {
			conn, err := net.Dial("tcp", c.Addr(8080))
			if err != nil {
				return err
			}
			go func() {
				defer conn.Close()
				got, err := io.ReadAll(conn)
				answer <- fmt.Sprint(string(got), err)
			}()
			return nil
		}))
	select {
	case got := <-answer:
		if got != "hi\n<nil>" {
			t.Errorf("got %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("no answer")
	}
}

func TestManyAtOnce(t *testing.T) {
	name := image(t, "busybox:latest")
	var all sync.WaitGroup
	errs := make(chan error, 32)
	for range 32 {
		all.Go(func() {
			c, err := testkit.New(t.Context(), name, testkit.Args("sh", "-c", "echo ready; sleep 1000"), testkit.Ready(testkit.LogLine("ready")))
			if err == nil {
				err = c.Close()
			}
			errs <- err
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestFollowingAndSignals(t *testing.T) {
	c := shell(t, "trap 'echo caught' USR1; echo up; while :; do sleep 0.05; done", testkit.Ready(testkit.LogLine("up")))
	lines := bufio.NewScanner(c.Stdout())
	lines.Scan()
	if err := c.Signal(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "caught" {
		t.Errorf("got %q, %v", lines.Text(), lines.Err())
	}
	if c.ExitCode() != -1 {
		t.Error("it has ended")
	}
	if err := c.Kill(t.Context()); err != nil || c.ExitCode() != 137 {
		t.Errorf("got %v, %d", err, c.ExitCode())
	}
	if lines.Scan() {
		t.Errorf("there is more: %q", lines.Text())
	}
}

func TestPausedProgramsStandStill(t *testing.T) {
	c := shell(t, "while :; do echo 1; sleep 0.01; done", testkit.Ready(testkit.LogPattern(`^\d+$`).Times(3)))
	if err := c.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := -1
	for deadline := time.Now().Add(20 * time.Second); len(c.Logs()) != before; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it goes on")
		}
		before = len(c.Logs()) // what it wrote before may still be on its way
	}
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(c.Logs()) == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it stands still")
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	busybox := image(t, "busybox:latest")
	for name, test := range map[string]struct {
		image string
		opts  []testkit.Option
		code  sandbox.Code
		text  string
	}{
		"image":   {image(t, "nosuch:1"), nil, sandbox.CodeNotFound, "nosuch"},
		"name":    {"Not A Name", nil, sandbox.CodeBadReference, "Not A Name"},
		"program": {busybox, []testkit.Option{testkit.Args("/no/such")}, sandbox.CodeNoProgram, "/no/such"},
		"user":    {busybox, []testkit.Option{testkit.User("nobodyhere")}, sandbox.CodeUnknownUser, "nobodyhere"},
		"options": {busybox, []testkit.Option{testkit.Network("host"), testkit.Publish(1)}, sandbox.CodeInvalid, "Network(host)"},
		"health":  {busybox, []testkit.Option{testkit.Args("sleep", "1000"), testkit.Ready(testkit.Healthy())}, sandbox.CodeInvalid, "no health check"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := testkit.New(t.Context(), test.image, test.opts...)
			if err == nil {
				t.Fatal(c.Close())
			}
			if sandbox.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %s: %v", sandbox.CodeOf(err), err)
			}
		})
	}
}
