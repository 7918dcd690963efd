package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/sandbox"
)

// newClient starts a keeper with the shared store.
func newClient() *sandbox.Client {
	GinkgoHelper()
	client, err := sandbox.Start(context.Background(), sandbox.Options{Keeper: binary, Env: []string{"BIVOUAC_HOME=" + store}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(client.Close)
	return client
}

// busyboxSpec runs a line of the shell.
func busyboxSpec(line string) sandbox.Spec {
	return sandbox.Spec{Image: image("busybox"), Get: sandbox.ImageOptions{PlainHTTP: true}, Args: []string{"sh", "-c", line}}
}

// created makes a container whose program is a line of the shell.
func created(client *sandbox.Client, line string) *sandbox.Container {
	GinkgoHelper()
	ct, err := client.Create(context.Background(), busyboxSpec(line), nil)
	Expect(err).NotTo(HaveOccurred())
	return ct
}

// started starts it too.
func started(client *sandbox.Client, line string) *sandbox.Container {
	GinkgoHelper()
	ct := created(client, line)
	Expect(ct.Start(context.Background(), sandbox.Streams{})).To(Succeed())
	return ct
}

// collect returns streams, and what was written to them once their program has ended.
func collect() (sandbox.Streams, func() string) {
	GinkgoHelper()
	r, w, err := os.Pipe()
	Expect(err).NotTo(HaveOccurred())
	text := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r)
		r.Close()
		text <- string(b)
	}()
	return sandbox.Streams{Stdout: w, Stderr: w}, func() string { w.Close(); return <-text }
}

// executed runs a program in a container to its end.
func executed(ct *sandbox.Container, spec sandbox.ExecSpec) (string, sandbox.Exit) {
	GinkgoHelper()
	streams, text := collect()
	p, err := ct.Exec(context.Background(), spec, streams)
	Expect(err).NotTo(HaveOccurred(), text)
	exit, err := p.Wait(context.Background())
	Expect(err).NotTo(HaveOccurred())
	return text(), exit
}

func shell(line string) sandbox.ExecSpec { return sandbox.ExecSpec{Args: []string{"sh", "-c", line}} }

