package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/bivouac-run/bivouac/sandbox"
)

// reserve creates a container whose program is a line of the shell, and returns its id.
func (c *camp) reserve(name, line string, flags ...string) string {
	GinkgoHelper()
	args := append([]string{"create", "--plain-http", "--name", name}, flags...)
	return c.succeed(append(args, image("busybox"), "sh", "-c", line)...)
}

// stateOf is a container's in a few words.
func (c *camp) stateOf(name string) func() string {
	return func() string {
		return string(c.run("ps", "-a", "--filter", "name=^"+name+"$", "--format", "{{.State}} {{.Status}}").Out.Contents())
	}
}

// containersDir is where the shared store has the containers that are kept.
func containersDir() string { return filepath.Join(store, "containers") }

// both runs two commands at once and returns their exit codes.
func (c *camp) both(a, b []string) (codes [2]int) {
	GinkgoHelper()
	var all sync.WaitGroup
	for i, args := range [][]string{a, b} {
		all.Go(func() {
			defer GinkgoRecover()
			codes[i] = c.run(args...).ExitCode()
		})
	}
	all.Wait()
	return codes
}

var _ = Describe("a container that is kept", func() {
	It("goes on with its files, its log and its configuration", func() {
		c := newCamp()
		id := c.reserve("job", "echo run $((++n)) >>/runs; cat /runs; echo $WORD; exit 4", "-e", "WORD=hello")
		Expect(c.stateOf("job")()).To(HavePrefix("created Created"))
		for range 3 {
			c.succeed("start", "job")
			Eventually(c.stateOf("job")).Should(HavePrefix("exited Exited (4) "))
		}
		Expect(c.logs("job")()).To(Equal(strings.Repeat("run 1\n", 1) + "hello\n" + strings.Repeat("run 1\n", 2) + "hello\n" + strings.Repeat("run 1\n", 3) + "hello\n"))
		Expect(c.logs("-n", "2", id[:7])()).To(Equal("run 1\nhello\n"))
		Expect(c.succeed("ps", "-aq", "--no-trunc")).To(Equal(id))
		Expect(filepath.Join(containersDir(), id, "upper", "runs")).To(BeARegularFile())
		c.succeed("rm", "job")
		Expect(filepath.Join(containersDir(), id)).NotTo(BeADirectory())
		Expect(os.ReadDir(filepath.Join(containersDir(), "names"))).To(BeEmpty())
		Expect(oneLine(c.run("start", "job"), 21)).To(ContainSubstring("bivouac ps -a"))
	})

	It("may be run in the foreground, and is put down with the command that runs it", func() {
		c := newCamp()
		Expect(c.run("run", "--plain-http", "--name", "job", image("busybox"), "sh", "-c", "echo once; exit 3")).To(gexec.Exit(3))
		Expect(c.stateOf("job")()).To(HavePrefix("exited Exited (3) "))
		c.succeed("rm", "job")
		session := start(c.command("run", "--plain-http", "--name", "job", image("busybox"), "sh", "-c", "echo up; sleep 1000"))
		Eventually(session.Out.Contents).Should(BeEquivalentTo("up\n"))
		session.Kill().Wait()
		Eventually(c.stateOf("job")).Should(HavePrefix("exited Exited (137) "))
		c.succeed("start", "job")
		Eventually(c.logs("job")).Should(Equal("up\nup\n"))
	})

	It("stays as created where its program cannot be started, and says why", func() {
		c := newCamp()
		Expect(oneLine(c.run("run", "-d", "--plain-http", "--name", "job", image("busybox"), "nosuchprogram"), 127)).NotTo(BeEmpty())
		Expect(c.stateOf("job")()).To(HavePrefix("created "))
		c.succeed("rm", "job")
	})

	It("does not need its image's name any more", func() {
		c := newCamp()
		id := c.reserve("job", "echo alive")
		offline := c.command("start", "job")
		offline.Env = append(offline.Env, "https_proxy=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1")
		index := filepath.Join(store, "index.json")
		text, err := os.ReadFile(index)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(index, []byte(`{"schemaVersion":2,"manifests":[]}`), 0o644)).To(Succeed())
		DeferCleanup(func() { Expect(os.WriteFile(index, text, 0o644)).To(Succeed()) })
		Expect(finish(offline)).To(gexec.Exit(0))
		Eventually(c.logs(id)).Should(Equal("alive\n"))
	})

	It("has its name to itself, and can be renamed", func() {
		c := newCamp()
		c.reserve("a", "hostname; sleep 1000")
		for _, verb := range [][]string{{"create"}, {"run"}, {"run", "-d"}, {"run", "--rm"}, {"run", "-d", "--rm"}} {
			session := c.run(append(verb, "--plain-http", "--name", "a", image("busybox"), "true")...)
			Expect(session.ExitCode()).To(Or(Equal(51), Equal(125)), "%v", verb)
			Expect(string(session.Err.Contents())).To(ContainSubstring("bivouac rm -f a"), "%v", verb)
		}
		c.succeed("rename", "a", "b")
		c.succeed("start", "b")
		Eventually(c.logs("b")).Should(Equal("a\n")) // the host name stays
		c.succeed("rename", "b", "c")
		Expect(c.succeed("ps", "--format", "{{.Names}}")).To(Equal("c"))
		c.detach("short", "sleep 1000", "--rm")
		Expect(oneLine(c.run("rename", "c", "short"), 51)).NotTo(BeEmpty())
		Expect(oneLine(c.run("rename", "short", "c"), 51)).NotTo(BeEmpty())
		Expect(oneLine(c.run("rename", "c", "../c"), 11)).NotTo(BeEmpty())
		c.reserve("a", "true")
		Expect(strings.Fields(c.succeed("ps", "-a", "--format", "{{.Names}}"))).To(ConsistOf("a", "c", "short"))
	})

	It("is found by the beginning of its id that no other has", func() {
		c := newCamp()
		ids := map[string]bool{}
		for i := range 17 { // two of them begin with the same digit
			ids[c.reserve(fmt.Sprint("n", i), "true")[:1]] = true
		}
		Expect(len(ids)).To(BeNumerically("<", 17))
		digits := strings.Fields(c.succeed("ps", "-aq"))
		count := map[string]int{}
		for _, id := range digits {
			count[id[:1]]++
		}
		for digit, n := range count {
			if n > 1 {
				Expect(oneLine(c.run("start", digit), 11)).To(ContainSubstring(fmt.Sprintf("%d containers match", n)))
				break
			}
		}
		c.succeed("start", digits[3])
	})

	It("is exited after its keeper was killed, with its files as they were", func() {
		c := newCamp()
		id := c.detach("job", "echo kept >>/file; cat /file; sleep 1000")
		Eventually(c.logs("job")).Should(Equal("kept\n"))
		Expect(syscall.Kill(c.keeper(id), syscall.SIGKILL)).To(Succeed())
		Eventually(c.stateOf("job")).Should(HavePrefix("exited Exited (255) "))
		Expect(c.succeed("ps", "-q")).To(BeEmpty())
		Expect(c.logs("job")()).To(Equal("kept\n"))
		c.succeed("start", "job")
		Eventually(c.logs("job")).Should(Equal("kept\nkept\nkept\n"))
	})

	It("can be removed with a damaged record, which disturbs no other verb", func() {
		c := newCamp()
		whole := c.reserve("whole", "true")
		for i, text := range []string{"", "{\"version\":", "\x00\x00"} {
			name := fmt.Sprint("damaged", i)
			id := c.reserve(name, "true")
			Expect(os.WriteFile(filepath.Join(containersDir(), id, "container.json"), []byte(text), 0o600)).To(Succeed())
			Expect(c.stateOf(name)()).To(HavePrefix("exited Exited (255) "))
			Expect(oneLine(c.run("start", name), 11)).To(ContainSubstring("bivouac rm " + name))
			c.succeed("start", whole)
			c.succeed("rm", name)
		}
		Expect(c.states()).To(HavePrefix("whole "))
	})

	It("survives the loss of what has become of its program", func() {
		c := newCamp()
		id := c.reserve("job", "echo up")
		Expect(os.WriteFile(filepath.Join(containersDir(), id, "state.json"), nil, 0o600)).To(Succeed())
		Expect(c.stateOf("job")()).To(HavePrefix("exited Exited (255) "))
		c.succeed("start", "job")
		Eventually(c.logs("job")).Should(Equal("up\n"))
	})

	It("leaves nothing behind wherever its keeper is killed", func() {
		c := newCamp()
		c.reserve("warm", "true")
		kill := func(args ...string) {
			before := ownProcesses()
			cmd := c.command(args...)
			Expect(cmd.Start()).To(Succeed())
			time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
			for _, p := range newProcesses(before) {
				pid, err := strconv.Atoi(strings.Fields(p)[1])
				if err != nil { // it is just ending
					continue
				}
				environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
				if pid != cmd.Process.Pid && strings.Contains(string(environ), "BIVOUAC_HOME="+store) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			_ = cmd.Wait()
		}
		for i := range 7 {
			name := fmt.Sprint("k", i)
			kill("run", "-d", "--plain-http", "--name", name, image("busybox"), "sh", "-c", "echo up; sleep 1000")
			kill("start", name)
			kill("rm", name)
			if c.run("start", name).ExitCode() != 0 { // it is gone, and so is its name
				c.detach(name, "echo up; sleep 1000")
			}
			Eventually(c.logs(name)).Should(HaveSuffix("up\n"))
			c.succeed("rm", "-f", name)
		}
		c.succeed("rm", "warm")
		Expect(filepath.Glob(filepath.Join(containersDir(), "[^.]*"))).To(HaveLen(1)) // names; locks of others' names begin with a dot
		Expect(os.ReadDir(filepath.Join(containersDir(), "names"))).To(BeEmpty())
	})

	It("is started again by its policy, until it is stopped", func() {
		c := newCamp()
		run := func(name, policy, line string) {
			c.succeed("run", "-d", "--plain-http", "--restart", policy, "--name", name, image("busybox"), "sh", "-c", line)
		}
		run("twice", "on-failure:2", "echo run; exit 5")
		Eventually(c.stateOf("twice")).Should(HavePrefix("exited Exited (5) "))
		Expect(c.logs("twice")()).To(Equal("run\nrun\nrun\n"))
		run("well", "on-failure", "echo run; test -e /ok && exit 0; touch /ok; exit 1")
		Eventually(c.stateOf("well")).Should(HavePrefix("exited Exited (0) "))
		Expect(c.logs("well")()).To(Equal("run\nrun\n"))
		run("always", "always", "echo run; exit 0")
		Eventually(c.stateOf("always")).Should(HavePrefix("restarting Restarting (0) "))
		c.succeed("stop", "always")
		Expect(c.stateOf("always")()).To(HavePrefix("exited "))
		run("killed", "unless-stopped", "echo run; sleep 1000")
		Eventually(c.logs("killed")).Should(Equal("run\n"))
		c.succeed("kill", "killed")
		Eventually(c.stateOf("killed")).Should(HavePrefix("exited Exited (137) "))
		c.succeed("start", "killed")
		Eventually(c.logs("killed")).Should(Equal("run\nrun\n"))
		c.succeed("rm", "-f", "killed")
		Expect(oneLine(c.run("run", "--restart", "sometimes", image("busybox")), 125)).NotTo(BeEmpty())
	})

	It("is one for Go programs too", func(ctx SpecContext) {
		c := newCamp()
		for _, name := range []string{"BIVOUAC_HOME", "XDG_RUNTIME_DIR"} {
			before := os.Getenv(name)
			DeferCleanup(func() { os.Setenv(name, before) })
		}
		os.Setenv("BIVOUAC_HOME", store)
		os.Setenv("XDG_RUNTIME_DIR", c.runtime)
		client, err := sandbox.Start(ctx, sandbox.Options{Keeper: binary})
		Expect(err).NotTo(HaveOccurred())
		defer client.Close()
		spec := sandbox.Spec{Image: image("busybox"), Get: sandbox.ImageOptions{PlainHTTP: true}, Name: "ended", Keep: true, Args: []string{"sh", "-c", "exit 6"}}
		ended, err := client.Run(ctx, spec, sandbox.Streams{}, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ended.Wait(ctx)).To(HaveField("Code", 6))
		spec.Name, spec.Args = "running", []string{"sleep", "1000"}
		running, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(running.Start(ctx, sandbox.Streams{})).To(Succeed())
		Expect(sandbox.Find(ctx, "running")).To(HaveField("State", sandbox.StateRunning))
		spec.Name = "removed"
		removed, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(removed.Discard(ctx)).To(Succeed())
		Expect(client.Close()).To(Succeed())
		Expect(strings.Split(c.succeed("ps", "-a", "--format", "{{.Names}} {{.State}}"), "\n")).To(ConsistOf("ended exited", "running exited"))
		Expect(sandbox.Find(ctx, "running")).To(HaveField("Exit.Code", 137))
		again, err := sandbox.Start(ctx, sandbox.Options{Keeper: binary})
		Expect(err).NotTo(HaveOccurred())
		defer again.Close()
		opened, err := again.Open(ctx, ended.ID)
		Expect(err).NotTo(HaveOccurred())
		Expect(opened.Start(ctx, sandbox.Streams{})).To(Succeed())
		Expect(opened.Wait(ctx)).To(HaveField("Code", 6))
		_, err = again.Open(ctx, "none")
		Expect(err).To(MatchError(&sandbox.Error{Code: sandbox.CodeNotFound}))
	})

	It("bounds its log as it is told", func() {
		c := newCamp()
		id := c.detach("loud", "seq 20000", "--log-opt", "max-size=64k", "--log-opt", "max-file=3")
		Eventually(c.stateOf("loud")).Should(HavePrefix("exited "))
		text := c.logs("loud")()
		Expect(text).To(HaveSuffix("\n19999\n20000\n"))
		files, err := filepath.Glob(filepath.Join(containersDir(), id, "log.*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(files).To(HaveLen(3))
		for _, f := range files {
			st, err := os.Stat(f)
			Expect(err).NotTo(HaveOccurred())
			Expect(st.Size()).To(BeNumerically("<=", 64<<10))
		}
		c.detach("silent", "echo lost", "--log-driver", "none")
		Expect(oneLine(c.run("logs", "silent"), 11)).NotTo(BeEmpty())
	})

	It("cannot lie above the machine's own root", func() {
		c := newCamp()
		Expect(oneLine(c.run("create", "host:", "true"), 10)).To(ContainSubstring("--rm"))
		Expect(c.states()).To(BeEmpty())
	})

	It("takes its ports while it runs", func() {
		c := newCamp()
		c.reserve("a", "sleep 1000", "-p", "18923:80")
		c.reserve("b", "sleep 1000", "-p", "18923:80")
		c.succeed("start", "a")
		Expect(oneLine(c.run("start", "b"), 54)).NotTo(BeEmpty())
		Expect(c.succeed("port", "a", "80")).To(HaveSuffix(":18923"))
		c.succeed("kill", "a")
		Eventually(c.stateOf("a")).Should(HavePrefix("exited "))
		c.succeed("start", "b")
		Expect(c.succeed("ps", "--format", "{{.Ports}}")).To(ContainSubstring(":18923->80/tcp"))
	})

	It("is one command's at a time", func() {
		c := newCamp()
		for range 3 {
			c.reserve("job", "sleep 1000")
			Expect(c.both([]string{"start", "job"}, []string{"start", "job"})).To(ContainElement(0))
			Expect(c.stateOf("job")()).To(HavePrefix("running "))
			c.succeed("rm", "-f", "job")

			c.reserve("job", "sleep 1000")
			codes := c.both([]string{"start", "job"}, []string{"rm", "job"})
			Expect(codes).To(ContainElement(0))
			if codes[1] == 0 {
				Expect(c.states()).To(BeEmpty())
			} else {
				Expect(c.stateOf("job")()).To(HavePrefix("running "))
				c.succeed("rm", "-f", "job")
			}

			c.detach("job", "sleep 1000")
			c.both([]string{"stop", "-t", "0", "job"}, []string{"start", "job"})
			Expect(c.stateOf("job")()).To(Or(HavePrefix("running "), HavePrefix("exited Exited (137) ")))
			c.succeed("rm", "-f", "job")

			c.detach("a", "sleep 1000")
			c.detach("b", "sleep 1000")
			Expect(c.both([]string{"rename", "a", "c"}, []string{"rename", "b", "c"})).To(ConsistOf(0, Not(Equal(0))))
			Expect(strings.Fields(c.succeed("ps", "--format", "{{.Names}}"))).To(Or(ConsistOf("a", "c"), ConsistOf("b", "c")))
			c.succeed(append([]string{"rm", "-f"}, strings.Fields(c.succeed("ps", "-q"))...)...)

			Expect(c.both([]string{"create", "--plain-http", "--name", "n", image("busybox")}, []string{"create", "--plain-http", "--name", "n", image("busybox")})).To(ConsistOf(0, 51))
			Expect(c.both([]string{"rm", "n"}, []string{"rm", "n"})).To(ContainElement(0))
			Expect(c.states()).To(BeEmpty())
		}
	})
})
