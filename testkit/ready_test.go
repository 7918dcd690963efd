package testkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// eventually waits for something that other goroutines bring about.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
	}
}

// quick is for strategies that are not to be reached.
const quick = 500 * time.Millisecond

func TestLogLinesAreAwaited(t *testing.T) {
	for name, test := range map[string]struct {
		strategy Strategy
		lines    []string
		reached  bool
	}{
		"text":              {LogLine("ready"), []string{"is ready now"}, true},
		"twice":             {LogLine("ready").Times(2), []string{"ready", "x", "ready"}, true},
		"only once":         {LogLine("ready").Times(2), []string{"ready", "x"}, false},
		"pattern":           {LogPattern(`port \d+$`), []string{"on port 80"}, true},
		"pattern, no":       {LogPattern(`^port \d+$`), []string{"on port 80"}, false},
		"the other stream":  {LogLine("ready").On(Stderr), []string{"ready"}, false},
		"never":             {LogLine("ready"), nil, false},
		"both in one order": {All(LogLine("b"), LogLine("a")), []string{"a", "b"}, true},
		"any":               {Any(LogLine("x"), LogLine("b")), []string{"a", "b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := made(t, &fakeBox{program: prints(0, test.lines...)}, Ready(test.strategy))
			err := c.launch(t.Context())
			if test.reached {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			expectError(t, err, "waiting for", "the program exited with code 0")
			var exited *ExitedError
			if !errors.As(err, &exited) {
				t.Errorf("%v is no ExitedError", err)
			}
		})
	}
}

func TestALineWithoutAnEndCounts(t *testing.T) {
	c := made(t, &fakeBox{program: func(p *fakeProgram) {
		fmt.Fprint(p.stdout, "login: ")
		p.run()
	}}, Ready(LogLine("login:")))
	if err := c.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// sleeper is a program that nothing can be seen of.
var sleeper = (*fakeProgram).run

func TestAProgramThatExitsFailsAtOnce(t *testing.T) {
	for name, strategy := range map[string]Strategy{
		"port":   Port(80),
		"http":   HTTP(80, "/"),
		"exec":   Exec("false"),
		"file":   FileExists("/ready"),
		"cert":   TLSCertificate("/cert"),
		"custom": Custom("mine", func(context.Context, *Container) error { return errors.New("no") }),
		"deep":   All(Any(All(Port(80)), FileExists("/x"))),
		"exited": Exited(0),
	} {
		t.Run(name, func(t *testing.T) {
			b := &fakeBox{program: prints(3, "one", "cannot open the door"), health: func([]string) int { return 1 }}
			c := made(t, b, Ready(strategy))
			began := time.Now()
			err := c.launch(t.Context())
			expectError(t, err, "start image:1 (abababababab): waiting for ", "the program exited with code 3", "    cannot open the door")
			if spent := time.Since(began); spent > 30*time.Second {
				t.Errorf("it took %v", spent)
			}
			if c.ExitCode() != 3 {
				t.Errorf("exit code %d", c.ExitCode())
			}
		})
	}
}

func TestATimeOutSaysWhatWasLastSeen(t *testing.T) {
	for name, test := range map[string]struct {
		strategy Strategy
		parts    []string
	}{
		"port":   {Port(80), []string{"port 80/tcp", "nothing listens on it; it listens on 0.0.0.0:6380/tcp"}},
		"log":    {LogLine("x").Times(2), []string{`log line "x", 2 times`, "0 such lines"}},
		"exec":   {Exec("pg_isready", "-q"), []string{"command pg_isready -q", "exited with code 2: ran pg_isready -q"}},
		"file":   {FileExists("/ready"), []string{"file /ready", "file does not exist"}},
		"text":   {FileExists("/etc/x").Contains("y"), []string{`file /etc/x with "y"`, "its 3 bytes do not contain"}},
		"cert":   {TLSCertificate("/etc/x"), []string{"TLS certificate /etc/x", "holds no certificate"}},
		"exited": {Exited(0), []string{"exit with code 0", "the program still runs"}},
		"custom": {Custom("my own", func(context.Context, *Container) error { return errors.New("not yet") }), []string{"my own", "not yet"}},
		"any":    {Any(Port(80), FileExists("/a")), []string{"any of (port 80/tcp, file /a)", "nothing listens", "file does not exist"}},
		"second": {All(FileExists("/etc/x"), Port(80)), []string{"waiting for port 80/tcp"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &fakeBox{program: sleeper, health: func([]string) int { return 2 }, root: fstest.MapFS{"etc/x": {Data: []byte("abc")}}}
			c := made(t, b, Ready(test.strategy), StartTimeout(quick))
			err := c.launch(t.Context())
			expectError(t, err, append(test.parts, "not ready in time", quick.String(), "testkit.StartTimeout", "printed nothing")...)
			var failed *StartError
			if !errors.As(err, &failed) || failed.Image != "image:1" {
				t.Errorf("%T is no StartError", err)
			}
		})
	}
}

func TestAPermanentFailureEndsWaiting(t *testing.T) {
	var calls atomic.Int32
	c := made(t, &fakeBox{program: sleeper}, Ready(Custom("mine", func(context.Context, *Container) error {
		if calls.Add(1) == 2 {
			return Permanent(errors.New("wrong password"))
		}
		return errors.New("not yet")
	})))
	expectError(t, c.launch(t.Context()), "waiting for mine: wrong password")
}

// serves makes a program that a server of the test speaks for.
func serves(t *testing.T, server *httptest.Server) func(*fakeProgram) {
	t.Cleanup(server.Close)
	return func(p *fakeProgram) {
		p.address = server.Listener.Addr().String()
		close(p.listening)
		p.run()
	}
}

func TestHTTPIsAwaited(t *testing.T) {
	var early atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.Header().Set("X-Ready", r.Header.Get("X-Ask"))
		switch {
		case r.URL.Path == "/early" && early.Add(1) < 4:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/auth" && (user != "u" || password != "p"):
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, r.URL.RawQuery)
		}
	})
	for name, test := range map[string]struct {
		strategy HTTPStrategy
		last     string // what is last seen; empty means that it is reached
	}{
		"status":       {HTTP(80, "/"), ""},
		"no slash":     {HTTP(80, "x?a=b").Answer("GET localhost:80 a=b"), ""},
		"retried":      {HTTP(80, "/early"), ""},
		"redirect":     {HTTP(80, "/moved"), "status 302 Found"},
		"other status": {HTTP(80, "/moved").Status(301, 302), ""},
		"no auth":      {HTTP(80, "/auth"), "status 401 Unauthorized"},
		"auth":         {HTTP(80, "/auth").BasicAuth("u", "p"), ""},
		"method":       {HTTP(80, "/").Method("POST").Body("b").Answer("POST"), ""},
		"body":         {HTTP(80, "/").Answer("PUT"), `without "PUT"`},
		"header":       {HTTP(80, "/").Header("X-Ask", "yes").AnswerHeader("X-Ready", "yes"), ""},
		"no header":    {HTTP(80, "/").AnswerHeader("X-Ready", "yes"), `header X-Ready: ""`},
		"host":         {HTTP(80, "/").Header("Host", "example.com").Answer("example.com"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &fakeBox{program: serves(t, httptest.NewServer(handler))}
			timeout := 10 * time.Second
			if test.last != "" {
				timeout = quick
			}
			err := made(t, b, Ready(test.strategy), StartTimeout(timeout)).launch(t.Context())
			if test.last != "" {
				expectError(t, err, test.last)
			} else if err != nil || !b.opened.Load() {
				t.Errorf("got %v, opened %v", err, b.opened.Load())
			}
		})
	}
}

