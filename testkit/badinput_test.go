package testkit_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

// badInput names what is wrong for a process of TestHelperWithBadInput.
const badInput = "BIVOUAC_TESTKIT_BAD"

// TestHelperWithBadInput is run by other tests as a process of its own.
func TestHelperWithBadInput(t *testing.T) {
	switch os.Getenv(badInput) {
	case "start":
		testkit.Start(t, image(t, "busybox:latest"), testkit.Args("sleep", "1000"))
	case "port":
		c := testkit.Start(t, image(t, "redis:7"), testkit.Ready(testkit.Port(6379)))
		t.Log(c.Addr(1234))
	case "many":
		for i := range 200 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				testkit.Start(t, image(t, "busybox:latest"), testkit.Args("sh", "-c", "echo up; sleep 1000"), testkit.Ready(testkit.LogLine("up")))
				time.Sleep(2 * time.Second) // so that all are there at once
			})
		}
	case "late":
		var c *testkit.Container
		var inner *testing.T
		t.Run("inner", func(t *testing.T) {
			inner, c = t, testkit.Start(t, image(t, "busybox:latest"), testkit.Args("sleep", "1000"))
		})
		_, err := c.Exec(t.Context(), "true")
		fmt.Println("exec:", err)
		done := make(chan bool)
		go func() {
			defer close(done)
			testkit.Start(inner, image(t, "busybox:latest"))
		}()
		<-done
		fmt.Println("survived")
	}
}

// runBadly runs TestHelperWithBadInput and returns what it printed. Arguments are set by a shell before.
func runBadly(t *testing.T, what, before string, env ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := before + `; exec "$0" -test.run='^TestHelperWithBadInput$' -test.v -test.parallel=200`
	cmd := exec.Command("/bin/sh", "-c", script, self)
	cmd.Env = append(append(os.Environ(), badInput+"="+what), env...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if spent := time.Since(began); spent > 5*time.Minute {
		t.Errorf("it took %v", spent)
	}
	if regexp.MustCompile(`(?m)^panic:|^goroutine \d`).Match(out) {
		t.Errorf("it panicked:\n%s", out)
	}
	return string(out), err
}

func TestBadInputFailsOnceAndClearly(t *testing.T) {
	image(t, "")
	for name, test := range map[string]struct {
		what, before string
		env          []string
		parts        []string
	}{
		"no keeper":       {"start", "", []string{"BIVOUAC_E2E_BINARY=/no/such/bivouac"}, []string{"start the keeper /no/such/bivouac", "$BIVOUAC"}},
		"nowhere":         {"start", "", []string{"BIVOUAC_E2E_BINARY=", "BIVOUAC=", "PATH=/nowhere"}, []string{"find the bivouac executable", "go get -tool"}},
		"other program":   {"start", "", []string{"BIVOUAC_E2E_BINARY=/bin/false"}, []string{"the keeper ended (exit status 1)"}},
		"port":            {"port", "", nil, []string{"port 1234/tcp of", "published are 6379/tcp", "testkit.Publish"}},
		"no image":        {"start", "", []string{"BIVOUAC_E2E_REGISTRY=127.0.0.1:1"}, []string{"start 127.0.0.1:1/busybox:latest", "connection refused"}},
		"store elsewhere": {"start", "", []string{"BIVOUAC_HOME=/proc/nowhere"}, []string{"/proc/nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runBadly(t, test.what, "true"+test.before, test.env...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || strings.Count(out, "testkit: ") < 1 {
				t.Fatalf("got %v\n%s", err, out)
			}
			for _, part := range test.parts {
				if !strings.Contains(out, part) {
					t.Errorf("%q is missing in\n%s", part, out)
				}
			}
			if n := strings.Count(out, "--- FAIL"); n != 1 {
				t.Errorf("%d failures\n%s", n, out)
			}
		})
	}
}

func TestAMachineThatCannotSkips(t *testing.T) {
	image(t, "")
	refuses := filepath.Join(t.TempDir(), "refuses")
	script := "#!/bin/sh\necho 'bivouac: make namespaces: not permitted; permit them' >&2; exit 125\n"
	if err := os.WriteFile(refuses, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for require, want := range map[string]string{"": "--- SKIP: TestHelperWithBadInput", "1": "--- FAIL: TestHelperWithBadInput"} {
		out, _ := runBadly(t, "start", "true", "BIVOUAC_E2E_BINARY="+refuses, "BIVOUAC_REQUIRE="+require)
		if !strings.Contains(out, want) || strings.Count(out, "not permitted; permit them") != 1 {
			t.Errorf("BIVOUAC_REQUIRE=%s:\n%s", require, out)
		}
	}
}

func TestUseAfterTheTestsEnd(t *testing.T) {
	image(t, "")
	out, _ := runBadly(t, "late", "true")
	for _, part := range []string{"the container has been discarded; it ends with the test TestHelperWithBadInput/inner", "the test is over", "survived"} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is missing in\n%s", part, out)
		}
	}
}

func TestTooManyAtOnceFailClearly(t *testing.T) {
	image(t, "")
	for name, before := range map[string]string{"open files": "ulimit -n 100", "very few": "ulimit -n 40"} {
		t.Run(name, func(t *testing.T) {
			out, err := runBadly(t, "many", before)
			failures := 0
			for line := range strings.Lines(out) {
				if strings.Contains(line, "testkit: start ") {
					failures++
				}
			}
			t.Logf("%v, %d failures", err, failures)
			if strings.Contains(out, "has died") || strings.Contains(out, "the keeper ended") {
				t.Errorf("the keeper did not survive:\n%.20000s", out)
			}
			if failures == 0 || failures != strings.Count(out, "    --- FAIL") {
				t.Errorf("%d messages and %d failures:\n%.20000s", failures, strings.Count(out, "    --- FAIL"), out)
			}
		})
	}
}
