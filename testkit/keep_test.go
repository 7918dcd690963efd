package testkit_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

// TestHelperThatKeeps is run by TestAFailedTestsContainerIsKept as a process of its own.
func TestHelperThatKeeps(t *testing.T) {
	if os.Getenv("BIVOUAC_KEEP") != "1" {
		return
	}
	testkit.Start(t, image(t, "busybox:latest"), testkit.Ready(testkit.LogLine("up")),
		testkit.Args("sh", "-c", "echo kept > /note; echo up; while :; do echo more; sleep 0.01; done"))
	t.Error("as it happens")
}

// TestHelperThatKeepsAClone is run by TestAKeptContainerOutlivesItsTest as a process of its own.
func TestHelperThatKeepsAClone(t *testing.T) {
	if os.Getenv("BIVOUAC_KEEP") != "1" {
		return
	}
	testkit.Checkpoint(image(t, "busybox:latest"), testkit.Ready(testkit.LogLine("up")),
		testkit.Args("sh", "-c", "echo kept > /note; echo up; while :; do echo more; sleep 0.01; done")).Start(t)
	t.Error("as it happens")
}

func TestAKeptContainerOutlivesItsTest(t *testing.T) {
	image(t, "")
	for _, helper := range []string{"TestHelperThatKeeps", "TestHelperThatKeepsAClone"} {
		t.Run(helper, func(t *testing.T) { outlives(t, helper) })
	}
}

// outlives checks that a helper's container is there when the helper is not.
func outlives(t *testing.T, helper string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+helper+"$")
	cmd.Env = append(os.Environ(), "BIVOUAC_KEEP=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	found := regexp.MustCompile(`bivouac exec -it (\w+) sh`).FindSubmatch(out)
	if !errors.As(err, &exit) || found == nil {
		t.Fatalf("got %v\n%s", err, out)
	}
	name := string(found[1])
	defer bivouac(t, "rm", "-f", name)
	time.Sleep(100 * time.Millisecond) // it writes to pipes whose reader is gone
	if got := bivouac(t, "exec", name, "cat", "/note"); got != "kept\n" {
		t.Errorf("got %q", got)
	}
}

func bivouac(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(os.Getenv("BIVOUAC"), args...).CombinedOutput()
	if err != nil {
		t.Errorf("bivouac %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestAnotherKeeperFollowsOneThatDies(t *testing.T) {
	name := image(t, "busybox:latest")
	c, err := testkit.New(t.Context(), name, testkit.Args("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	killed := false
	for _, p := range processes() {
		if p.ppid == os.Getpid() {
			killed = syscall.Kill(p.pid, syscall.SIGKILL) == nil
		}
	}
	if !killed {
		t.Fatal("there is no keeper to kill")
	}
	if _, err := c.Wait(t.Context()); err == nil || c.ExitCode() != 255 {
		t.Errorf("got %v, %d", err, c.ExitCode())
	}
	if _, err := c.Exec(t.Context(), "true"); err == nil {
		t.Error("a container of a dead keeper works")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := testkit.Run(t, name, []string{"echo", "again"}).String(); got != "again" {
		t.Errorf("got %q", got)
	}
}

func TestClonesFollowAKeeperThatDies(t *testing.T) {
	ready := preparedRedis(t, testkit.Pool(1))
	first := ready.Start(t)
	for deadline := time.Now().Add(time.Minute); ready.PoolStats().Ready < 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the pool has %v", ready.PoolStats())
		}
	}
	for _, p := range processes() {
		if p.ppid == os.Getpid() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	if _, err := first.Wait(t.Context()); err == nil {
		t.Error("a clone outlived its keeper")
	}
	redisSays(t, ready.Start(t), "yes", "get", "prepared")
}

func TestEvidenceOfARealContainer(t *testing.T) {
	c := testkit.Start(t, image(t, "busybox:latest"), testkit.Args("sh", "-c", "echo hello; touch /new; sleep 1000 & nc -l -p 9000"),
		testkit.Ready(testkit.Port(9000).Inside()), testkit.Label("a", "b"))
	waitForLog(t, c, "hello\n")
	evidence := c.Evidence(t.Context())
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(evidence, "sleep 1000") && time.Now().Before(deadline); {
		evidence = c.Evidence(t.Context()) // it is still a shell
	}
	for _, want := range []string{
		"state: running", "    hello\n", "sleep 1000", "nc -l -p 9000", "listening: ", ":9000/tcp", "    A /new\n",
		fmt.Sprintf("published: 9000/tcp at %s\n", c.Addr(9000)),
	} {
		if !strings.Contains(evidence, want) {
			t.Errorf("%q is missing in\n%s", want, evidence)
		}
	}
	stats, err := c.Stats(t.Context())
	if err != nil || stats.Processes < 2 {
		t.Errorf("got %+v, %v", stats, err)
	}
}
