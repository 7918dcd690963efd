package match_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/match"
)

// isInner tells whether the ginkgo command runs this process, for the tests below.
var isInner = os.Getenv(asGinkgo) == "suite"

// shared is a container that all inner specs of a process have together.
var shared *testkit.Container

var _ = BeforeSuite(func() {
	if isInner {
		shared = testkit.Start(GinkgoT(), "redis:7", testkit.Ready(testkit.Port(6379)))
	}
})

var _ = Describe("the inner suite", func() {
	if !isInner {
		return
	}
	AfterEach(func() {
		AddReportEntry(fmt.Sprintf("process %d shares %s", GinkgoParallelProcess(), shared.ID()), ReportEntryVisibilityAlways)
		match.ReportEvidence(GinkgoT(), shared)
	})

	for i := range 4 {
		It(fmt.Sprint("spec ", i), Label("inner"), func() {
			own := shell("exec nc -llp 4000 -e cat", testkit.Publish(4000))
			DeferCleanup(func() { Expect(own).To(match.BeListeningOn(4000), "what is cleaned up before still finds it") })
			for _, address := range []string{own.Addr(4000), shared.Addr(6379)} {
				conn, err := net.Dial("tcp", address)
				Expect(err).NotTo(HaveOccurred())
				Expect(conn.Close()).To(Succeed())
			}
		})
	}

	It("fails", Label("inner"), func() {
		shell("echo its own words; exec sleep 1000")
		Fail("on purpose")
	})
})

// ginkgo runs the inner suite by the ginkgo command and returns what that prints.
func ginkgo(t *testing.T, args ...string) (string, error) {
	t.Helper()
	corpus.Need(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	suite := filepath.Join(t.TempDir(), "inner.test")
	if err := os.Symlink(executable, suite); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--no-color", "--procs=2", "--label-filter=inner"}, args...)
	cmd := exec.Command(executable, append(args, suite, "--", "-test.run=^TestMatch$")...)
	cmd.Env = append(os.Environ(), asGinkgo+"=command")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestProcessesOfGinkgoDoNotMeet(t *testing.T) {
	out, err := ginkgo(t, "--skip=fails")
	if err != nil || !strings.Contains(out, "Ran 4 of ") {
		t.Fatalf("%v\n%s", err, out)
	}
	processes := map[string]bool{}
	for _, shares := range regexp.MustCompile(`process \d shares [0-9a-f]{64}`).FindAllString(out, -1) {
		processes[shares] = true
	}
	if len(processes) != 2 {
		t.Errorf("not two processes with a container each:\n%s", out)
	}
}

func TestAFailedSpecHasTheEvidence(t *testing.T) {
	out, err := ginkgo(t, "--focus=fails")
	if err == nil {
		t.Fatalf("no failure:\n%s", out)
	}
	for _, want := range []string{
		"on purpose", "reproduce: bivouac run", "container busybox", "its own words", "sleep 1000", "container redis:7", "listening: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the report", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}
