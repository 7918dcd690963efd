package e2e

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/creack/pty"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("a terminal", func() {
	// open starts bivouac on a terminal of its own.
	open := func(size pty.Winsize, args ...string) (*os.File, *exec.Cmd) {
		GinkgoHelper()
		cmd := command(args...)
		terminal, err := pty.StartWithSize(cmd, &size)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			terminal.Close()
		})
		return terminal, cmd
	}
	expect := func(r *bufio.Reader, words string) {
		GinkgoHelper()
		var seen strings.Builder
		found := make(chan bool, 1)
		go func() {
			for !strings.Contains(seen.String(), words) {
				b, err := r.ReadByte()
				if err != nil {
					found <- false
					return
				}
				seen.WriteByte(b)
			}
			found <- true
		}()
		Eventually(found).Should(Receive(BeTrue()), "%q was expected", words)
	}

	It("is given with its size, follows changes of it, and takes keys", func() {
		terminal, cmd := open(pty.Winsize{Rows: 30, Cols: 100}, "run", "-it", image("busybox:latest"), "sh")
		r := bufio.NewReader(terminal)
		io.WriteString(terminal, "tty; stty size; echo $TERM\n")
		expect(r, "/dev/pts/0")
		expect(r, "30 100")
		expect(r, "xterm")
		Expect(pty.Setsize(terminal, &pty.Winsize{Rows: 40, Cols: 120})).To(Succeed())
		Eventually(func() bool {
			io.WriteString(terminal, "stty size\n")
			line, _ := r.ReadString('\n')
			return strings.Contains(line, "40 120")
		}).Should(BeTrue())
		io.WriteString(terminal, "exit 9\n")
		go io.Copy(io.Discard, r)
		Expect(cmd.Wait()).To(MatchError(ContainSubstring("exit status 9")))
	})

	It("turns Ctrl-C into an interrupt of the program inside", func() {
		terminal, cmd := open(pty.Winsize{Rows: 24, Cols: 80}, "run", "-it", "--init", image("busybox:latest"), "sh", "-c", "trap 'exit 3' INT; echo up; while :; do sleep 0.1; done")
		r := bufio.NewReader(terminal)
		expect(r, "up")
		terminal.Write([]byte{3})
		go io.Copy(io.Discard, r)
		Expect(cmd.Wait()).To(MatchError(ContainSubstring("exit status 3")))
	})

	It("is refused where the input is none", func() {
		cmd := command("run", "-it", image("busybox:latest"), "true")
		cmd.Stdin = strings.NewReader("")
		Expect(oneLine(finish(cmd), 125)).To(ContainSubstring("not a terminal"))
	})
})
