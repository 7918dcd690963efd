package match_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/ginkgo/command"
	"github.com/onsi/ginkgo/v2/ginkgo/run"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/match"
)

// asGinkgo in the environment makes the test binary the ginkgo command, which runs the same binary as its suite: the users
// that the tests run as may have no Go to build it.
const asGinkgo = "BIVOUAC_TEST_AS_GINKGO"

func TestMain(m *testing.M) {
	if os.Getenv(asGinkgo) == "command" {
		_ = os.Setenv(asGinkgo, "suite") // fails for no such name
		command.Program{Name: "ginkgo", DefaultCommand: run.BuildRunCommand()}.RunAndExit(os.Args)
	}
	os.Exit(corpus.Main(m))
}

func TestMatch(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	RunSpecs(t, "match")
}

// shell starts a container that runs a script.
func shell(script string, opts ...testkit.Option) *testkit.Container {
	GinkgoHelper()
	corpus.Need(GinkgoT())
	return testkit.Start(GinkgoT(), "busybox", append([]testkit.Option{testkit.Args("sh", "-c", script)}, opts...)...)
}

var _ = Describe("a container", func() {
	It("has its output said", func() {
		c := shell("echo one; echo two >&2; echo one; read line; echo got $line", testkit.Stdin(gbytes.BufferWithBytes([]byte("it\n"))))
		Eventually(match.Output(c)).Should(gbytes.Say("one"))
		Eventually(match.Output(c)).Should(gbytes.Say("got it"))
		Eventually(match.Stdout(c)).Should(gbytes.Say("one\none\ngot"))
		Eventually(match.Stderr(c)).Should(gbytes.Say("two"))
		Eventually(match.Stderr(c).Closed).Should(BeTrue())
		Expect(match.Stderr(c)).NotTo(gbytes.Say("two"))
		Eventually(c).Should(gexec.Exit(0))
	})

	It("has another output after a restart", func(ctx SpecContext) {
		c := shell("echo ready; exec sleep 1000", testkit.StopGrace(0))
		Eventually(match.Output(c)).Should(gbytes.Say("ready"))
		Expect(match.Output(c)).NotTo(gbytes.Say("ready"))
		Expect(c.Restart(ctx)).To(Succeed())
		Eventually(match.Output(c)).Should(gbytes.Say("ready"))
		Expect(c.Kill(ctx)).To(Succeed())
		Eventually(match.Output(c).Closed).Should(BeTrue())
		Expect(match.Output(c)).NotTo(gbytes.Say("ready"))
		Expect(c).To(gexec.Exit(137))
	})

	It("takes its output with it", func(ctx SpecContext) {
		corpus.Need(GinkgoT())
		before := match.Buffers()
		func() {
			c, err := testkit.New(ctx, "busybox", testkit.Args("echo", "words"), testkit.Ready(testkit.Exited(0)))
			Expect(err).NotTo(HaveOccurred())
			Eventually(match.Output(c)).Should(gbytes.Say("words"))
			Expect(match.Buffers()).To(BeNumerically(">", 0)) // those of earlier specs may go at any moment
			Expect(c.Close()).To(Succeed())
		}()
		Eventually(func() int {
			runtime.GC()
			return match.Buffers()
		}).Should(BeNumerically("<=", before))
	})

	It("listens, writes files, and exits", func(ctx SpecContext) {
		c := shell("echo data >/root/file; ln -s /root/file /tmp/link; touch /tmp/started; nc -lp 4000 >/dev/null; exit 4", testkit.Publish(4000),
			testkit.Ready(testkit.FileExists("/tmp/started")))
		Eventually(c).Should(match.BeListeningOn(4000))
		Expect(c).NotTo(match.BeListeningOn(4001))
		Expect(c).NotTo(match.BeListeningOnUDP(4000))
		Expect(c).To(match.HaveFile("/root/file", "data\n"))
		Expect(c).To(match.HaveFile("/tmp/link", HavePrefix("da")))
		Expect(c).NotTo(match.HaveFile("/root/other"))
		Expect(c).To(match.HaveChangedOnly("/root/file", "/tmp/*"))
		Expect(c).NotTo(match.HaveChangedOnly("/tmp"))
		Consistently(c, "100ms").ShouldNot(match.HaveExited())
		conn, err := c.Dial(ctx, "tcp", 4000)
		Expect(err).NotTo(HaveOccurred())
		Expect(conn.Close()).To(Succeed())
		Eventually(c).Should(match.HaveExited(4))
		Expect(c).NotTo(match.BeListeningOn(4000))
		Expect(c).To(match.HaveFile("/root/file"))
		Expect(c.Close()).To(Succeed())
		Expect(c).To(match.HaveExited(4))
	})

	It("fails what can no longer come at once", func() {
		c := shell("echo words; exit 1")
		began := time.Now()
		failure := InterceptGomegaFailure(func() { Eventually(c).Should(match.HaveLogged("others")) })
		Expect(failure).To(MatchError(And(ContainSubstring("exited with code 1"), ContainSubstring("words"))))
		Expect(time.Since(began)).To(BeNumerically("<", 10*time.Second))
	})
})
