package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"golang.org/x/sys/unix"
)

// camp is where a spec's detached containers are, apart from those of everybody else. Those that are left are removed.
type camp struct{ runtime string }

func newCamp() *camp {
	GinkgoHelper()
	c := &camp{GinkgoT().TempDir()}
	Expect(os.Chmod(c.runtime, 0o700)).To(Succeed())
	DeferCleanup(func() {
		left, err := c.command("ps", "-aq").Output()
		Expect(err).NotTo(HaveOccurred())
		if len(left) > 0 {
			out, err := c.command(append([]string{"rm", "-f"}, strings.Fields(string(left))...)...).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
		}
	})
	return c
}

func (c *camp) command(args ...string) *exec.Cmd {
	cmd := command(args...)
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+c.runtime)
	return cmd
}

func (c *camp) run(args ...string) *gexec.Session {
	GinkgoHelper()
	return finish(c.command(args...))
}

func (c *camp) succeed(args ...string) string {
	GinkgoHelper()
	session := c.run(args...)
	Expect(session).To(gexec.Exit(0), "%s\n%s", strings.Join(args, " "), session.Err.Contents())
	return strings.TrimSuffix(string(session.Out.Contents()), "\n")
}

// detach runs a line of the shell in a container that stays, and returns its id.
func (c *camp) detach(name, line string, flags ...string) string {
	GinkgoHelper()
	args := append([]string{"run", "-d", "--plain-http", "--name", name}, flags...)
	id := c.succeed(append(args, image("busybox"), "sh", "-c", line)...)
	Expect(id).To(MatchRegexp("^[0-9a-f]{64}$"))
	return id
}

func (c *camp) logs(args ...string) func() string {
	return func() string { return string(c.run(append([]string{"logs"}, args...)...).Out.Contents()) }
}

// keeper returns the process that serves a container's socket.
func (c *camp) keeper(id string) int {
	GinkgoHelper()
	dir, err := os.Open(filepath.Join(c.runtime, "bivouac"))
	Expect(err).NotTo(HaveOccurred())
	defer dir.Close()
	conn, err := net.Dial("unixpacket", fmt.Sprintf("/proc/self/fd/%d/%s.sock", dir.Fd(), id))
	Expect(err).NotTo(HaveOccurred())
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	Expect(err).NotTo(HaveOccurred())
	var pid int
	Expect(raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		Expect(err).NotTo(HaveOccurred())
		pid = int(peer.Pid)
	})).To(Succeed())
	return pid
}

func (c *camp) states() string { return c.succeed("ps", "-a", "--format", "{{.Names}} {{.State}}") }

