package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
)

var _ = Describe("events", func() {
	var c *camp
	BeforeEach(func() { c = newCamp() })

	// actions are those of a container up to now.
	actions := func(name string) []string {
		GinkgoHelper()
		out := c.succeed("events", "--since", "5m", "--until", "0s", "--filter", "type=container", "--filter", "container="+name, "--format", "{{.Action}}")
		return strings.Split(out, "\n")
	}

	It("tell the life of a container in its order", func() {
		id := c.detach("life", "trap 'exit 3' TERM; while :; do sleep 0.05; done", "-l", "team=red")
		c.succeed("pause", "life")
		c.succeed("unpause", "life")
		c.succeed("exec", "life", "true")
		c.succeed("rename", "life", "after")
		c.succeed("stop", "after")
		c.succeed("start", "after")
		c.succeed("kill", "after")
		Eventually(func() string { return c.succeed("ps", "-q") }).Should(BeEmpty())
		c.succeed("rm", "after")
		Expect(actions(id)).To(Equal([]string{
			"create", "start", "pause", "unpause", "exec_create: true", "exec_start: true", "exec_die", "rename",
			"kill", "die", "stop", "start", "kill", "die", "destroy",
		}))
		line := c.succeed("events", "--since", "5m", "--until", "0s", "--filter", "container="+id, "--filter", "event=die", "--filter", "label=team=red")
		Expect(strings.Split(line, "\n")[0]).To(MatchRegexp(`^\S+T\S+ container die %s \(execDuration=\d+, exitCode=3, image=\S+busybox, name=after, team=red\)$`, id))
	})

	It("are told of what is discarded, and of what is killed", func() {
		c.succeed("run", "--rm", "--name", "fleeting", image("busybox:latest"), "true")
		Eventually(func() []string { return actions("fleeting") }).Should(Equal([]string{"create", "start", "die", "destroy"}))

		session := start(c.command("run", "--rm", "--name", "killed-outright", image("busybox:latest"), "sh", "-c", "echo up; sleep 100"))
		Eventually(session.Out).Should(gbytes.Say("up"))
		session.Kill().Wait()
		Eventually(func() []string { return actions("killed-outright") }).Should(Equal([]string{"create", "start", "die", "destroy"}))
	})

	It("are followed while they happen, in the forms that are asked for", func() {
		follow := start(c.command("events", "--filter", "event=start", "--format", "json"))
		names := start(c.command("events", "--filter", "event=start", "--format", "{{.Type}} {{.Actor.Attributes.name}} {{.Actor.Attributes.none}}."))
		until := start(c.command("events", "--until", "-5s", "--filter", "event=start"))
		var ids []string
		for _, s := range []*gexec.Session{follow, names, until} { // each begins where the record ends when it comes to that
			Eventually(func() []byte {
				id := c.succeed("run", "-d", "--name", "seen", image("busybox:latest"), "true")
				c.succeed("wait", id)
				c.succeed("rm", id)
				ids = append(ids, id)
				return s.Out.Contents()
			}).ShouldNot(BeEmpty())
		}
		var e struct {
			Type, Action string
			Actor        struct {
				ID         string
				Attributes map[string]string
			}
			TimeNano int64
		}
		Expect(json.Unmarshal([]byte(strings.SplitN(string(follow.Out.Contents()), "\n", 2)[0]), &e)).To(Succeed())
		Expect(e).To(And(HaveField("Type", "container"), HaveField("Action", "start")))
		Expect(e.Actor.ID).To(BeElementOf(ids))
		Expect(time.Since(time.Unix(0, e.TimeNano))).To(BeNumerically("<", time.Minute))
		Eventually(names.Out).Should(gbytes.Say(`container seen \.`))
		Eventually(until).Should(gexec.Exit(0))
		Expect(until.Out).To(gbytes.Say("container start (" + strings.Join(ids, "|") + ")"))
	})

	It("survive that their record is turned over", func() {
		record := filepath.Join(store, "events.jsonl")
		c.succeed("run", "--rm", image("busybox:latest"), "true")
		follow := start(c.command("events", "--filter", "container=before", "--filter", "container=over"))
		Eventually(func() []byte {
			c.succeed("run", "--rm", "--name", "before", image("busybox:latest"), "true")
			return follow.Out.Contents()
		}).ShouldNot(BeEmpty(), "it follows")
		f, err := os.OpenFile(record, os.O_WRONLY|os.O_APPEND, 0)
		Expect(err).NotTo(HaveOccurred())
		for range 1100 {
			_, err := fmt.Fprintf(f, `{"time":"2020-01-02T15:04:05Z","type":"volume","action":"create","id":"%s"}`+"\n", strings.Repeat("x", 1000))
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(f.Close()).To(Succeed())
		c.succeed("run", "--rm", "--name", "over", image("busybox:latest"), "true")
		for _, action := range []string{"create", "start", "die", "destroy"} {
			Eventually(follow.Out).Should(gbytes.Say("container " + action + ".*name=over"))
		}
		Expect(record + ".1").To(BeAnExistingFile())
		st, err := os.Stat(record)
		Expect(err).NotTo(HaveOccurred())
		Expect(st.Mode().Perm()).To(Equal(os.FileMode(0o600)))
	})

	It("are refused with filters, times and forms that make no sense", func() {
		for _, flags := range [][]string{{"--filter", "colour=red"}, {"--filter", "type"}, {"--since", "yesterday"}, {"--until", "x"}, {"--format", "{{.None}}"}, {"--format", "{{"}} {
			oneLine(c.run(append([]string{"events"}, flags...)...), 2)
		}
	})
})
