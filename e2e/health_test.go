package e2e

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("health checks", func() {
	var c *camp
	BeforeEach(func() { c = newCamp() })

	// health is what inspect tells.
	type result struct {
		ExitCode int
		Output   string
	}
	type health struct {
		Status        string
		FailingStreak int
		Log           []result
	}
	of := func(name string) health {
		GinkgoHelper()
		var h health
		Expect(json.Unmarshal([]byte(c.succeed("inspect", "--format", "{{json .State.Health}}", name)), &h)).To(Succeed())
		return h
	}
	run := func(name string, flags ...string) {
		GinkgoHelper()
		args := append([]string{"run", "-d", "--name", name, "--health-interval", "100ms", "--health-retries", "2"}, flags...)
		c.succeed(append(args, image("busybox:latest"), "sleep", "1000")...)
	}

	It("tell what becomes of a program, and what they have printed", func() {
		run("well", "--health-cmd", `echo "look: $PWD $(id -u) $MINE"; test ! -e /ill`, "-e", "MINE=var", "-u", "7", "-w", "/tmp")
		Expect(c.succeed("ps", "--format", "{{.Status}}")).To(Or(ContainSubstring("(health: starting)"), ContainSubstring("(healthy)")))
		Eventually(func() string { return c.succeed("ps", "--format", "{{.Status}}") }).Should(ContainSubstring("(healthy)"))
		Expect(of("well").Log[0]).To(Equal(result{0, "look: /tmp 7 var\n"}))
		c.succeed("exec", "-u", "0", "well", "touch", "/ill")
		Eventually(func() string { return of("well").Status }).Should(Equal("unhealthy"))
		h := of("well")
		Expect(h.FailingStreak).To(BeNumerically(">=", 2))
		Expect(h.Log[len(h.Log)-1].ExitCode).To(Equal(1))
		Eventually(func() int { return len(of("well").Log) }).Should(Equal(5))
		c.succeed("exec", "-u", "0", "well", "rm", "/ill")
		Eventually(func() string { return of("well").Status }).Should(Equal("healthy"))
		Expect(of("well").FailingStreak).To(BeZero())
		Expect(strings.Split(c.succeed("events", "--since", "1m", "--until", "0s", "--filter", "container=well", "--filter", "event=health_status", "--format", "{{.Action}}"), "\n")).
			To(Equal([]string{"health_status: healthy", "health_status: unhealthy", "health_status: healthy"}))
		c.succeed("stop", "-t", "0", "well")
		Expect(c.succeed("ps", "-a", "--format", "{{.Status}}")).To(HavePrefix("Exited (137)"))
	})

	It("are killed when they take too long, with what they have started", func() {
		run("slow", "--health-cmd", "echo begun; sleep 500; true", "--health-timeout", "500ms")
		Eventually(func() string { return of("slow").Status }).Should(Equal("unhealthy"))
		// A check may be killed before it comes to its first word.
		Eventually(func() []result { return of("slow").Log }).
			Should(ContainElement(And(HaveField("ExitCode", -1), HaveField("Output", ContainSubstring("exceeded timeout (500ms): begun")))))
		Eventually(func() int { return strings.Count(c.succeed("top", "slow", "-o", "args"), "\nsleep 500") }).Should(BeNumerically("<=", 1), "that of the check under way")
	})

	It("are cut, and may say anything", func() {
		run("loud", "--health-cmd", "yes 'not so short a line' | head -c 100000; exit 77")
		Eventually(func() int { return len(of("loud").Log) }).ShouldNot(BeZero())
		Expect(of("loud").Log[0].ExitCode).To(Equal(77))
		Expect(of("loud").Log[0].Output).To(HaveLen(4096))
		run("none", "--health-cmd", "/no/such/program")
		Eventually(func() string { return of("none").Status }).Should(Equal("unhealthy"))
		Expect(of("none").Log[0].ExitCode).To(Equal(127))
	})

	It("rest while the container is paused, and within the start period failures do not count", func() {
		run("young", "--health-cmd", "exit 1", "--health-start-period", "1h", "--health-start-interval", "100ms")
		Eventually(func() int { return len(of("young").Log) }).Should(Equal(5))
		Expect(of("young").Status).To(Equal("starting"))
		Expect(of("young").FailingStreak).To(BeZero())

		run("paused", "--health-cmd", "echo $$")
		Eventually(func() string { return of("paused").Status }).Should(Equal("healthy"))
		c.succeed("pause", "paused")
		var before []result
		Eventually(func() bool { // what a check has found just before may still be on its way
			before = of("paused").Log
			time.Sleep(300 * time.Millisecond)
			return reflect.DeepEqual(before, of("paused").Log)
		}).Should(BeTrue())
		Consistently(func() []result { return of("paused").Log }).WithTimeout(500 * time.Millisecond).Should(Equal(before))
		c.succeed("unpause", "paused")
		Eventually(func() []result { return of("paused").Log }).ShouldNot(Equal(before))
		Expect(of("paused").Status).To(Equal("healthy"))
	})

	It("can be switched off, and begin anew with each start", func() {
		c.succeed("run", "-d", "--name", "off", "--no-healthcheck", image("busybox:latest"), "sleep", "1000")
		Expect(c.succeed("inspect", "--format", "{{json .State}}", "off")).NotTo(ContainSubstring(`"Health":{`))

		run("again", "--health-cmd", "test -e /well")
		Eventually(func() string { return of("again").Status }).Should(Equal("unhealthy"))
		c.succeed("exec", "again", "touch", "/well")
		c.succeed("restart", "-t", "0", "again")
		Eventually(func() string { return of("again").Status }).Should(Equal("healthy"))
	})
})
