package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	"golang.org/x/sys/unix"
)

// screen is a terminal with a program in it.
type screen struct {
	shown    *gbytes.Buffer
	terminal *os.File
	cmd      *exec.Cmd
	before   unix.Termios
}

// openScreen starts a program in a terminal of its own.
func openScreen(cmd *exec.Cmd) *screen {
	GinkgoHelper()
	ours, theirs, err := pty.Open()
	Expect(err).NotTo(HaveOccurred())
	Expect(pty.Setsize(ours, &pty.Winsize{Rows: 30, Cols: 100})).To(Succeed())
	s := &screen{shown: gbytes.NewBuffer(), terminal: ours, cmd: cmd}
	s.before = s.modes()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	Expect(cmd.Start()).To(Succeed())
	go func() { _, _ = io.Copy(io.MultiWriter(s.shown, GinkgoWriter), ours) }()
	DeferCleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		theirs.Close() // until here, so that the terminal has its modes when the program is gone
		ours.Close()
	})
	return s
}

func (s *screen) modes() unix.Termios {
	GinkgoHelper()
	modes, err := unix.IoctlGetTermios(int(s.terminal.Fd()), unix.TCGETS)
	Expect(err).NotTo(HaveOccurred())
	return *modes
}

func (s *screen) typeIn(keys string) {
	GinkgoHelper()
	_, err := io.WriteString(s.terminal, keys)
	Expect(err).NotTo(HaveOccurred())
}

// end waits for the program's end, which leaves the terminal as it was.
func (s *screen) end(code int) {
	GinkgoHelper()
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	Eventually(ended).Should(Receive())
	Expect(s.cmd.ProcessState.ExitCode()).To(Equal(code))
	Expect(s.modes()).To(Equal(s.before), "the terminal's modes")
}

const detachKeys = "\x10\x11"

