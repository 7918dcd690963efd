package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/bivouac-run/bivouac/sandbox"
)

var _ = Describe("a clone's processes", func() {
	ctx := context.Background()
	var client *sandbox.Client

	BeforeEach(func() {
		needCRIU()
		emptyStoreAfter(store)
		client = newClient()
	})

	// program starts this binary in a container, and waits until it answers.
	program := func(spec sandbox.Spec) *sandbox.Container {
		GinkgoHelper()
		ct, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		streams, text := collect()
		Expect(ct.Start(ctx, streams)).To(Succeed())
		if err := ct.AwaitListening(ctx, "tcp", 8080); err != nil {
			Fail(err.Error() + ": " + text())
		}
		return ct
	}

	It("have everything that processes can have", func() {
		ct := program(programSpec("things"))
		Expect(got(ct, "8080", "/check")).To(Equal("all is well"))
		s := checkpointed(ct, kept)
		Expect(got(ct, "8080", "/check")).To(Equal("all is well"))
		for range 2 {
			clone := cloned(client, s.ID)
			Expect(got(clone, "8080", "/check")).To(Equal("all is well"))
			again := checkpointed(clone, processes)
			Expect(got(cloned(client, again.ID), "8080", "/check")).To(Equal("all is well"), "the clone of a clone")
		}
		Expect(got(ct, "8080", "/check")).To(Equal("all is well"))
	})

	It("have their System V memory in common with what is executed beside them", func() {
		spec := programSpec("things")
		spec.Image = image("debian:slim") // has ipcs
		s := checkpointed(program(spec), processes)
		clone := cloned(client, s.ID)
		text, exit := executed(clone, shell("ipcs | grep -c '0x0000471[123]'"))
		Expect(exit.Code).To(BeZero(), text)
		Expect(text).To(Equal("3\n"))
		text, _ = executed(clone, shell("ipcrm -Q 0x4713; ipcs -q | grep -c 0x00004713"))
		Expect(text).To(Equal("0\n"))
		Expect(said(cloned(client, s.ID), shell("ipcs | grep -c '0x0000471[123]'"))).To(Equal("3\n"), "each has its own")
	})

	It("have session keyrings of their own", func() {
		spec := programSpec("things")
		spec.Seccomp = "unconfined" // the default refuses to tell
		ct := program(spec)
		s := checkpointed(ct, kept)
		seen := map[string]bool{}
		for _, c := range []*sandbox.Container{ct, cloned(client, s.ID), cloned(client, s.ID)} {
			id, text, _ := strings.Cut(got(c, "8080", "/keyring"), " ")
			Expect(text).To(MatchRegexp("^keyring;0;0;"))
			seen[id] = true
		}
		Expect(seen).To(HaveLen(3))
	})

	Describe("with connections", func() {
		It("keep those inside of the container, and lose those from outside", func() {
			ct := redis.up(client, nil)
			at := address(ct, "tcp", 6379)
			published, dialled := redisOver(net.Dial("tcp", at)), redisOver(ct.Dial(ctx, "tcp", ":6379"))
			for _, do := range []func(string) (string, error){published, dialled} {
				Expect(do("INCR n")).NotTo(BeEmpty())
			}
			s := checkpointed(ct, kept)
			Expect(published("INCR n")).To(Equal("3"), "the original's go on")
			Expect(dialled("INCR n")).To(Equal("4"))

			clone := cloned(client, s.ID)
			Expect(redisDo(clone, "INCR n")).To(Equal("3"))
			Eventually(func() string { return said(clone, shell("redis-cli CLIENT LIST | wc -l")) }).Should(Equal("1\n"), "nobody but the asker")
		})

		It("lose those to what is executed beside them, but cannot be checkpointed with such by unix sockets", func() {
			ct := redis.up(client, func(s *sandbox.Spec) {
				s.Args = append(s.Args, "--unixsocket", "/tmp/redis.sock", "--unixsocketperm", "777")
			})
			asked := func(way string) *sandbox.Process {
				GinkgoHelper()
				before, err := redisDo(ct, "GET n")
				Expect(err).NotTo(HaveOccurred())
				p, err := ct.Exec(ctx, shell("(echo INCR n; exec sleep 1000) | redis-cli "+way), sandbox.Streams{})
				Expect(err).NotTo(HaveOccurred())
				Eventually(func() (string, error) { return redisDo(ct, "GET n") }).ShouldNot(Equal(before))
				return p
			}
			asked("-p 6379")
			s := checkpointed(ct, kept)
			clone := cloned(client, s.ID)
			Eventually(func() string { return said(clone, shell("redis-cli CLIENT LIST | wc -l")) }).Should(Equal("1\n"), "nobody but the asker")

			dialled, err := ct.Dial(ctx, "unix", "/tmp/redis.sock")
			Expect(err).NotTo(HaveOccurred())
			over := redisOver(dialled, nil)
			Expect(over("INCR n")).To(Equal("2"))
			_, err = ct.Checkpoint(ctx, kept)
			Expect(code(err)).To(Equal(sandbox.CodeCheckpoint), "%v", err)
			Expect(err).To(MatchError(MatchRegexp(`process 100.*connection whose other end is outside.*close it`)))
			Expect(over("INCR n")).To(Equal("3"), "the original goes on")
			Expect(dialled.Close()).To(Succeed())
			Eventually(func() error { _, err := ct.Checkpoint(ctx, kept); return err }).Should(Succeed())

			asked("-s /tmp/redis.sock")
			_, err = ct.Checkpoint(ctx, kept)
			Expect(code(err)).To(Equal(sandbox.CodeCheckpoint), "%v", err)
			Expect(err).To(MatchError(MatchRegexp(`connection whose other end is outside.*close it`)))
		})

		It("lose those that nobody has accepted yet", func() {
			const listens = "import socket, signal; s = socket.create_server(('', 8080)); signal.pause()"
			ct := program(checkpointable(sandbox.Spec{Image: image("python:3"), Entrypoint: &[]string{"python3", "-c", listens}}))
			waiting, err := ct.Dial(ctx, "tcp", ":8080")
			Expect(err).NotTo(HaveOccurred())
			defer waiting.Close()
			clone := cloned(client, checkpointed(ct, kept).ID)
			another, err := clone.Dial(ctx, "tcp", ":8080")
			Expect(err).NotTo(HaveOccurred())
			Expect(another.Close()).To(Succeed())
		})

		It("answer within a moment, however often they are asked meanwhile", func() {
			ct := redis.up(client, nil)
			s := checkpointed(ct, processes)
			fastest := time.Hour
			for range 5 {
				clone, err := client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
				Expect(err).NotTo(HaveOccurred())
				early, err := net.Dial("tcp", address(clone, "tcp", 6379))
				Expect(err).NotTo(HaveOccurred())
				begin := time.Now()
				Expect(clone.Start(ctx, sandbox.Streams{})).To(Succeed())
				Expect(ping(early, nil)).To(Equal("+PONG\r\n"))
				fastest = min(fastest, time.Since(begin))
			}
			Expect(fastest).To(BeNumerically("<", 5*time.Second)) // the others may have waited for the machine
		})
	})

	Describe("and their clocks", func() {
		// clocks asks the Go service.
		clocks := func(ct *sandbox.Container) (monotonic time.Duration, wall time.Time) {
			GinkgoHelper()
			return parseClocks(got(ct, "8080", "/time"))
		}

		It("go on where they stood, but for the time of day", func() {
			ct := httpService("go:latest", nil).up(client, nil)
			s := checkpointed(ct, kept)
			before, _ := clocks(ct)
			time.Sleep(1500 * time.Millisecond) // which no clone's clock may tell: it goes on from begun, or later
			begun := time.Now()
			stood, wall := clocks(cloned(client, s.ID))
			Expect(stood - before).To(BeNumerically("<", time.Since(begun)+time.Second))
			Expect(wall).To(BeTemporally(">", begun.Add(-time.Second)))
			Expect(wall).To(BeTemporally("<", time.Now().Add(time.Second)))
			begun = time.Now()
			again := cloned(client, checkpointed(cloned(client, s.ID), processes).ID)
			twice, _ := clocks(again)
			Expect(twice - before).To(BeNumerically("<", time.Since(begun)+time.Second))

			machine := clonedAs(client, sandbox.RestoreSpec{Snapshot: s.ID, MachineClock: true}, sandbox.Streams{})
			jumped, _ := clocks(machine)
			Expect(jumped - before).To(BeNumerically(">", 1500*time.Millisecond))
			// After its end it is an ordinary container.
			clone := cloned(client, s.ID)
			Expect(clone.Signal(ctx, syscall.SIGKILL)).To(Succeed())
			_, err := clone.Wait(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(clone.Start(ctx, sandbox.Streams{})).To(Succeed())
			Expect(clone.AwaitListening(ctx, "tcp", 8080)).To(Succeed())
			Expect(got(clone, "8080", "/count")).To(Equal("1"))
		})

		It("do not make clones the same: names, ids and random numbers are their own", func() {
			s := checkpointed(httpService("go:latest", nil).up(client, nil), processes)
			seen := map[string]bool{}
			for range 3 {
				clone := cloned(client, s.ID)
				Expect(clone.Hostname).To(Equal(clone.ID[:12]))
				seen[clone.Hostname], seen[got(clone, "8080", "/random")] = true, true
			}
			Expect(seen).To(HaveLen(6))
		})

		It("have the host name of their container", func() {
			spec := checkpointable(busyboxSpec("echo of-the-image >/etc/machine-id; sleep 1000"))
			spec.Image, spec.Hostname, spec.Name = image("debian:slim"), "original", "original"
			ct, err := client.Create(ctx, spec, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
			s := checkpointed(ct, kept)
			names := "hostname; cat /etc/hostname; grep -c \"$(hostname)\" /etc/hosts"
			clone := cloned(client, s.ID)
			Expect(said(clone, shell(names))).To(Equal(clone.ID[:12] + "\n" + clone.ID[:12] + "\n1\n"))
			named := clonedAs(client, sandbox.RestoreSpec{Snapshot: s.ID, Name: "clone"}, sandbox.Streams{})
			Expect(said(named, shell(names))).To(Equal("clone\nclone\n1\n"))
			Expect(named.Name).To(Equal("clone"))
			Expect(said(ct, shell(names))).To(Equal("original\noriginal\n1\n"))
		})
	})

	It("have new streams, which are the clone's", func() {
		r, w, err := os.Pipe()
		Expect(err).NotTo(HaveOccurred())
		spec := checkpointable(busyboxSpec("i=0; while :; do i=$((i+1)); echo $i; echo err >&2; sleep 0.02; done"))
		ct, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{Stdout: w, Stderr: w})).To(Succeed())
		w.Close()
		Expect(r.Read(make([]byte, 1))).To(Equal(1))
		go func() { _, _ = io.Copy(io.Discard, r); r.Close() }()
		s := checkpointed(ct, processes)
		_, err = ct.Wait(ctx)
		Expect(err).NotTo(HaveOccurred())
		theirs, given, err := os.Pipe()
		Expect(err).NotTo(HaveOccurred())
		clone := clonedAs(client, sandbox.RestoreSpec{Snapshot: s.ID}, sandbox.Streams{Stdout: given, Stderr: given})
		Expect(given.Close()).To(Succeed())
		shown := gbytes.BufferReader(theirs)
		Eventually(shown).Should(gbytes.Say(`(?m)^[0-9]+\nerr\n[0-9]+\n`))
		Expect(clone.Signal(ctx, syscall.SIGKILL)).To(Succeed())
		_, err = clone.Wait(ctx)
		Expect(err).NotTo(HaveOccurred())
		Eventually(shown.Closed).Should(BeTrue(), "nobody else has them")
	})

	It("are signalled, paused, executed beside, and end with the code of their program", func() {
		ct, err := client.Create(ctx, checkpointable(busyboxSpec("trap 'exit 7' TERM; while :; do echo x >>/ticks; sleep 0.01; done")), nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		Eventually(func() string { return said(ct, shell("wc -l </ticks")) }).Should(MatchRegexp(`^[1-9]\d*\n`))
		s := checkpointed(ct, processes)
		clone := cloned(client, s.ID)
		count := func() string { text, _ := executed(clone, shell("wc -l </ticks")); return text }
		before := count()
		Eventually(count).ShouldNot(Equal(before))
		Expect(clone.Pause(ctx)).To(Succeed())
		_, err = clone.Checkpoint(ctx, processes)
		Expect(code(err)).To(Equal(sandbox.CodeInvalid))
		Expect(clone.Resume(ctx)).To(Succeed())
		before = count()
		Eventually(count).ShouldNot(Equal(before))

		x := shell("tty; stty size")
		x.Terminal = &sandbox.TerminalSize{Rows: 33, Columns: 99}
		p, err := clone.Exec(ctx, x, sandbox.Streams{})
		Expect(err).NotTo(HaveOccurred())
		shown, _ := io.ReadAll(p.Terminal)
		p.Terminal.Close()
		Expect(string(shown)).To(Equal("/dev/pts/0\r\n33 99\r\n"))

		Expect(clone.Stats(ctx)).To(HaveField("Processes", BeNumerically(">=", 2)))
		Expect(clone.Signal(ctx, syscall.SIGTERM)).To(Succeed())
		Expect(clone.Wait(ctx)).To(Equal(sandbox.Exit{Code: 7}))
		Expect(clone.Start(ctx, sandbox.Streams{})).To(Succeed(), "and starts anew")
		Eventually(count).ShouldNot(Equal(before))
	})

	It("outlive CRIU, though they end with their parent", func() {
		spec := checkpointable(busyboxSpec(""))
		spec.Image, spec.Args = image("debian:slim"), []string{"setpriv", "--pdeathsig", "KILL", "sleep", "1000"}
		ct, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		Eventually(func() []string { return names(ct) }).Should(ContainElement(ContainSubstring("sleep")))
		s := checkpointed(ct, kept)
		clone := cloned(client, s.ID)
		parent := func() string { return said(clone, shell("grep PPid: /proc/100/status")) }
		Eventually(parent).Should(Equal("PPid:\t1\n"), "CRIU has ended")
		Expect(names(clone)).To(Equal(names(ct)))
	})

	It("leave what was executed beside the original there", func() {
		ct, err := client.Create(ctx, checkpointable(busyboxSpec("sleep 1000")), nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		p, err := ct.Exec(ctx, sandbox.ExecSpec{Args: []string{"sleep", "1001"}}, sandbox.Streams{})
		Expect(err).NotTo(HaveOccurred())
		s := checkpointed(ct, kept)
		Expect(said(cloned(client, s.ID), shell("ps | grep -c '[s]leep 1001'"))).To(Equal("0\n"))
		Expect(p.Signal(ctx, syscall.SIGTERM)).To(Succeed())
		Expect(p.Wait(ctx)).To(Equal(sandbox.Exit{Code: 143, Signal: 15}))
	})

	It("are made by many at once", func() {
		s := checkpointed(redis.up(client, nil), processes)
		done := make(chan error, 12)
		for range cap(done) {
			go func() {
				ct, err := client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
				if err == nil {
					err = ct.Start(ctx, sandbox.Streams{})
				}
				if err == nil {
					_, err = redisDo(ct, "INCR n")
				}
				if err == nil {
					err = ct.Discard(ctx)
				}
				done <- err
			}()
		}
		var errs []error
		for range cap(done) {
			errs = append(errs, <-done)
		}
		Expect(errors.Join(errs...)).To(Succeed())
	})
})