var _ = Describe("a detached container", func() {
	It("runs on without the command that started it, until it is removed", func() {
		c := newCamp()
		id := c.detach("web", "echo out; echo err >&2; while :; do sleep 1; done")
		Expect(c.states()).To(Equal("web running"))
		Expect(c.succeed("ps", "--no-trunc", "-q")).To(Equal(id))
		Expect(c.succeed("ps", "--format", "{{.Status}}")).To(MatchRegexp("^Up "))
		Eventually(c.logs("web")).Should(Equal("out\n"))
		session := c.run("logs", id[:12])
		Expect(session.Out.Contents()).To(BeEquivalentTo("out\n"))
		Eventually(func() string { return string(c.run("logs", id[:12]).Err.Contents()) }).Should(Equal("err\n"))
		Expect(c.succeed("exec", "web", "hostname")).To(Equal("web"))
		Expect(oneLine(c.run("rm", "web"), 11)).To(ContainSubstring("it is running"))
		c.succeed("rm", "-f", "web")
		Expect(c.states()).To(BeEmpty())
	})

	It("stays after its end", func() {
		c := newCamp()
		c.detach("job", "echo done; exit 7")
		Eventually(c.states).Should(Equal("job exited"))
		Expect(c.succeed("ps", "-q")).To(BeEmpty())
		Expect(c.succeed("ps", "-a", "--format", "{{.Status}}")).To(MatchRegexp(`^Exited \(7\) .* ago$`))
		Expect(c.succeed("logs", "-f", "job")).To(Equal("done"))
		Expect(oneLine(c.run("exec", "job", "true"), 125)).To(ContainSubstring("it is not running"))
		c.succeed("rm", "job")
		Expect(oneLine(c.run("logs", "job"), 21)).To(ContainSubstring(`"job"`))
	})

	It("goes at its end with --rm, and its log gets to whoever follows it", func() {
		c := newCamp()
		c.detach("job", "echo up; until [ -e /go ]; do sleep 0.05; done; seq 20000", "--rm")
		follower := start(c.command("logs", "-f", "job"))
		Eventually(follower.Out.Contents).Should(BeEquivalentTo("up\n"))
		c.succeed("exec", "job", "touch", "/go")
		Eventually(follower).Should(gexec.Exit(0))
		Expect(string(follower.Out.Contents())).To(HaveSuffix("\n19999\n20000\n"))
		Eventually(c.states).Should(BeEmpty())
		c.detach("job", "true", "--rm") // may be gone before the command is
		Eventually(c.states).Should(BeEmpty())
	})

	It("survives its terminal's hang-up and Ctrl-C", func() {
		c := newCamp()
		terminal, err := pty.Start(c.command("run", "-d", "--name", "web", "--plain-http", image("busybox"), "sleep", "1000"))
		Expect(err).NotTo(HaveOccurred())
		Eventually(c.states).Should(Equal("web running"))
		terminal.Write([]byte{3})
		terminal.Close()
		Consistently(c.states).WithTimeout(500 * time.Millisecond).Should(Equal("web running"))
	})

	It("holds no file of the command", func() {
		c := newCamp()
		r, w, err := os.Pipe()
		Expect(err).NotTo(HaveOccurred())
		defer r.Close()
		for i := range 2 { // the second has a keeper that was started ahead
			cmd := c.command("run", "-d", "--plain-http", image("busybox"), "sleep", "1000")
			cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = w, w, []*os.File{w}
			cmd.Dir = GinkgoT().TempDir()
			Expect(cmd.Run()).To(Succeed(), "%d", i)
		}
		w.Close()
		Expect(r.SetReadDeadline(time.Now().Add(20 * time.Second))).To(Succeed())
		ids, err := io.ReadAll(r)
		Expect(err).NotTo(HaveOccurred())
		for _, id := range strings.Fields(string(ids)) {
			Expect(os.Readlink(fmt.Sprintf("/proc/%d/cwd", c.keeper(id)))).NotTo(ContainSubstring("ginkgo"))
		}
	})

	It("ends wholly with its keeper", func() {
		c := newCamp()
		id := c.detach("web", "while :; do echo tick; sleep 0.1; done")
		before, err := os.ReadDir(store)
		Expect(err).NotTo(HaveOccurred())
		Expect(syscall.Kill(c.keeper(id), syscall.SIGKILL)).To(Succeed())
		Eventually(c.states).Should(Equal("web exited"))
		Eventually(func() ([]os.DirEntry, error) { return os.ReadDir(filepath.Join(c.runtime, "bivouac")) }).Should(BeEmpty())
		Eventually(func() (int, error) {
			after, err := os.ReadDir(store)
			return len(after), err
		}).Should(BeNumerically("<=", len(before)))
		c.succeed("rm", "web")
		c.detach("web", "true") // the name is free
	})

	It("has its name to itself", func() {
		c := newCamp()
		codes := make([]int, 6)
		var all sync.WaitGroup
		for i := range codes {
			all.Go(func() {
				defer GinkgoRecover()
				codes[i] = c.run("run", "-d", "--plain-http", "--name", "one", image("busybox"), "sleep", "1000").ExitCode()
			})
		}
		all.Wait()
		Expect(codes).To(ConsistOf(0, 125, 125, 125, 125, 125))
		Expect(c.states()).To(Equal("one running"))
		c.succeed("rm", "-f", "one")
		c.detach("one", "exit 0")
		Eventually(c.states).Should(Equal("one exited"))
		Expect(oneLine(c.run("run", "-d", "--plain-http", "--name", "one", image("busybox"), "true"), 125)).To(ContainSubstring("bivouac rm -f one"))
	})

	It("is one of many, each with its own keeper", func() {
		c := newCamp()
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				defer GinkgoRecover()
				c.detach(fmt.Sprint("n", i), fmt.Sprintf("echo %d; sleep 1000", i))
			})
		}
		all.Wait()
		keepers := map[int]bool{}
		for _, id := range strings.Fields(c.succeed("ps", "-q", "--no-trunc")) {
			keepers[c.keeper(id)] = true
		}
		Expect(keepers).To(HaveLen(4))
		c.succeed("rm", "-f", "n0", "n2")
		Expect(strings.Fields(c.states())).To(ConsistOf("n1", "running", "n3", "running"))
		Eventually(c.logs("n3")).Should(Equal("3\n"))
		Expect(oneLine(c.run("rm", "n1", "nobody", "-f"), 0)).To(ContainSubstring(`"nobody"`))
		Expect(c.states()).To(Equal("n3 running"))
	})

	DescribeTable("is not there, or never ran, if it cannot be started",
		func(code int, args ...string) {
			c := newCamp()
			for i, arg := range args {
				args[i] = strings.ReplaceAll(arg, "IMAGE", image("busybox"))
			}
			Expect(oneLine(c.run(append([]string{"run", "-d", "--plain-http"}, args...)...), code)).NotTo(BeEmpty())
			Expect(c.states()).To(Or(BeEmpty(), HaveSuffix(" created")))
		},
		Entry("without its program", 127, "IMAGE", "nosuchprogram"),
		Entry("with what is no program", 126, "IMAGE", "/etc/passwd"),
		Entry("without an image", 125, "oci:/no/such/layout"),
		Entry("with a time-out", 125, "--timeout", "1s", "IMAGE", "true"),
	)

	It("answers on published ports", func() {
		c := newCamp()
		c.detach("web", "echo hello >/index.html; exec httpd -f -p 8080 -h /", "-p", "8080")
		address := c.succeed("port", "web", "8080")
		Eventually(func() (string, error) {
			r, err := http.Get("http://" + address + "/")
			if err != nil {
				return "", err
			}
			defer r.Body.Close()
			text, err := io.ReadAll(r.Body)
			return string(text), err
		}).Should(Equal("hello\n"))
	})

	It("may have a terminal, or an input that stays open", func() {
		c := newCamp()
		c.detach("tty", "tty; exec cat", "-it")
		Eventually(c.logs("tty")).Should(Equal("/dev/pts/0\r\n"))
		c.detach("input", "cat; echo ended", "-i")
		c.detach("none", "cat; echo ended")
		Eventually(c.logs("none")).Should(Equal("ended\n"))
		Expect(c.logs("input")()).To(BeEmpty())
		Eventually(func() []string { return strings.Split(c.states(), "\n") }).Should(ConsistOf("tty running", "input running", "none exited"))
	})

	It("is not held up by who does not read its log, which is bounded", func() {
		c := newCamp()
		c.detach("loud", "yes 0123456789012345678901234567890123456789 | head -c 40000000; echo end; sleep 1000")
		follower := start(c.command("logs", "-f", "loud"))
		Expect(follower.Command.Process.Signal(syscall.SIGSTOP)).To(Succeed())
		Eventually(c.logs("-n", "1", "loud")).WithTimeout(2 * time.Minute).Should(HaveSuffix("end\n")) // at the end of a line that was cut
		text := c.logs("loud")()
		Expect(len(text)).To(And(BeNumerically(">", 2<<20), BeNumerically("<", 20<<20)))
		Expect(follower.Command.Process.Signal(syscall.SIGCONT)).To(Succeed())
		c.succeed("rm", "-f", "loud")
		Eventually(follower).Should(gexec.Exit())
	})
})
