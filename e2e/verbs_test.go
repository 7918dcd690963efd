package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// create makes a container that is kept, with a line of the shell to run.
func (c *camp) create(name, line string, flags ...string) string {
	GinkgoHelper()
	args := append([]string{"create", "--plain-http", "--name", name}, flags...)
	return c.succeed(append(args, image("busybox"), "sh", "-c", line)...)
}

// status is what ps says of a container.
func (c *camp) status(name string) string {
	GinkgoHelper()
	return c.succeed("ps", "-a", "--filter", "name=^"+name+"$", "--format", "{{.Status}}")
}

// forever is a program that ends at the first request.
const forever = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"

var _ = Describe("the verbs of containers", func() {
	var c *camp
	BeforeEach(func() { c = newCamp() })

	It("carry one through an ordinary day", func() {
		before := ownProcesses()
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "index.html"), []byte("welcome\n"), 0o644)).To(Succeed())
		By("making it")
		id := c.create("day", forever, "-e", "A=1", "-l", "of=day", "--stop-timeout", "60")
		Expect(id).To(MatchRegexp("^[0-9a-f]{64}$"))
		Expect(c.status("day")).To(Equal("Created"))
		c.succeed("cp", dir, "day:/srv")
		By("running it")
		Expect(c.succeed("start", "day")).To(Equal("day"))
		Eventually(c.logs("day")).Should(Equal("up\n"))
		Expect(c.succeed("exec", "day", "cat", "/srv/index.html")).To(Equal("welcome"))
		Expect(c.succeed("exec", "day", "stat", "-c", "%u:%g", "/srv/index.html")).To(Equal("0:0"))
		c.succeed("exec", "day", "sh", "-c", "echo more >>/srv/index.html; rm /etc/group")
		c.succeed("cp", "day:/srv/index.html", filepath.Join(dir, "back"))
		Expect(os.ReadFile(filepath.Join(dir, "back"))).To(Equal([]byte("welcome\nmore\n")))
		Expect(strings.Split(c.succeed("diff", "day"), "\n")).To(ContainElements("A /srv", "A /srv/index.html", "D /etc/group"))
		By("stopping it, which its program answers")
		began := time.Now()
		Expect(c.succeed("stop", "day")).To(Equal("day"))
		Expect(time.Since(began)).To(BeNumerically("<", time.Minute))
		Expect(c.status("day")).To(HavePrefix("Exited (5) "))
		Eventually(func() []string { return newProcesses(before) }).Should(BeEmpty(), "nothing runs for it")
		Expect(c.logs("day")()).To(Equal("up\n"))
		By("running it again, with what it had")
		c.succeed("start", "day")
		Eventually(c.logs("day")).Should(Equal("up\nup\n"))
		Expect(c.succeed("exec", "day", "cat", "/srv/index.html")).To(Equal("welcome\nmore"))
		c.succeed("rename", "day", "night")
		c.succeed("restart", "-t", "0", "night")
		Eventually(c.logs("--tail", "1", "night")).Should(Equal("up\n"))
		Expect(c.succeed("inspect", "-f", "{{.Name}} {{.State.Status}} {{index .Config.Labels \"of\"}}", id[:8])).To(Equal("/night running day"))
		By("waiting for it")
		waiting := start(c.command("wait", "night"))
		Consistently(waiting, "200ms").ShouldNot(gexec.Exit())
		c.succeed("kill", "night")
		Eventually(waiting).Should(gexec.Exit(0))
		Expect(string(waiting.Out.Contents())).To(Equal("137\n"))
		By("removing it")
		c.create("other", "true", "-l", "of=night")
		Expect(c.succeed("rm", "-v", "night")).To(Equal("night"))
		Expect(c.succeed("container", "prune", "-f", "--filter", "label=of=night")).To(HavePrefix("Deleted Containers:\n"))
		Expect(c.succeed("ps", "-aq", "--filter", "label=of")).To(BeEmpty())
	})

	It("starts with streams and takes them along", func() {
		c.create("cat", "cat; echo bye >&2; exit 7", "-i")
		cmd := c.command("start", "-ai", "cat")
		cmd.Stdin = strings.NewReader("to and fro\n")
		session := finish(cmd)
		Expect(session).To(gexec.Exit(7))
		Expect(string(session.Out.Contents())).To(Equal("to and fro\n"))
		Expect(string(session.Err.Contents())).To(Equal("bye\n"))
		Expect(c.logs("cat")()).To(Equal("to and fro\n"))
		Expect(oneLine(c.run("start", "-a", "cat", "dog"), 2)).To(ContainSubstring("only one"))
	})

	It("says the same of what is not there, and goes on with the others", func() {
		c.create("a", "true")
		for _, verb := range []string{"start", "stop", "kill", "restart", "pause", "unpause", "rm", "wait", "inspect"} {
			Expect(oneLine(c.run(verb, "nobody"), 21)).To(ContainSubstring(`"nobody"`), verb)
		}
		for _, line := range []string{"logs nobody", "port nobody", "diff nobody", "export nobody", "rename nobody b", "cp nobody:/x .", "cp . nobody:/x", "top nobody"} {
			Expect(oneLine(c.run(strings.Fields(line)...), 21)).To(ContainSubstring(`"nobody"`), line)
		}
		Expect(oneLine(c.run("exec", "nobody", "true"), 125)).To(ContainSubstring(`"nobody"`))
		session := c.run("rm", "nobody", "a", "somebody")
		Expect(session).To(gexec.Exit(21))
		Expect(string(session.Out.Contents())).To(Equal("a\n"))
		Expect(strings.Count(string(session.Err.Contents()), "\n")).To(Equal(2))
		Expect(c.run("rm", "-f", "nobody")).To(gexec.Exit(0))
	})

	DescribeTable("on containers of each state", func(state, prepare string, codes map[string]int) {
		for verb, code := range codes {
			id := c.create("it", forever)
			for _, line := range strings.Split(prepare, ";") {
				if line != "" {
					c.succeed(append(strings.Fields(line), "it")...)
				}
			}
			args := append(strings.Fields(verb), "it")
			if verb == "exec" {
				args = append(args, "true")
			}
			session := c.run(args...)
			Expect(session).To(gexec.Exit(code), "%s of one that is %s: %s", verb, state, session.Err.Contents())
			if code != 0 {
				oneLine(session, code)
			}
			c.succeed("rm", "-f", id)
		}
	},
		Entry("created", "created", "", map[string]int{
			"stop": 0, "kill": 14, "pause": 14, "unpause": 14, "exec": 125, "logs": 0, "port": 0, "diff": 0, "wait": 0, "rm": 0, "start": 0, "restart -t 0": 0, "inspect": 0,
		}),
		Entry("running", "running", "start", map[string]int{
			"stop -t 0": 0, "kill": 0, "pause": 0, "unpause": 11, "exec": 0, "logs": 0, "port": 0, "diff": 0, "rm": 11, "rm -f": 0, "start": 0, "restart -t 0": 0,
		}),
		Entry("paused", "paused", "start;pause", map[string]int{
			"stop -t 0": 0, "kill": 0, "pause": 11, "unpause": 0, "exec": 125, "diff": 0, "rm": 11, "rm -f": 0, "start": 0, "restart -t 0": 0,
		}),
		Entry("exited", "exited", "start;kill", map[string]int{
			"stop": 0, "kill": 14, "pause": 14, "unpause": 14, "exec": 125, "logs": 0, "port": 0, "diff": 0, "wait": 0, "rm": 0, "start": 0, "restart -t 0": 0,
		}),
	)

	It("finds containers by the beginnings of ids, and refuses what fits several", func() {
		seen := map[string]string{}
		for i := 0; ; i++ {
			id := c.create("c"+strconv.Itoa(i), "true")
			Expect(c.succeed("inspect", "-f", "{{.Id}}", id[:12])).To(Equal(id))
			if other, ok := seen[id[:1]]; ok {
				Expect(other).NotTo(Equal(id))
				Expect(oneLine(c.run("start", id[:1]), 11)).To(ContainSubstring("containers match"))
				break
			}
			seen[id[:1]] = id
		}
	})

	It("lists as it is asked", func() {
		c.create("first", forever, "-l", "a=1", "-l", "b", "-v", "tin:/data", "-p", "8099:80")
		c.create("second", "exit 3", "-l", "a=2", "--network", "host")
		c.create("third", forever, "-l", "a=1", "--health-cmd", "true", "--health-interval", "50ms")
		c.succeed("start", "second", "third")
		Eventually(func() string { return c.status("third") }).Should(HaveSuffix("(healthy)"))
		Eventually(func() string { return c.status("second") }).Should(HavePrefix("Exited (3) "))
		for flags, want := range map[string]string{
			"":                                     "third",
			"-a":                                   "third second first",
			"-n 2":                                 "third second",
			"-l":                                   "third",
			"-a --filter label=a=1":                "third first",
			"-a --filter label=a --filter label=b": "first",
			"-a --filter name=^s --filter name=^f": "second first",
			"-a --filter exited=3":                 "second",
			"--filter exited=3":                    "",
			"--filter status=created":              "first",
			"--filter status=exited --filter status=running":  "third second",
			"-a --filter before=third --filter since=first":   "second",
			"-a --filter volume=tin":                          "first",
			"-a --filter volume=/data":                        "first",
			"-a --filter publish=80":                          "first",
			"-a --filter publish=70-90/tcp":                   "first",
			"-a --filter publish=80/udp":                      "",
			"-a --filter health=healthy":                      "third",
			"-a --filter health=none":                         "second first",
			"-a --filter network=host":                        "second",
			"-a --filter ancestor=" + image("busybox"):        "third second first",
			"-a --filter ancestor=" + image("busybox:latest"): "third second first",
			"-a --filter ancestor=" + image("alpine"):         "",
		} {
			args := append([]string{"ps", "--format", "{{.Names}}"}, strings.Fields(flags)...)
			Expect(strings.Join(strings.Fields(c.succeed(args...)), " ")).To(Equal(want), flags)
		}
		Expect(c.succeed("ps", "-a", "--format", `{{.Names}} {{.Label "a"}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.State}}`)).To(Equal(
			"third 1  0 none running\nsecond 2  0 host exited\nfirst 1 tin 1 none created"))
		Expect(c.succeed("ps", "-as", "--format", "table {{.Names}}\t{{.Size}}")).To(MatchRegexp(`^NAMES +SIZE\nthird +[0-9.]+k?B \(virtual [0-9.]+MB\)\n`))
		Expect(oneLine(c.run("ps", "--filter", "since=nobody"), 21)).To(ContainSubstring("nobody"))
		for _, bad := range []string{"status=odd", "exited=x", "odd=1", "publish=x", "name=("} {
			oneLine(c.run("ps", "--filter", bad), 2)
		}
		c.succeed("rm", "-f", "first", "second", "third")
		c.succeed("volume", "rm", "tin")
	})

	It("copies whatever the container's program has made of its files, and stays inside", func() {
		dir := GinkgoT().TempDir()
		mine := filepath.Join(dir, "mine")
		Expect(os.WriteFile(mine, []byte("mine"), 0o600)).To(Succeed())
		c.create("evil", "ln -s "+dir+" /host; ln -s ../../../../../../.."+dir+" /up; ln -s / /root-link; mkdir /d; ln -s "+mine+" /d/mine; mkfifo /d/pipe; echo in >/d/file; ln /d/file /d/hard; "+
			"touch /ready; while :; do sleep 0.05; done")
		c.succeed("start", "evil")
		Eventually(func() int { return c.run("exec", "evil", "test", "-e", "/ready").ExitCode() }).Should(Equal(0))
		By("copying in through its symlinks, which lead to nothing")
		source := filepath.Join(dir, "source")
		Expect(os.WriteFile(source, []byte("new"), 0o600)).To(Succeed())
		for _, target := range []string{"/host/mine", "/up/mine"} {
			oneLine(c.run("cp", source, "evil:"+target), 21)
		}
		Expect(os.ReadFile(mine)).To(Equal([]byte("mine")))
		c.succeed("cp", source, "evil:/root-link/landed")
		Expect(c.succeed("exec", "evil", "cat", "/landed")).To(Equal("new"))
		By("copying out what they lead to")
		oneLine(c.run("cp", "-L", "evil:/host", filepath.Join(dir, "out")), 21)
		oneLine(c.run("cp", "evil:/up/mine", filepath.Join(dir, "out")), 21)
		c.succeed("cp", "evil:/d", filepath.Join(dir, "out"))
		Expect(os.Readlink(filepath.Join(dir, "out", "mine"))).To(Equal(mine))
		Expect(os.ReadFile(filepath.Join(dir, "out", "file"))).To(Equal([]byte("in\n")))
		info, err := os.Lstat(filepath.Join(dir, "out", "pipe"))
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Type()).To(Equal(os.ModeNamedPipe))
		a, err := os.Stat(filepath.Join(dir, "out", "file"))
		Expect(err).NotTo(HaveOccurred())
		b, err := os.Stat(filepath.Join(dir, "out", "hard"))
		Expect(err).NotTo(HaveOccurred())
		Expect(os.SameFile(a, b)).To(BeTrue())
		By("copying again, over a symlink of the first copy")
		c.succeed("exec", "evil", "sh", "-c", "rm /d/mine; echo theirs >/d/mine")
		c.succeed("cp", "evil:/d/.", filepath.Join(dir, "out"))
		Expect(os.ReadFile(mine)).To(Equal([]byte("mine")))
		Expect(os.ReadFile(filepath.Join(dir, "out", "mine"))).To(Equal([]byte("theirs\n")))
	})

	It("keeps owners with -a where it can, and says where it cannot", func() {
		c.create("own", "true")
		var stream bytes.Buffer
		w := tar.NewWriter(&stream)
		Expect(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "theirs", Uid: 12, Gid: 34, Mode: 0o640})).To(Succeed())
		Expect(w.Close()).To(Succeed())
		cmd := c.command("cp", "-", "own:/srv")
		cmd.Stdin = &stream
		Expect(finish(cmd)).To(gexec.Exit(11), "there is no /srv")
		stream.Reset()
		w = tar.NewWriter(&stream)
		Expect(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "theirs", Uid: 12, Gid: 34, Mode: 0o640})).To(Succeed())
		Expect(w.Close()).To(Succeed())
		cmd = c.command("cp", "-", "own:/tmp")
		cmd.Stdin = &stream
		Expect(finish(cmd)).To(gexec.Exit(0))
		session := c.run("cp", "own:/tmp/theirs", "-")
		Expect(session).To(gexec.Exit(0))
		h, err := tar.NewReader(bytes.NewReader(session.Out.Contents())).Next()
		Expect(err).NotTo(HaveOccurred())
		Expect([]any{h.Name, h.Uid, h.Gid, h.Mode}).To(Equal([]any{"theirs", 12, 34, int64(0o640)}))
		out := GinkgoT().TempDir()
		session = c.run("cp", "-a", "own:/tmp/theirs", out)
		Expect(session).To(gexec.Exit(0))
		Expect(string(session.Err.Contents())).To(HavePrefix("bivouac: warning: 1 file of other users"))
		c.succeed("cp", "-a", filepath.Join(out, "theirs"), "own:/tmp/mine")
		session = c.run("cp", "own:/tmp/mine", "-")
		h, err = tar.NewReader(bytes.NewReader(session.Out.Contents())).Next()
		Expect(err).NotTo(HaveOccurred())
		Expect(h.Uid).To(Equal(os.Getuid()))
	})

	It("exports the files of the container, and not those of its mounts", func() {
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600)).To(Succeed())
		c.create("whole", "echo mine >/mine; "+forever, "-v", dir+":/mnt", "--tmpfs", "/scratch")
		c.succeed("start", "whole")
		Eventually(c.logs("whole")).Should(Equal("up\n"))
		running := tarNames(c.run("export", "whole").Out.Contents())
		c.succeed("stop", "-t", "0", "whole")
		file := filepath.Join(dir, "whole.tar")
		c.succeed("export", "-o", file, "whole")
		stopped, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		for _, names := range [][]string{running, tarNames(stopped)} {
			Expect(names).To(ContainElements("mine", "bin/busybox"))
			Expect(names).NotTo(ContainElement("mnt/secret"))
		}
	})

	It("survives two who do the same, or the opposite, at once", func() {
		c.create("contested", forever)
		for round := range 3 {
			codes := c.atOnce([]string{"start", "contested"}, []string{"start", "contested"}, []string{"restart", "-t", "0", "contested"}, []string{"stop", "-t", "0", "contested"},
				[]string{"cp", "contested:/etc/passwd", "-"}, []string{"diff", "contested"})
			Expect(codes).To(HaveEach(BeElementOf(0, 58)), "round %d", round)
			Expect(c.status("contested")).To(Or(HavePrefix("Up "), HavePrefix("Exited (")))
		}
		c.succeed("start", "contested")
		codes := c.atOnce([]string{"rm", "-f", "contested"}, []string{"rm", "-f", "contested"}, []string{"start", "contested"}, []string{"rename", "contested", "other"})
		Expect(codes[:2]).To(HaveEach(BeElementOf(0, 21)))
		Expect(c.run("rm", "-f", "contested", "other")).To(gexec.Exit(0))
		Expect(c.succeed("ps", "-a", "--filter", "name=contested", "--filter", "name=other", "-q")).To(BeEmpty())
	})
})

// atOnce runs commands at the same time and returns their exit codes.
func (c *camp) atOnce(lines ...[]string) []int {
	GinkgoHelper()
	codes := make([]int, len(lines))
	var all sync.WaitGroup
	for i, args := range lines {
		cmd := c.command(args...)
		all.Go(func() {
			out, err := cmd.CombinedOutput()
			codes[i] = cmd.ProcessState.ExitCode()
			if err != nil {
				fmt.Fprintf(GinkgoWriter, "%q: %v: %s\n", args, err, out)
			}
		})
	}
	all.Wait()
	return codes
}

// tarNames lists a stream's entries without slashes at their ends.
func tarNames(stream []byte) []string {
	GinkgoHelper()
	var names []string
	for in := tar.NewReader(bytes.NewReader(stream)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		Expect(err).NotTo(HaveOccurred())
		names = append(names, strings.Trim(h.Name, "/"))
	}
}
