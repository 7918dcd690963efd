package match_test

import (
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/match"
)

func Example() {
	It("says that it is ready, and goodbye", func(ctx SpecContext) {
		redis := testkit.Start(GinkgoT(), "redis:7")
		Eventually(match.Output(redis)).Should(gbytes.Say("Ready to accept connections"))
		Expect(redis.Stop(ctx)).To(Succeed())
		Expect(match.Output(redis)).To(gbytes.Say("bye bye"))
		Expect(redis).To(gexec.Exit(0))
	})
}

func ExampleHaveLogged() {
	redis := testkit.Start(GinkgoT(), "redis:7")
	Eventually(redis).Should(match.HaveLogged("Ready to accept connections"))
	Expect(redis).To(match.HaveLogged(regexp.MustCompile(`version=7\.\d+`)))
	Expect(redis).NotTo(match.HaveLogged(ContainSubstring("error")))
}

func ExampleBeListeningOn() {
	redis := testkit.Start(GinkgoT(), "redis:7")
	Eventually(redis).Should(match.BeListeningOn(6379))
	Consistently(redis).ShouldNot(match.BeListeningOn(16379))
}

func ExampleBeListeningOnUDP() {
	dns := testkit.Start(GinkgoT(), "coredns/coredns:1.12.0")
	Eventually(dns).Should(match.BeListeningOnUDP(53))
}

func ExampleHaveFile() {
	web := testkit.Start(GinkgoT(), "nginx:stable")
	Expect(web).To(match.HaveFile("/etc/nginx/mime.types"))
	Eventually(web).Should(match.HaveFile("/run/nginx.pid", "1\n"))
	Expect(web).To(match.HaveFile("/etc/nginx/nginx.conf", ContainSubstring("worker_processes")))
}

func ExampleHaveChangedOnly() {
	job := testkit.Start(GinkgoT(), "busybox", testkit.Args("sh", "-c", "echo 1 >/var/result"))
	Eventually(job).Should(match.HaveExited(0))
	Expect(job).To(match.HaveChangedOnly("/var/result", "/tmp"))
}

func ExampleHaveExited() {
	job := testkit.Start(GinkgoT(), "busybox", testkit.Args("sh", "-c", "exit 3"))
	Eventually(job).Should(match.HaveExited(3))
}

func ExampleOutput() {
	job := testkit.Start(GinkgoT(), "busybox", testkit.Args("sh", "-c", "echo one; sleep 1; echo two"))
	Eventually(match.Output(job)).Should(gbytes.Say("one"))
	Eventually(match.Output(job)).Should(gbytes.Say("two"))
}

func ExampleReportEvidence() {
	var server *testkit.Container
	BeforeSuite(func() { server = testkit.Start(GinkgoT(), "redis:7") })
	AfterEach(func() { match.ReportEvidence(GinkgoT(), server) })
}
