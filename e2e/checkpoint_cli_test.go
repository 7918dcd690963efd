package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/bivouac-run/bivouac/sandbox"
)

// forgetSnapshots removes a spec's containers, and then all snapshots.
func (c *camp) forgetSnapshots() {
	remove := func(list, rm []string) {
		out, err := c.command(list...).Output()
		Expect(err).NotTo(HaveOccurred())
		if ids := strings.Fields(string(out)); len(ids) > 0 {
			out, err := c.command(append(rm, ids...)...).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
		}
	}
	DeferCleanup(func() {
		remove([]string{"ps", "-aq"}, []string{"rm", "-f"})
		remove([]string{"snapshot", "ls", "-q"}, []string{"snapshot", "rm"})
	})
}

func (c *camp) inspect(snapshot string) sandbox.Snapshot {
	GinkgoHelper()
	var list []sandbox.Snapshot
	Expect(json.Unmarshal([]byte(c.succeed("snapshot", "inspect", snapshot)), &list)).To(Succeed())
	Expect(list).To(HaveLen(1))
	return list[0]
}

// counter counts in a shell's variable, which only a checkpoint with processes keeps.
const counter = "i=0; while :; do i=$((i+1)); echo $i >/count; echo $i; sleep 0.1; done"

var _ = Describe("checkpoint and restore on the command line", func() {
	Describe("with files", func() {
		It("makes clones from what a container has changed", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("db", "test -e /data || echo first >/data; echo memory >/dev/shm/x; echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done")
			Eventually(c.logs("db")).Should(Equal("up\n"))
			session := c.run("checkpoint", "--processes", "never", "--stop", "db", "files")
			Expect(session.Out.Contents()).To(BeEquivalentTo("files\n"))
			Expect(oneLine(session, 0)).To(HavePrefix("bivouac: clean files without processes, "))
			Expect(c.states()).To(Equal("db exited"))
			Expect(c.inspect("files")).To(And(
				HaveField("Tier", sandbox.TierFiles), HaveField("Quality", sandbox.QualityClean), HaveField("Fallback", ""), HaveField("Spec.Name", "db")))

			ids := strings.Fields(c.succeed("restore", "files", "-n", "3"))
			Expect(ids).To(HaveLen(3))
			Expect(c.succeed("exec", ids[0], "sh", "-c", "echo mine >/data; cat /data")).To(Equal("mine"))
			Expect(c.succeed("exec", ids[1], "cat", "/data", "/dev/shm/x")).To(Equal("first\nmemory"))
			for _, id := range ids {
				Eventually(c.logs(id)).Should(Equal("up\n"))
			}
			c.succeed("rm", "-f", ids[0], ids[1])
			Expect(oneLine(c.run("snapshot", "rm", "files"), 58)).To(ContainSubstring("containers are made from"))
			c.succeed("rm", "-f", ids[2])
			c.succeed("snapshot", "rm", "files")
			Expect(oneLine(c.run("restore", "files"), 21)).To(ContainSubstring(`"files"`))
		})

		It("goes on, or starts its program again where that had to end", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("db", "echo up; trap 'echo down; exit 0' TERM; while :; do sleep 0.1; done")
			Eventually(c.logs("db")).Should(Equal("up\n"))
			Expect(oneLine(c.run("checkpoint", "--processes", "never", "--live", "db", "live"), 0)).To(HavePrefix("bivouac: live files without processes"))
			Expect(c.states()).To(Equal("db running"))
			Expect(c.logs("db")()).To(Equal("up\n"))
			Expect(oneLine(c.run("checkpoint", "--processes", "never", "db", "clean"), 0)).To(HavePrefix("bivouac: clean files without processes"))
			Expect(c.states()).To(Equal("db running"))
			Eventually(c.logs("db")).Should(Equal("up\ndown\nup\n"))
		})

		It("says why there are no processes", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("db", "exec sleep 1000")
			Expect(oneLine(c.run("checkpoint", "--processes", "required", "db"), 56)).To(ContainSubstring("--checkpointable"))
			Expect(oneLine(c.run("checkpoint", "--live", "db", "plain"), 0)).To(MatchRegexp("live files without processes, .*: .*--checkpointable"))
			Expect(c.inspect("plain").Fallback).NotTo(BeEmpty())
			Expect(c.states()).To(Equal("db running"))
		})

		It("names, publishes and labels clones", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("web", "exec httpd -f -p 8080", "-p", "8080")
			c.succeed("checkpoint", "--live", "--processes", "never", "web", "web")
			id := c.succeed("restore", "--name", "two", "--hostname", "h", "-l", "a=b", "web")
			Expect(c.succeed("exec", "two", "hostname")).To(Equal("h"))
			Expect(c.succeed("ps", "--format", "{{.Labels}}")).To(ContainSubstring("a=b"))
			Expect(c.succeed("port", id, "8080")).NotTo(Equal(c.succeed("port", "web", "8080")))
			c.succeed("restore", "--name", "three", "-p", "8081", "web")
			Expect(c.succeed("port", "three")).To(HavePrefix("8081/tcp -> 127.0.0.1:"))
			Expect(oneLine(c.run("restore", "--name", "two", "web"), 51)).To(ContainSubstring("another container has it"))
			Expect(oneLine(c.run("restore", "-n", "2", "--name", "four", "web"), 2)).To(ContainSubstring("--name"))
		})

		It("prints the ids of those that run when some fail", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("web", "exec sleep 1000")
			c.succeed("checkpoint", "--live", "--processes", "never", "web", "web")
			session := c.run("restore", "-n", "3", "-p", "127.0.0.1:18924-18925:80", "web")
			Expect(oneLine(session, 54)).To(HavePrefix("bivouac: restore 1 of 3 clones: "))
			ids := strings.Fields(string(session.Out.Contents()))
			Expect(ids).To(HaveLen(2))
			for _, id := range ids {
				Expect(c.succeed("exec", id, "echo", "here")).To(Equal("here"))
			}
		})

		It("discards clones at their end with --rm", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("job", "echo done")
			Eventually(c.states).Should(Equal("job exited"))
			c.succeed("checkpoint", "job", "job")
			c.succeed("rm", "job")
			c.succeed("restore", "--rm", "-n", "2", "job")
			Eventually(c.states).Should(BeEmpty())
		})
	})

	It("lists, exports and imports snapshots", func() {
		c := newCamp()
		c.forgetSnapshots()
		c.detach("db", "echo kept >/data; exec sleep 1000")
		Eventually(func() string { return string(c.run("exec", "db", "cat", "/data").Out.Contents()) }).Should(Equal("kept\n"))
		c.succeed("checkpoint", "--live", "--processes", "never", "db", "one")
		Expect(c.succeed("snapshot", "ls")).To(MatchRegexp(`(?m)^NAME +SNAPSHOT ID +IMAGE +TIER +SIZE +CREATED +USED\n(.*\n)*one +[0-9a-f]{12} +\S+busybox\S* +files `))
		Expect(c.succeed("snapshot", "ls", "--format", "{{.Name}} {{.Tier}}")).To(ContainSubstring("one files"))
		file := filepath.Join(GinkgoT().TempDir(), "one.tar")
		c.succeed("snapshot", "export", "-o", file, "one")
		Expect(oneLine(c.run("snapshot", "export", "-o", file+"2", "none"), 21)).NotTo(BeEmpty())
		Expect(file + "2").NotTo(BeAnExistingFile())
		Expect(c.succeed("snapshot", "import", "--name", "copy", file)).To(Equal("copy"))
		piped := c.command("snapshot", "import", "--name", "piped", "-")
		piped.Stdin = bytes.NewReader(c.run("snapshot", "export", "one").Out.Contents())
		Expect(finish(piped)).To(gexec.Exit(0))
		c.succeed("snapshot", "rm", "one")
		for _, name := range []string{"copy", "piped"} {
			id := c.succeed("restore", name)
			Expect(c.succeed("exec", id, "cat", "/data")).To(Equal("kept"))
			c.succeed("rm", "-f", id)
		}
		Expect(os.Truncate(file, 3000)).To(Succeed())
		Expect(c.run("snapshot", "import", file).ExitCode()).To(Equal(32))
		Expect(oneLine(c.run("snapshot", "rm", "copy", "piped", "one"), 21)).To(ContainSubstring(`"one"`))
	})

	Describe("with processes", func() {
		BeforeEach(needCRIU)

		It("makes clones that go on where the original was", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("count", counter, "--checkpointable")
			Eventually(c.logs("count")).Should(ContainSubstring("5\n"))
			Expect(oneLine(c.run("checkpoint", "--processes", "required", "count", "ready"), 0)).To(MatchRegexp("^bivouac: files and [0-9]+ process"))
			Expect(c.inspect("ready")).To(And(HaveField("Tier", sandbox.TierProcesses), HaveField("Processes", BeNumerically(">", 0))))
			Expect(c.states()).To(Equal("count running"))
			ids := strings.Fields(c.succeed("restore", "-n", "4", "ready"))
			Expect(ids).To(HaveLen(4))
			for _, id := range ids {
				Eventually(c.logs(id)).ShouldNot(BeEmpty())
				first, _, _ := strings.Cut(c.logs(id)(), "\n")
				Expect(strconv.Atoi(first)).To(BeNumerically(">=", 5))
				Expect(c.succeed("exec", id, "grep", "-E", "^(Seccomp|NoNewPrivs):", "/proc/100/status")).To(Equal("NoNewPrivs:\t1\nSeccomp:\t2"))
			}
			c.succeed(append([]string{"rm", "-f"}, ids...)...)
		})

		It("ends the original if asked to, and a clone can be checkpointed again", func() {
			c := newCamp()
			c.forgetSnapshots()
			c.detach("count", counter, "--checkpointable")
			Eventually(c.logs("count")).Should(ContainSubstring("3\n"))
			c.succeed("checkpoint", "--processes", "required", "--stop", "count", "one")
			Expect(c.states()).To(Equal("count exited"))
			c.succeed("rm", "count")
			c.succeed("restore", "--name", "clone", "one")
			Eventually(func() int { return strings.Count(c.logs("clone")(), "\n") }).Should(BeNumerically(">", 3))
			c.succeed("checkpoint", "--processes", "required", "clone", "two")
			c.succeed("restore", "--name", "grandchild", "two")
			Eventually(c.logs("grandchild")).ShouldNot(BeEmpty())
			first, _, _ := strings.Cut(c.logs("grandchild")(), "\n")
			Expect(strconv.Atoi(first)).To(BeNumerically(">", 5))
		})
	})
})