var _ = Describe("a container's life", func() {
	ctx := context.Background()

	It("begins before its program and outlasts it", func() {
		client := newClient()
		ct := created(client, "cat /kept 2>/dev/null; echo again >>/kept; exit 3")
		Expect(ct.Args).To(Equal([]string{"sh", "-c", "cat /kept 2>/dev/null; echo again >>/kept; exit 3"}))
		Expect(ct.ID).To(HaveLen(64))
		Expect(ct.Name).To(Equal(ct.ID[:12]))
		_, err := ct.Wait(ctx)
		Expect(sandbox.CodeOf(err)).To(Equal(sandbox.CodeNotRunning))
		Expect(sandbox.CodeOf(ct.Signal(ctx, syscall.SIGTERM))).To(Equal(sandbox.CodeNotRunning))
		for _, want := range []string{"", "again\n", "again\nagain\n"} {
			streams, text := collect()
			Expect(ct.Start(ctx, streams)).To(Succeed())
			Expect(ct.Wait(ctx)).To(Equal(sandbox.Exit{Code: 3}))
			Expect(text()).To(Equal(want))
			Expect(sandbox.CodeOf(ct.Signal(ctx, syscall.SIGTERM))).To(Equal(sandbox.CodeAlreadyFinished))
		}
		Expect(ct.Discard(ctx)).To(Succeed())
		Expect(ct.Discard(ctx)).To(Succeed())
		Expect(sandbox.CodeOf(ct.Start(ctx, sandbox.Streams{}))).To(Equal(sandbox.CodeAlreadyFinished))
	})

	It("has one program at a time", func() {
		ct := started(newClient(), "sleep 1000")
		err := ct.Start(ctx, sandbox.Streams{})
		Expect(sandbox.CodeOf(err)).To(Equal(sandbox.CodeInvalid))
		Expect(err).To(MatchError(ContainSubstring("runs")))
		Expect(ct.Discard(ctx)).To(Succeed())
		Expect(ct.Wait(ctx)).To(Equal(sandbox.Exit{Code: 137, Signal: 9}))
	})

	It("survives a start that fails", func() {
		client := newClient()
		ct, err := client.Create(ctx, sandbox.Spec{Image: image("busybox"), Get: sandbox.ImageOptions{PlainHTTP: true}, Args: []string{"/late"}}, nil)
		Expect(err).NotTo(HaveOccurred())
		for range 3 {
			Expect(sandbox.CodeOf(ct.Start(ctx, sandbox.Streams{}))).To(Equal(sandbox.CodeNoProgram))
		}
		Expect(ct.Discard(ctx)).To(Succeed())
	})

	It("ends with a cancelled creation", func() {
		client := newClient()
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		for range 5 {
			_, err := client.Create(cancelled, busyboxSpec("true"), nil)
			Expect(err).To(MatchError(context.Canceled))
		}
		Expect(created(client, "true").Discard(ctx)).To(Succeed())
		Eventually(keeperMounts).Should(BeEmpty())
	})

	It("tells the image's labels and the request's", func() {
		spec := busyboxSpec("true")
		spec.Labels = map[string]string{"team": "blue"}
		ct, err := newClient().Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Labels).To(HaveKeyWithValue("team", "blue"))
	})

	It("leaves nothing in its keeper", func() {
		client := newClient()
		cycle := func() {
			ct := started(client, "sleep 1000")
			_, exit := executed(ct, shell("exit 4"))
			Expect(exit.Code).To(Equal(4))
			Expect(ct.Discard(ctx)).To(Succeed())
		}
		for range 5 {
			cycle()
		}
		files, threads := keeperFiles(), keeperThreads()
		for range 50 {
			cycle()
		}
		Eventually(keeperFiles).Should(BeNumerically("<=", files))
		Expect(keeperMounts()).To(BeEmpty())
		Expect(keeperThreads()).To(BeNumerically("<", threads+40), "not one more for each of the 50")
	})

	It("is discarded by many at once", func() {
		client := newClient()
		var all sync.WaitGroup
		for range 16 {
			ct := started(client, "sleep 1000")
			for range 2 {
				all.Go(func() {
					defer GinkgoRecover()
					Expect(ct.Discard(ctx)).To(Succeed())
				})
			}
		}
		all.Wait()
		Expect(keeperMounts()).To(BeEmpty())
	})
})

// keeperPID finds the keeper that serves this process: the one that is pid 1 of its namespace.
func keeperPID() int {
	GinkgoHelper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, _ := os.ReadFile(dir + "/cmdline")
		status, _ := os.ReadFile(dir + "/status")
		if !bytes.HasSuffix(line, []byte("\x00keeper\x00")) || !strings.Contains(string(status), "\t1\n") {
			continue
		}
		var pid, inner int
		for l := range strings.Lines(string(status)) {
			_, _ = fmt.Sscanf(l, "NSpid: %d %d", &pid, &inner)
		}
		if inner == 1 && descends(pid) {
			return pid
		}
	}
	Fail("no keeper")
	return 0
}

// descends tells whether a process is below this one.
func descends(pid int) bool {
	for pid > 1 && pid != os.Getpid() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return false
		}
		var state string
		_, _ = fmt.Sscan(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), &state, &pid)
	}
	return pid == os.Getpid()
}

func keeperFiles() int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", keeperPID()))
	Expect(err).NotTo(HaveOccurred())
	return len(list)
}

func keeperThreads() int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", keeperPID()))
	Expect(err).NotTo(HaveOccurred())
	return len(list)
}

// keeperMounts lists what the keeper has mounted for containers.
func keeperMounts() []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", keeperPID()))
	Expect(err).NotTo(HaveOccurred())
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, filepath.Join(store, "run")+"/") {
			found = append(found, line)
		}
	}
	return found
}