func TestHTTPSIsAwaited(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com"
	b := &fakeBox{program: serves(t, server)}
	if err := made(t, b, Ready(HTTP(443, "/").TLS(config).Status(404))).launch(t.Context()); err != nil {
		t.Error(err)
	}
	err := made(t, &fakeBox{program: serves(t, httptest.NewTLSServer(http.NotFoundHandler()))}, Ready(HTTP(443, "/").TLS(nil)), StartTimeout(quick)).launch(t.Context())
	expectError(t, err, "certificate")
}

func TestPortsAreTriedFromOutsideOnceTheyAreOpen(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan bool, 1)
	b := &fakeBox{program: func(p *fakeProgram) {
		close(p.listening)
		p.run()
	}}
	go func() {
		if conn, err := listener.Accept(); err == nil {
			accepted <- b.opened.Load()
			_ = conn.Close()
		}
	}()
	c := made(t, b, Ready(Port(80)))
	c.info.Ports = []sandbox.PortMapping{{Port: 80, HostPort: uint16(listener.Addr().(*net.TCPAddr).Port)}}
	if err := c.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !<-accepted {
		t.Error("the connection came before the ports were opened")
	}
}

func TestTheTestsDeadlineCounts(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), quick, errTestDeadline)
	defer cancel()
	err := made(t, &fakeBox{program: sleeper}, Ready(LogLine("x"))).launch(ctx)
	expectError(t, err, "the test's own deadline", "go test -timeout")

	tb := &fakeTB{deadline: time.Now().Add(20 * time.Second)}
	limited, cancel := limited(tb)
	defer cancel()
	if deadline, ok := limited.Deadline(); !ok || tb.deadline.Sub(deadline) < time.Second {
		t.Errorf("nothing is left to tell of a failure: %v", tb.deadline.Sub(deadline))
	}
}

func TestTheImagesHealthCheck(t *testing.T) {
	var calls atomic.Int32
	failing := func(n int32) func([]string) int {
		calls.Store(0)
		return func(args []string) int {
			if strings.Join(args, " ") != "/bin/sh -c ask" || calls.Add(1) <= n {
				return 1
			}
			return 0
		}
	}
	run := func(n int32, check *sandbox.Healthcheck) error {
		c := made(t, &fakeBox{program: sleeper, health: failing(n)}, Ready(Healthy()), StartTimeout(5*time.Second))
		c.info.Health = check
		return c.launch(t.Context())
	}
	shell := []string{"CMD-SHELL", "ask"}
	if err := run(2, &sandbox.Healthcheck{Test: shell, Interval: time.Millisecond}); err != nil {
		t.Errorf("two failures are no verdict: %v", err)
	}
	expectError(t, run(1000, &sandbox.Healthcheck{Test: shell, Interval: time.Millisecond}), "unhealthy: 3 checks have failed in a row", "exited with code 1: ran /bin/sh -c ask")
	if err := run(10, &sandbox.Healthcheck{Test: shell, Interval: time.Millisecond, StartPeriod: time.Minute}); err != nil {
		t.Errorf("failures in the start period count: %v", err)
	}
	expectError(t, run(0, nil), "the image has no health check", "testkit.Port")
	expectError(t, run(0, &sandbox.Healthcheck{Test: []string{"NONE"}}), "the image has no health check")
	expectError(t, run(0, &sandbox.Healthcheck{Test: []string{"ask"}}), "none of Docker's forms")
}
