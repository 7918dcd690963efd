package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/sandbox"
)

// clientWith starts a keeper with more in its environment.
func clientWith(env ...string) *sandbox.Client {
	GinkgoHelper()
	options := sandbox.Options{Keeper: binary, Env: append([]string{"BIVOUAC_HOME=" + store}, env...)}
	client, err := sandbox.Start(context.Background(), options)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(client.Close)
	return client
}

// executable writes a script.
func executable(text string) string {
	GinkgoHelper()
	name := filepath.Join(GinkgoT().TempDir(), "script")
	Expect(os.WriteFile(name, []byte(text), 0o700)).To(Succeed())
	return name
}

// falseCRIU is this binary under a name by which it tells a version, and does nothing else.
func falseCRIU(version string) string {
	GinkgoHelper()
	own, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	name := filepath.Join(GinkgoT().TempDir(), "criu-"+version)
	Expect(os.Symlink(own, name)).To(Succeed())
	return name
}

var _ = Describe("a checkpoint that cannot be", func() {
	ctx := context.Background()

	BeforeEach(func() { emptyStoreAfter(store) })

	// refuses expects an error of a checkpoint with processes that is about something, files alone where they will do, and
	// that the original answers as before.
	refuses := func(client *sandbox.Client, spec sandbox.Spec, about string) {
		GinkgoHelper()
		ct, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		streams, text := collect()
		Expect(ct.Start(ctx, streams)).To(Succeed())
		if err := ct.AwaitListening(ctx, "tcp", 8080); err != nil {
			Fail(err.Error() + ": " + text())
		}
		_, err = ct.Checkpoint(ctx, kept)
		Expect(code(err)).To(Equal(sandbox.CodeCheckpoint), "%v", err)
		Expect(err).To(MatchError(MatchRegexp(about)))
		Expect(got(ct, "8080", "/")).To(Equal("alive"))
		s := checkpointed(ct, sandbox.CheckpointSpec{Quality: sandbox.QualityLive, LeaveRunning: true})
		Expect(s).To(And(HaveField("Tier", sandbox.TierFiles), HaveField("Fallback", MatchRegexp(about)), HaveField("Quality", sandbox.QualityLive)))
		Expect(got(ct, "8080", "/")).To(Equal("alive"))
		clone := cloned(client, s.ID)
		Expect(clone.AwaitListening(ctx, "tcp", 8080)).To(Succeed())
		Expect(ct.Discard(ctx)).To(Succeed())
	}

	DescribeTable("for what a program holds names it and the process",
		func(thing, about string) {
			needCRIU()
			spec := programSpec("hold " + thing)
			spec.Seccomp, spec.CapAdd = "unconfined", []string{"SYS_ADMIN"}
			refuses(newClient(), spec, about)
		},
		Entry(nil, "io_uring", `process 100 \(program\): io_uring .*descriptor \d+`),
		Entry(nil, "userfaultfd", `process 100 \(program\): userfaultfd .*descriptor \d+`),
		Entry(nil, "message queue", `process 100 \(program\): POSIX message queue .*descriptor \d+`),
		Entry(nil, "program from memory", `process 100 \([^)]*\): program executed from memory`),
		Entry(nil, "seccomp filter", `process 100 \(program\): seccomp filter of the program's own`),
		Entry(nil, "traced process", `process \d+ \(program\): process under ptrace`),
		Entry(nil, "pid namespace", `process \d+ \(program\): nested pid namespace`),
		Entry(nil, "user namespace", `process \d+ \(program\): nested user namespace`),
		Entry(nil, "removed mapped file", `process 100 \(program\): mapped file that was removed .*/mapped`),
	)

	It("for a filter of the program's own names it under the default filter as well", func() {
		needCRIU()
		refuses(newClient(), programSpec("hold seccomp filter"), `process 100 \(program\): seccomp filter of the program's own`)
	})

	It("for want of CRIU falls back to files", func() {
		refuses(clientWith("BIVOUAC_CRIU=/nonexistent/criu"), programSpec("hold nothing"), "find CRIU: /nonexistent/criu is not there")
	})

	It("for a CRIU that is too old, or none, says so", func() {
		refuses(clientWith("BIVOUAC_CRIU="+falseCRIU("3.17.1")), programSpec("hold nothing"), "criu-3.17.1 is 3.17.1, which is too old: 4.2")
		script := executable("#!/bin/sh\necho Version: 4.2\n")
		refuses(clientWith("BIVOUAC_CRIU="+script), programSpec("hold nothing"), "script does not start: ")
	})

	It("for a CRIU that fails in the middle leaves the original alone", func() {
		needCRIU()
		refuses(clientWith("BIVOUAC_CRIU="+falseCRIU("4.2")), programSpec("hold nothing"), "(?i)CRIU")
	})

	It("for a container that was not made for it says so", func() {
		needCRIU()
		spec := programSpec("hold nothing")
		spec.Checkpointable = false
		refuses(newClient(), spec, "Checkpointable")
	})

	It("is refused before the start where it never could be", func() {
		client := newClient()
		for about, change := range map[string]func(*sandbox.Spec){
			"(?i)terminal": func(s *sandbox.Spec) { s.Terminal = &sandbox.TerminalSize{} },
			"(?i)init":     func(s *sandbox.Spec) { s.Init = true },
			"(?i)network":  func(s *sandbox.Spec) { s.Network = sandbox.NetworkHost },
		} {
			spec := checkpointable(busyboxSpec("true"))
			change(&spec)
			_, err := client.Create(ctx, spec, nil)
			Expect(code(err)).To(Equal(sandbox.CodeInvalid), about)
			Expect(err).To(MatchError(MatchRegexp(about)))
		}
	})

	It("says when the disk is full, in the middle of memory or of files, and works again with room", func() {
		needCRIU()
		own := filepath.Join(scratchDir(), "store")
		Expect(os.Mkdir(own, 0o700)).To(Succeed())
		keeper := executable(fmt.Sprintf(`#!/bin/sh
exec unshare -Urm sh -c 'mount -t tmpfs -o size=40m,mode=700 none "$0" && exec "$@"' %q %q "$@"
`, own, binary))
		for _, scratch := range []string{"memory", "disk"} {
			client, err := sandbox.Start(ctx, sandbox.Options{Keeper: keeper, Env: []string{"BIVOUAC_HOME=" + own, "BIVOUAC_SCRATCH=" + scratch}})
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(client.Close)
			spec := checkpointable(serviceSpec("go:latest"))
			spec.Args = []string{"-heap", "64"}
			ct := service(client, spec)
			Expect(ct.AwaitListening(ctx, "tcp", 8080)).To(Succeed())
			for _, ephemeral := range []bool{false, scratch == "disk"} {
				_, err = ct.Checkpoint(ctx, sandbox.CheckpointSpec{Processes: sandbox.ProcessesRequired, LeaveRunning: true, Ephemeral: ephemeral})
				Expect(code(err)).To(BeElementOf(sandbox.CodeNoSpace, sandbox.CodeCheckpoint), "%v", err)
				Expect(err).To(MatchError(MatchRegexp("(?i)disk is full|no space")))
				Expect(got(ct, "8080", "/heap")).To(Equal("64 MB"))
			}
			Expect(client.Snapshots(ctx)).To(BeEmpty())
			Expect(ct.Discard(ctx)).To(Succeed())

			ct, err = client.Create(ctx, sandbox.Spec{Image: spec.Image, Get: spec.Get, Checkpointable: true}, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(ct.CopyTo(ctx, "/", bigFile("big", 22<<20))).To(Succeed())
			Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
			if scratch == "memory" {
				for range 2 {
					_, err = ct.Checkpoint(ctx, sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever, Quality: sandbox.QualityLive, LeaveRunning: true})
				}
				Expect(code(err)).To(Equal(sandbox.CodeNoSpace), "%v", err)
				Expect(ct.AwaitListening(ctx, "tcp", 8080)).To(Succeed())
				Expect(got(ct, "8080", "/count")).To(Equal("1"))
			}
			Expect(ct.Discard(ctx)).To(Succeed())
			list, err := client.Snapshots(ctx)
			Expect(err).NotTo(HaveOccurred())
			for _, s := range list {
				Expect(client.RemoveSnapshot(ctx, s.ID)).To(Succeed())
			}
			spec.Args = nil
			ct = service(client, spec)
			Expect(ct.AwaitListening(ctx, "tcp", 8080)).To(Succeed())
			s := checkpointed(ct, processes)
			Expect(got(cloned(client, s.ID), "8080", "/count")).To(Equal("1"))
			Expect(client.Close()).To(Succeed())
		}
	})

	Describe("because of a snapshot that was changed by hand", func() {
		var client *sandbox.Client
		var claim sandbox.ClaimSpec

		BeforeEach(func() {
			needCRIU()
			client = newClient()
			spec := checkpointable(busyboxSpec("echo x >/file; echo y >/dev/shm/file; : >/dev/shm/ready; while :; do sleep 0.1; done"))
			claim = sandbox.ClaimSpec{Spec: spec, Parts: []string{fmt.Sprint(rand.Uint64())}}
		})

		build := func(client *sandbox.Client) sandbox.Snapshot {
			GinkgoHelper()
			c, err := client.Claim(ctx, claim, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(c.Snapshot).To(BeNil())
			ct, err := client.Create(ctx, claim.Spec, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
			Eventually(func() string { return said(ct, shell("ls /dev/shm")) }).Should(ContainSubstring("ready"))
			checkpointed(ct, sandbox.CheckpointSpec{Claim: c.ID, Processes: sandbox.ProcessesRequired})
			s, err := c.Commit(ctx)
			Expect(err).NotTo(HaveOccurred())
			return s
		}

		DescribeTable("is stale, and made anew by a claim",
			func(pattern string, change func(string) error) {
				s := build(client)
				Expect(client.Close()).To(Succeed())
				found, err := filepath.Glob(filepath.Join(store, "snapshots", "*", strings.ReplaceAll(pattern, "ID", s.ID)))
				Expect(err).NotTo(HaveOccurred())
				Expect(found).NotTo(BeEmpty())
				Expect(change(found[0])).To(Succeed())

				other := newClient()
				_, err = other.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
				Expect(code(err)).To(BeElementOf(sandbox.CodeStale, sandbox.CodeNotFound), "%v", err)
				list, err := other.Snapshots(ctx)
				Expect(err).NotTo(HaveOccurred(), "what is damaged harms no other")
				_ = list
				again := build(other)
				Expect(again.ID).NotTo(Equal(s.ID))
				Expect(said(cloned(other, again.ID), shell("cat /file /dev/shm/file"))).To(Equal("x\ny\n"))
				Expect(other.Snapshots(ctx)).To(ConsistOf(HaveField("ID", again.ID)))
			},
			Entry("a byte of its description", "by-id/ID/snapshot.json", flip),
			Entry("no description", "by-id/ID/snapshot.json", os.Remove),
			Entry("an empty description", "by-id/ID/snapshot.json", func(name string) error { return os.Truncate(name, 0) }),
			Entry("a byte of the detail", "by-id/ID/detail", flip),
			Entry("no detail", "by-id/ID/detail", os.Remove),
			Entry("a byte of memory", "by-id/ID/images/pages-1.img", flip),
			Entry("no memory", "by-id/ID/images/pages-1.img", os.Remove),
			Entry("a byte of a process", "by-id/ID/images/core-100.img", flip),
			Entry("another image", "by-id/ID/images/core-100.img", func(name string) error {
				return os.WriteFile(filepath.Join(filepath.Dir(name), "more.img"), nil, 0o600)
			}),
			Entry("a file in memory", "by-id/ID/trees/*/file", flip),
			Entry("a changed file", "layers/ID-0/file", flip),
			Entry("a file's mode", "layers/ID-0/file", func(name string) error { return os.Chmod(name, 0o777) }),
			Entry("one file more", "layers/ID-0", func(name string) error { return os.WriteFile(filepath.Join(name, "more"), nil, 0o600) }),
			Entry("no layer", "layers/ID-0", os.RemoveAll),
			Entry("no images", "by-id/ID/images", os.RemoveAll),
		)
	})

	It("because its image is another one by now says so, and that it is gone as well", func() {
		client := newClient()
		dir := oddImage(entry("file", "of the first"))
		ct, err := client.Create(ctx, sandbox.Spec{Image: "oci:" + dir, Args: []string{"/none"}}, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.CopyTo(ctx, "/", oneFile("changed"))).To(Succeed())
		s := checkpointed(ct, sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever})
		Expect(os.Rename(dir, dir+".aside")).To(Succeed())
		other := oddImage(entry("file", "of the second"))
		Expect(os.Symlink(other, dir)).To(Succeed())
		client = newClient()
		_, err = client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
		Expect(code(err)).To(Equal(sandbox.CodeStale), "%v", err)
		Expect(err).To(MatchError(ContainSubstring("another one")))
		Expect(os.Remove(dir)).To(Succeed())
		_, err = client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
		Expect(code(err)).To(BeElementOf(sandbox.CodeStale, sandbox.CodeNotFound), "%v", err)
		Expect(os.Rename(dir+".aside", dir)).To(Succeed())
		clone, err := client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
		Expect(err).NotTo(HaveOccurred())
		Expect(clone.Discard(ctx)).To(Succeed())
	})

	// interrupted makes checkpoints while something happens to them, and returns what was listed.
	interrupted := func(client *sandbox.Client, ct *sandbox.Container, spec sandbox.CheckpointSpec, interrupt func(cancel func())) error {
		GinkgoHelper()
		cancellable, cancel := context.WithCancel(ctx)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := ct.Checkpoint(cancellable, spec)
			done <- err
		}()
		time.Sleep(time.Duration(rand.Int64N(int64(200 * time.Millisecond))))
		interrupt(cancel)
		var err error
		Eventually(done).Should(Receive(&err))
		return err
	}

	It("because it is cancelled leaves the original as it was", func() {
		needCRIU()
		client := newClient()
		ct := httpService("go:latest", nil).up(client, nil)
		for i := range 15 {
			err := interrupted(client, ct, kept, func(cancel func()) { cancel() })
			Expect(err).To(Or(BeNil(), MatchError(context.Canceled)))
			Expect(got(ct, "8080", "/count")).To(Equal(fmt.Sprint(i + 1)))
		}
		for range 5 {
			spec := sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever, Quality: sandbox.QualityLive, LeaveRunning: true}
			Expect(interrupted(client, ct, spec, func(cancel func()) { cancel() })).To(Or(BeNil(), MatchError(context.Canceled)))
			Expect(got(ct, "8080", "/")).NotTo(BeEmpty())
		}
		Expect(got(cloned(client, checkpointed(ct, kept).ID), "8080", "/count")).To(Equal("16"))
	})

	It("because the container is discarded leaves nothing", func() {
		needCRIU()
		client := newClient()
		for range 8 {
			ct := httpService("go:latest", nil).up(client, nil)
			err := interrupted(client, ct, kept, func(func()) { Expect(ct.Discard(ctx)).To(Succeed()) })
			if err != nil {
				Expect(code(err)).To(Equal(sandbox.CodeAlreadyFinished), "%v", err)
			}
		}
		Expect(keeperMounts()).To(BeEmpty())
	})

	It("because everything changes all the time is one after all, or says why", func() {
		needCRIU()
		client := newClient()
		ct, err := client.Create(ctx, checkpointable(busyboxSpec(`cd /tmp
			for n in 1 2 3; do (while :; do (echo x >$n.new; mv $n.new $n; mkdir -p d$n/d; rm -r d$n); done 2>/dev/null) & done
			while :; do echo >>/ticks; sleep 0.01; done`)), nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		ticks := func(ct *sandbox.Container) func() string {
			return func() string { return said(ct, shell("wc -l </ticks")) }
		}
		good := 0
		for range 6 {
			s, err := ct.Checkpoint(ctx, kept)
			if err == nil {
				good++
				clone := cloned(client, s.ID)
				before := ticks(clone)()
				Eventually(ticks(clone)).ShouldNot(Equal(before))
				Expect(clone.Discard(ctx)).To(Succeed())
			} else {
				Expect(code(err)).To(Equal(sandbox.CodeCheckpoint), "%v", err)
			}
			before := ticks(ct)()
			Eventually(ticks(ct)).ShouldNot(Equal(before))
		}
		Expect(good).To(BeNumerically(">", 3))
	})

	Describe("because the keeper is killed", func() {
		const rounds = 20
		watcher := func() *sandbox.Client { return newClient() }

		// killed kills the keeper of a client within some time.
		killed := func(client *sandbox.Client, pid int, within time.Duration) {
			time.Sleep(time.Duration(rand.Int64N(int64(within))))
			_ = syscall.Kill(pid, syscall.SIGKILL)
			<-client.Ended()
			_ = client.Close()
		}

		It("in the middle of making one leaves nothing half-made", func() {
			needCRIU()
			spec := checkpointable(serviceSpec("go:latest"))
			took := 300 * time.Millisecond
			for i := range rounds {
				before := ownProcesses()
				client := newClient()
				ct := service(client, spec)
				Expect(ct.AwaitListening(ctx, "tcp", 8080)).To(Succeed())
				begin := time.Now()
				done := make(chan error, 1)
				go func() {
					_, err := ct.Checkpoint(ctx, sandbox.CheckpointSpec{Processes: sandbox.ProcessesRequired, Name: fmt.Sprint("round-", i)})
					done <- err
				}()
				if i == 0 { // to see how long it takes
					Expect(<-done).To(Succeed())
					took = time.Since(begin)
					Expect(client.Close()).To(Succeed())
					continue
				}
				killed(client, keeperPID(), took)
				<-done
				Eventually(func() []string { return newProcesses(before) }).Should(BeEmpty())
			}
			other := watcher()
			list, err := other.Snapshots(ctx)
			Expect(err).NotTo(HaveOccurred())
			for _, s := range list {
				clone := cloned(other, s.Name)
				Expect(got(clone, "8080", "/count")).To(Equal("1"), "%s is whole", s.Name)
				Expect(clone.Discard(ctx)).To(Succeed())
			}
			ct := service(other, spec)
			Expect(ct.AwaitListening(ctx, "tcp", 8080)).To(Succeed())
			checkpointed(ct, processes)
		})

		It("in the middle of bringing one back leaves it as it was", func() {
			needCRIU()
			client := newClient()
			s := checkpointed(httpService("go:latest", nil).up(client, nil), processes)
			Expect(client.Close()).To(Succeed())
			took := 150 * time.Millisecond
			for i := range rounds {
				before := ownProcesses()
				client := newClient()
				list, err := client.Snapshots(ctx) // the keeper is there
				Expect(err).NotTo(HaveOccurred())
				Expect(list).To(HaveLen(1))
				pid := keeperPID()
				begin := time.Now()
				done := make(chan error, 1)
				go func() {
					ct, err := client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
					if err == nil {
						err = ct.Start(ctx, sandbox.Streams{})
					}
					done <- err
				}()
				if i == 0 {
					Expect(<-done).To(Succeed())
					took = time.Since(begin)
					Expect(client.Close()).To(Succeed())
					continue
				}
				killed(client, pid, took)
				<-done
				Eventually(func() []string { return newProcesses(before) }).Should(BeEmpty())
			}
			other := watcher()
			Expect(got(cloned(other, s.ID), "8080", "/count")).To(Equal("1"))
		})
	})
})

// flip changes one bit of a file, and puts its times back.
func flip(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return err
	}
	return os.Chtimes(name, info.ModTime(), info.ModTime())
}