var _ = Describe("exec", func() {
	ctx := context.Background()

	It("joins the container", func() {
		ct := started(newClient(), "echo here >/file; sleep 1000")
		Eventually(func() string {
			text, _ := executed(ct, shell("cat /file; hostname; id -u; ps | grep -c slee[p]"))
			return text
		}).
			Should(Equal("here\n" + ct.Hostname + "\n0\n1\n"))
	})

	It("tells the exit code, the signal, and why a program cannot be executed", func() {
		ct := started(newClient(), "touch /plain; sleep 1000")
		Eventually(func() string { return said(ct, shell("ls /plain")) }).Should(Equal("/plain\n"))
		_, exit := executed(ct, shell("exit 42"))
		Expect(exit).To(Equal(sandbox.Exit{Code: 42}))
		_, exit = executed(ct, shell("kill -9 $$"))
		Expect(exit).To(Equal(sandbox.Exit{Code: 137, Signal: 9}))
		for program, code := range map[string]sandbox.Code{"absent": sandbox.CodeNoProgram, "/plain": sandbox.CodeNotExecutable, "/": sandbox.CodeNotExecutable} {
			_, err := ct.Exec(ctx, sandbox.ExecSpec{Args: []string{program}}, sandbox.Streams{})
			Expect(sandbox.CodeOf(err)).To(Equal(code), "%s: %v", program, err)
		}
		for text, spec := range map[string]sandbox.ExecSpec{
			"no program":      {},
			"not absolute":    {Args: []string{"true"}, WorkingDir: "tmp"},
			"is no directory": {Args: []string{"true"}, WorkingDir: "/absent"},
			"not valid UTF-8": {Args: []string{"\xff"}},
		} {
			_, err := ct.Exec(ctx, spec, sandbox.Streams{})
			Expect(sandbox.CodeOf(err)).To(Equal(sandbox.CodeInvalid), "%v", err)
			Expect(err).To(MatchError(ContainSubstring(text)))
		}
		_, err := ct.Exec(ctx, sandbox.ExecSpec{Args: []string{"true"}, User: "nobody-knows"}, sandbox.Streams{})
		Expect(sandbox.CodeOf(err)).To(Equal(sandbox.CodeUnknownUser))
	})

	It("has the container's environment, user and directory, or its own", func() {
		spec := busyboxSpec("sleep 1000")
		spec.Env, spec.WorkingDir, spec.User = []string{"A=container", "B=container"}, "/tmp", "nobody"
		client := newClient()
		ct, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		line := "echo $A $B $HOME; pwd; id -un; id -Gn; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
		own, _ := executed(ct, shell(line))
		Expect(own).To(ContainSubstring("container container /home\n/tmp\nnobody\nnogroup\n"))
		Expect(own).To(ContainSubstring("CapEff:\t0000000000000000"))
		Expect(own).To(ContainSubstring("NoNewPrivs:\t1\nSeccomp:\t2"))
		x := shell(line)
		x.Env, x.User, x.WorkingDir = []string{"B=exec"}, "root", "/etc"
		other, _ := executed(ct, x)
		Expect(other).To(ContainSubstring("container exec /root\n/etc\nroot\n"))
		Expect(other).To(ContainSubstring("NoNewPrivs:\t1\nSeccomp:\t2"))
		Expect(other).To(ContainSubstring("CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n"))
	})

	It("is confined as the container's program", func() {
		client := newClient()
		facts := "cd /proc/self; grep -E '^(Cap|NoNew|Seccomp|Groups|Uid|Gid)' status; cat limits uid_map cgroup; umask; cat mountinfo | wc -l; ls fd >/tmp/fds; cat /tmp/fds; for n in user mnt net ipc uts cgroup pid; do readlink ns/$n; done; tr '\\0' '\\n' <environ | sort"
		r, w, err := os.Pipe()
		Expect(err).NotTo(HaveOccurred())
		defer r.Close()
		ct := created(client, facts+"; echo; sleep 1000")
		Expect(ct.Start(ctx, sandbox.Streams{Stdout: w, Stderr: w})).To(Succeed())
		w.Close()
		var first strings.Builder
		lines := bufio.NewScanner(r)
		for lines.Scan() && lines.Text() != "" {
			fmt.Fprintln(&first, lines.Text())
		}
		own, exit := executed(ct, shell(facts))
		Expect(exit.Code).To(BeZero(), own)
		Expect(own).To(Equal(first.String()))
	})

	It("passes streams, and gives a terminal where asked", func() {
		ct := started(newClient(), "sleep 1000")
		r, w, err := os.Pipe()
		Expect(err).NotTo(HaveOccurred())
		streams, text := collect()
		streams.Stdin = r
		p, err := ct.Exec(ctx, sandbox.ExecSpec{Args: []string{"tr", "a-z", "A-Z"}}, streams)
		Expect(err).NotTo(HaveOccurred())
		r.Close()
		fmt.Fprint(w, "input")
		w.Close()
		Expect(p.Wait(ctx)).To(Equal(sandbox.Exit{}))
		Expect(text()).To(Equal("INPUT"))

		x := shell("tty; stty size; echo $TERM")
		x.Terminal = &sandbox.TerminalSize{Rows: 33, Columns: 99}
		p, err = ct.Exec(ctx, x, sandbox.Streams{})
		Expect(err).NotTo(HaveOccurred())
		defer p.Terminal.Close()
		shown, _ := io.ReadAll(p.Terminal)
		Expect(string(shown)).To(Equal("/dev/pts/0\r\n33 99\r\nxterm\r\n"))
		Expect(p.Wait(ctx)).To(Equal(sandbox.Exit{}))
	})

	It("can be signalled, cancelled, and ends with the container", func() {
		client := newClient()
		ct := started(client, "sleep 1000")
		p, err := ct.Exec(ctx, sandbox.ExecSpec{Args: []string{"sleep", "1001"}}, sandbox.Streams{})
		Expect(err).NotTo(HaveOccurred())
		text, _ := executed(ct, shell("ps -o pid,args | grep 'sleep 100[1]'"))
		Expect(strings.Fields(text)).To(HaveExactElements(fmt.Sprint(p.PID), "sleep", "1001"))
		Expect(p.Signal(ctx, syscall.SIGTERM)).To(Succeed())
		Expect(p.Wait(ctx)).To(Equal(sandbox.Exit{Code: 143, Signal: 15}))
		Expect(sandbox.CodeOf(p.Signal(ctx, syscall.SIGTERM))).To(Equal(sandbox.CodeAlreadyFinished))

		p, err = ct.Exec(ctx, sandbox.ExecSpec{Args: []string{"sleep", "1000"}}, sandbox.Streams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Signal(ctx, syscall.SIGKILL)).To(Succeed())
		Expect(p.Wait(ctx)).To(Equal(sandbox.Exit{Code: 137, Signal: 9}))
		_, err = ct.Wait(ctx)
		Expect(err).NotTo(HaveOccurred())
		_, err = ct.Exec(ctx, shell("true"), sandbox.Streams{})
		Expect(sandbox.CodeOf(err)).To(Equal(sandbox.CodeAlreadyFinished))
		Expect(sandbox.CodeOf(ct.Pause(ctx))).To(Equal(sandbox.CodeAlreadyFinished))
		_, err = created(client, "true").Exec(ctx, shell("true"), sandbox.Streams{})
		Expect(sandbox.CodeOf(err)).To(Equal(sandbox.CodeNotRunning))
	})

	It("works many times at once", func() {
		ct := started(newClient(), "sleep 1000")
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				defer GinkgoRecover()
				text, exit := executed(ct, shell(fmt.Sprintf("echo %d; exit %d", i, i)))
				Expect(text).To(Equal(fmt.Sprintln(i)))
				Expect(exit.Code).To(Equal(i))
			})
		}
		all.Wait()
	})

	It("never outlives a container that is discarded meanwhile", func() {
		client := newClient()
		for range 5 {
			ct := started(client, "sleep 1000")
			var all sync.WaitGroup
			for range 6 {
				all.Go(func() {
					defer GinkgoRecover()
					p, err := ct.Exec(ctx, shell("sleep 1000"), sandbox.Streams{})
					if err != nil {
						Expect(sandbox.CodeOf(err)).To(Equal(sandbox.CodeAlreadyFinished), err.Error())
						return
					}
					Expect(p.Wait(ctx)).To(Equal(sandbox.Exit{Code: 137, Signal: 9}))
				})
			}
			time.Sleep(3 * time.Millisecond)
			Expect(ct.Discard(ctx)).To(Succeed())
			all.Wait()
		}
	})

	It("is one of the container's users to all of its programs", func() {
		ct := started(newClient(), "sleep 1000")
		for user, want := range map[string]string{"nobody": "65534 65534", "12:34": "12 34", "root": "0 0"} {
			x := shell("id -u | tr '\\n' ' '; id -g; touch /tmp/of-$(id -u); stat -c '%u %g' /tmp/of-$(id -u)")
			x.User = user
			text, _ := executed(ct, x)
			Expect(text).To(Equal(want + "\n" + want + "\n"))
		}
		text, _ := executed(ct, shell("stat -c '%u %g' /tmp/of-12 /tmp/of-65534"))
		Expect(text).To(Equal("12 34\n65534 65534\n"))
	})
})