var _ = Describe("attach", func() {
	var c *camp
	BeforeEach(func() { c = newCamp() })

	screenOf := func(args ...string) *screen {
		GinkgoHelper()
		return openScreen(c.command(args...))
	}

	It("connects terminals with a shell that stays, again and again", func() {
		c.succeed("run", "-dit", "--name", "shell", image("busybox:latest"), "sh")
		first := screenOf("attach", "shell")
		Eventually(first.shown).Should(gbytes.Say("# "))
		first.typeIn("x=remembered; stty size; echo $((6*7))\n")
		Eventually(first.shown).Should(gbytes.Say("30 100"))
		Eventually(first.shown).Should(gbytes.Say("\n42"))
		first.typeIn(detachKeys)
		first.end(0)
		Expect(c.succeed("ps", "--format", "{{.Names}}")).To(Equal("shell"))

		second, third := screenOf("attach", "--detach-keys", "ctrl-x,q", "shell"), screenOf("attach", "--no-stdin", "shell")
		Eventually(second.shown).Should(gbytes.Say("# "))
		Eventually(third.shown).Should(gbytes.Say("# ")) // whose size is from then on not the last word
		Expect(pty.Setsize(second.terminal, &pty.Winsize{Rows: 44, Cols: 111})).To(Succeed())
		Eventually(func() *gbytes.Buffer {
			second.typeIn("stty size; echo $x.\n")
			return second.shown
		}).Should(gbytes.Say("44 111"))
		Eventually(third.shown).Should(gbytes.Say("remembered."))
		second.typeIn("\x18q")
		second.end(0)

		last := screenOf("attach", "shell")
		Eventually(last.shown).Should(gbytes.Say("# "))
		last.typeIn("exit 5\n")
		last.end(5)
		third.end(5)
		Expect(c.succeed("ps", "-a", "--format", "{{.State}}")).To(Equal("exited"))
	})

	It("leaves a container of run -it in the background", func() {
		for _, flags := range [][]string{{"--name", "kept"}, {"--rm", "--name", "brief"}} {
			name := flags[len(flags)-1]
			s := screenOf(append(append([]string{"run", "-it"}, flags...), image("busybox:latest"), "sh")...)
			Eventually(s.shown).Should(gbytes.Say("# "))
			s.typeIn("i=1; echo i is $i\n")
			Eventually(s.shown).Should(gbytes.Say("i is 1"))
			s.typeIn(detachKeys)
			s.end(0)
			Expect(c.succeed("ps", "--format", "{{.Names}}")).To(Equal(name))
			again := screenOf("attach", name)
			Eventually(again.shown).Should(gbytes.Say("# "))
			again.typeIn("echo i was $i; exit 6\n")
			Eventually(again.shown).Should(gbytes.Say("i was 1"))
			again.end(6)
			Eventually(func() string { return c.succeed("ps", "-q") }).Should(BeEmpty())
			if name == "kept" {
				Expect(c.succeed("logs", name)).To(And(ContainSubstring("i is 1"), ContainSubstring("i was 1")))
				back := screenOf("start", "-ai", name)
				Eventually(back.shown).Should(gbytes.Say("# "))
				back.typeIn("exit 7\n")
				back.end(7)
			}
			c.run("rm", name)
		}
	})

	It("leaves a command of exec -it running", func() {
		c.detach("host", "sleep 100")
		s := screenOf("exec", "-it", "host", "sh", "-c", "echo up; until [ -e /go ]; do sleep 0.1; done; echo late > /late")
		Eventually(s.shown).Should(gbytes.Say("up"))
		s.typeIn(detachKeys)
		s.end(0)
		Consistently(func() string { return c.succeed("top", "host", "-o", "args") }).WithTimeout(time.Second).Should(ContainSubstring("until"))
		c.succeed("exec", "host", "touch", "/go")
		Eventually(func() string { return c.succeed("exec", "host", "ls", "/") }).Should(ContainSubstring("late"))
	})

	It("does not wait for keys that do not come, and passes on what only looks like them", func() {
		s := screenOf("run", "-it", "--rm", image("busybox:latest"), "sh", "-c", "stty raw -echo; echo go; dd bs=1 count=4 2>/dev/null | od -c")
		Eventually(s.shown).Should(gbytes.Say("go"))
		s.typeIn("\x10\x10x\x10y")
		Eventually(s.shown).Should(gbytes.Say("020 020   x 020"))
		s.end(0)
	})

	It("tells the input's end to what was started with -i, once", func() {
		c.succeed("create", "-i", "--name", "once", image("busybox:latest"), "sh", "-c", "cat; exit 3")
		restart := c.command("start", "-ai", "once")
		restart.Stdin = strings.NewReader("all of it\n")
		session := finish(restart)
		Expect(session).To(gexec.Exit(3))
		Expect(session.Out).To(gbytes.Say("all of it"))

		c.succeed("run", "-d", "-i", "--name", "often", image("busybox:latest"), "cat")
		for _, line := range []string{"first\n", "second\n"} {
			attach := c.command("attach", "often")
			in, err := attach.StdinPipe()
			Expect(err).NotTo(HaveOccurred())
			session := start(attach)
			_, err = io.WriteString(in, line)
			Expect(err).NotTo(HaveOccurred())
			Eventually(session.Out).Should(gbytes.Say(line))
			Expect(in.Close()).To(Succeed())
			session.Kill().Wait()
		}
		Expect(c.succeed("ps", "--filter", "name=often", "--format", "{{.State}}")).To(Equal("running"))
	})

	It("loses nothing of 10 MB, however slowly it is read", func() {
		var all strings.Builder
		for i := range 1400000 {
			fmt.Fprintln(&all, i+1)
		}
		want := sha256.Sum256([]byte(all.String()))
		c.succeed("run", "-d", "-i", "--name", "much", image("busybox:latest"), "sh", "-c", "read go; seq 1400000")
		attach := c.command("attach", "much")
		in, err := attach.StdinPipe()
		Expect(err).NotTo(HaveOccurred())
		out, err := attach.StdoutPipe()
		Expect(err).NotTo(HaveOccurred())
		Expect(attach.Start()).To(Succeed())
		hash := sha256.New()
		_, err = io.WriteString(in, "\n")
		Expect(err).NotTo(HaveOccurred())
		_, err = io.CopyN(hash, out, 1000)
		Expect(err).NotTo(HaveOccurred())
		time.Sleep(2 * time.Second) // longer than anything is waited for once the program has ended
		_, err = io.Copy(hash, out)
		Expect(err).NotTo(HaveOccurred())
		Expect(attach.Wait()).To(Succeed())
		Expect(hash.Sum(nil)).To(Equal(want[:]))
		Expect(c.succeed("logs", "--tail", "1", "much")).To(Equal("1400000"))
	})

	It("passes signals on without a terminal, and is not missed when it is killed", func() {
		c.detach("traps", "trap 'echo usr; exit 4' USR1; echo up; while :; do sleep 0.05; done")
		Eventually(c.logs("traps")).Should(Equal("up\n"))
		killed := start(c.command("attach", "traps"))
		proxy := start(c.command("attach", "traps"))
		Eventually(func() string {
			return c.succeed("events", "--since", "1m", "--until", "0s", "--filter", "event=attach", "--filter", "container=traps", "--format", "x")
		}).
			Should(Equal("x\nx"))
		killed.Kill().Wait()
		Expect(c.succeed("ps", "--format", "{{.Names}}")).To(Equal("traps"))
		Consistently(proxy, 200*time.Millisecond).ShouldNot(gexec.Exit())
		proxy.Signal(syscall.SIGUSR1)
		Eventually(proxy).Should(gexec.Exit(4))
		Expect(proxy.Out).To(gbytes.Say("usr"))
	})

	It("refuses what it cannot be connected with", func() {
		c.succeed("create", "--name", "idle", image("busybox:latest"), "true")
		Expect(oneLine(c.run("attach", "idle"), 125)).To(ContainSubstring("bivouac start idle"))
		Expect(oneLine(c.run("attach", "nobody"), 125)).To(ContainSubstring("nobody"))
		c.detach("still", "sleep 100")
		c.succeed("pause", "still")
		Expect(oneLine(c.run("attach", "still"), 125)).To(ContainSubstring("unpause"))
		c.succeed("unpause", "still")
		Expect(oneLine(c.run("attach", "--detach-keys", "ctrl-?", "still"), 125)).To(ContainSubstring("ctrl-"))
		c.succeed("run", "-dit", "--name", "tty", image("busybox:latest"), "sh")
		attach := c.command("attach", "tty")
		attach.Stdin = strings.NewReader("")
		Expect(oneLine(finish(attach), 125)).To(ContainSubstring("not a terminal"))
		own := start(c.command("run", "--rm", "--name", "own", image("busybox:latest"), "sh", "-c", "echo up; sleep 100"))
		Eventually(own.Out).Should(gbytes.Say("up"))
		Expect(oneLine(c.run("attach", "own"), 125)).To(ContainSubstring("whoever started it"))
	})
})