var _ = Describe("pause", func() {
	ctx := context.Background()

	It("stops everything until resume", func() {
		ct := started(newClient(), "while :; do echo x >>/ticks; done & while :; do (echo y >>/ticks); done")
		p, err := ct.Exec(ctx, shell("while :; do echo z >>/ticks; done"), sandbox.Streams{})
		Expect(err).NotTo(HaveOccurred())
		for range 3 {
			Expect(ct.Pause(ctx)).To(Succeed())
			Expect(ct.Pause(ctx)).To(Succeed())
			Expect(busyBelow(keeperPID())).To(BeEmpty())
			_, err = ct.Exec(ctx, shell("true"), sandbox.Streams{})
			Expect(err).To(MatchError(ContainSubstring("is paused; continue it")))
			time.Sleep(20 * time.Millisecond)
			Expect(busyBelow(keeperPID())).To(BeEmpty())
			Expect(ct.Resume(ctx)).To(Succeed())
			Expect(ct.Resume(ctx)).To(Succeed())
			Eventually(func() []string { return busyBelow(keeperPID()) }).ShouldNot(BeEmpty())
		}
		Expect(p.Signal(ctx, syscall.SIGKILL)).To(Succeed())
		Expect(p.Wait(ctx)).To(HaveField("Signal", 9))
	})

	It("does not hold a kill or a discard", func() {
		client := newClient()
		ct := started(client, "sleep 1000")
		Expect(sandbox.CodeOf(created(client, "true").Pause(ctx))).To(Equal(sandbox.CodeNotRunning))
		Expect(ct.Pause(ctx)).To(Succeed())
		Expect(ct.Signal(ctx, syscall.SIGKILL)).To(Succeed())
		Expect(ct.Wait(ctx)).To(Equal(sandbox.Exit{Code: 137, Signal: 9}))
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		_, exit := executed(ct, shell("exit 3")) // it is not paused any more
		Expect(exit.Code).To(Equal(3))
		Expect(ct.Pause(ctx)).To(Succeed())
		Expect(ct.Discard(ctx)).To(Succeed())
	})
})

// busyBelow lists the processes below a keeper, but for it, that are neither stopped nor frozen.
func busyBelow(keeper int) []string {
	var busy []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", keeper))
	for _, dir := range dirs {
		namespace, _ := os.Readlink(dir + "/ns/pid")
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil || namespace == own || namespace == "" {
			continue
		}
		var pid int
		_, _ = fmt.Sscanf(filepath.Base(dir), "%d", &pid)
		if descends(pid) && pidNamespaceDiffers(namespace) && !strings.Contains(string(stat), ") T ") && !strings.Contains(string(stat), ") Z ") {
			busy = append(busy, string(stat))
		}
	}
	return busy
}

func pidNamespaceDiffers(namespace string) bool {
	own, _ := os.Readlink("/proc/self/ns/pid")
	return own != namespace
}
