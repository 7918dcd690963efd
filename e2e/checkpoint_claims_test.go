package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/sandbox"
)

var _ = Describe("a claim to a snapshot", func() {
	ctx := context.Background()
	var spec sandbox.ClaimSpec

	BeforeEach(func() {
		emptyStoreAfter(store)
		spec = sandbox.ClaimSpec{
			Spec:      busyboxSpec("echo x >>/file; sleep 1000"),
			Processes: sandbox.ProcessesNever,
			Quality:   sandbox.QualityLive,
			Parts:     []string{fmt.Sprint(rand.Uint64())},
		}
	})

	claim := func(client *sandbox.Client) *sandbox.Claim {
		GinkgoHelper()
		c, err := client.Claim(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		return c
	}
	// build makes what the claim is for.
	build := func(client *sandbox.Client, c *sandbox.Claim) sandbox.Snapshot {
		GinkgoHelper()
		ct, err := client.Create(ctx, spec.Spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		s := checkpointed(ct, sandbox.CheckpointSpec{Claim: c.ID, Processes: spec.Processes, Quality: spec.Quality})
		Expect(ct.Discard(ctx)).To(Succeed())
		return s
	}
	// waiting claims in the background.
	waiting := func(client *sandbox.Client) chan *sandbox.Claim {
		got := make(chan *sandbox.Claim, 1)
		go func() {
			defer GinkgoRecover()
			got <- claim(client)
		}()
		Consistently(got).WithTimeout(300 * time.Millisecond).ShouldNot(Receive())
		return got
	}

	It("is one's at a time, and the others get what was made", func() {
		a, b := newClient(), newClient()
		first := claim(a)
		Expect(first.Snapshot).To(BeNil())
		second := waiting(b)
		s := build(a, first)
		Expect(s.Key).To(Equal(first.ID))
		trial := cloned(a, s.ID)
		Expect(trial.Discard(ctx)).To(Succeed())
		Expect(b.Snapshots(ctx)).To(BeEmpty(), "it is not listed yet")
		_, err := b.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
		Expect(code(err)).To(Equal(sandbox.CodeNotFound))
		Consistently(second).WithTimeout(200 * time.Millisecond).ShouldNot(Receive())
		Expect(first.Commit(ctx)).To(HaveField("ID", s.ID))
		var got *sandbox.Claim
		Eventually(second).Should(Receive(&got))
		Expect(got.Snapshot).To(HaveValue(HaveField("ID", s.ID)))
		Expect(first.Abandon(ctx)).To(Succeed(), "after Commit it does nothing")
		third := claim(newClient())
		Expect(third.Snapshot).To(HaveValue(HaveField("ID", s.ID)))
		cloned(b, s.ID)
		Expect(code(a.RemoveSnapshot(ctx, s.ID))).To(Equal(sandbox.CodeInUse))
	})

	It("goes to the next when its holder gives it up, ends or is killed", func() {
		for _, end := range []func(*sandbox.Client, *sandbox.Claim){
			func(_ *sandbox.Client, c *sandbox.Claim) { Expect(c.Abandon(ctx)).To(Succeed()) },
			func(client *sandbox.Client, _ *sandbox.Claim) { Expect(client.Close()).To(Succeed()) },
			func(client *sandbox.Client, c *sandbox.Claim) { // while its keeper goes on
				ct := started(client, "sleep 2")
				Expect(ct.DiscardAtEnd(ctx)).To(Succeed())
				Expect(ct.Detach(ctx)).To(Succeed())
				build(client, c)
				Expect(client.Close()).To(Succeed())
			},
			func(_ *sandbox.Client, c *sandbox.Claim) {
				_, err := c.Commit(ctx)
				Expect(code(err)).To(Equal(sandbox.CodeNotFound), "nothing was made")
			},
		} {
			a, b := newClient(), newClient()
			first := claim(a)
			second := waiting(b)
			end(a, first)
			var got *sandbox.Claim
			Eventually(second).Should(Receive(&got))
			Expect(got.Snapshot).To(BeNil())
			Expect(got.Abandon(ctx)).To(Succeed())
		}
	})

	It("goes to the next when its holder is killed with what it has made, of which nothing is left", func() {
		a := newClient()
		first := claim(a)
		build(a, first)
		pid := keeperPID()
		b := newClient()
		second := waiting(b)
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
		var got *sandbox.Claim
		Eventually(second).Should(Receive(&got))
		Expect(got.Snapshot).To(BeNil())
		s := build(b, got)
		Expect(got.Commit(ctx)).To(HaveField("ID", s.ID))
		Expect(b.Snapshots(ctx)).To(ConsistOf(HaveField("ID", s.ID)))
	})

	It("takes back what was made for it when it is abandoned", func() {
		client := newClient()
		c := claim(client)
		s := build(client, c)
		Expect(c.Abandon(ctx)).To(Succeed())
		_, err := client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
		Expect(code(err)).To(Equal(sandbox.CodeNotFound))
		ct := started(client, "sleep 1000")
		_, err = ct.Checkpoint(ctx, sandbox.CheckpointSpec{Claim: c.ID, Quality: sandbox.QualityLive, LeaveRunning: true})
		Expect(code(err)).To(Equal(sandbox.CodeNotFound), "it is not held")
		Expect(storedIn(store, "by-id")).To(BeEmpty())
	})

	It("keeps its waiting askers cancellable", func() {
		a, b := newClient(), newClient()
		c := claim(a)
		limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := b.Claim(limited, spec, nil)
		Expect(err).To(MatchError(context.DeadlineExceeded))
		Expect(c.Abandon(ctx)).To(Succeed())
		Expect(claim(b).Snapshot).To(BeNil())
	})

	It("is by what a clone depends on, and nothing else", func() {
		client := newClient()
		c := claim(client)
		s := build(client, c)
		_, err := c.Commit(ctx)
		Expect(err).NotTo(HaveOccurred())
		for what, change := range map[string]func(*sandbox.ClaimSpec){
			"name":     func(s *sandbox.ClaimSpec) { s.Spec.Name, s.Spec.Hostname = "name", "host" },
			"labels":   func(s *sandbox.ClaimSpec) { s.Spec.Labels = map[string]string{"a": "b"} },
			"tag":      func(s *sandbox.ClaimSpec) { s.Spec.Image = image("busybox:latest") },
			"get":      func(s *sandbox.ClaimSpec) { s.Spec.Get.Pull = sandbox.PullMissing },
			"hold":     func(s *sandbox.ClaimSpec) { s.Spec.HoldPorts, s.Spec.Listed = true, true },
			"no ports": func(s *sandbox.ClaimSpec) { s.Spec.Publish = []sandbox.PortMapping{} },
		} {
			same := spec
			change(&same)
			other, err := client.Claim(ctx, same, nil)
			Expect(err).NotTo(HaveOccurred(), what)
			Expect(other.Snapshot).To(HaveValue(HaveField("ID", s.ID)), what)
		}
		for what, change := range map[string]func(*sandbox.ClaimSpec){
			"parts":     func(s *sandbox.ClaimSpec) { s.Parts = append([]string{"more"}, s.Parts...) },
			"arguments": func(s *sandbox.ClaimSpec) { s.Spec.Args = []string{"sleep", "1"} },
			"variables": func(s *sandbox.ClaimSpec) { s.Spec.Env = []string{"A=B"} },
			"image":     func(s *sandbox.ClaimSpec) { s.Spec.Image = image("debian:slim") },
			"quality":   func(s *sandbox.ClaimSpec) { s.Quality = sandbox.QualityClean },
			"processes": func(s *sandbox.ClaimSpec) { s.Processes = sandbox.ProcessesAuto },
			"seccomp":   func(s *sandbox.ClaimSpec) { s.Spec.Seccomp = "unconfined" },
		} {
			different := spec
			change(&different)
			other, err := client.Claim(ctx, different, nil)
			Expect(err).NotTo(HaveOccurred(), what)
			Expect(other.Snapshot).To(BeNil(), what)
			Expect(other.Abandon(ctx)).To(Succeed())
		}
		different := spec
		different.Spec.Image = image("busybox:no-such-tag")
		_, err = client.Claim(ctx, different, nil)
		Expect(code(err)).To(Equal(sandbox.CodeNotFound))
	})

	It("has a place in the store's limit: what was not used for longest goes first, but not what is in use", func() {
		client := clientWith("BIVOUAC_SNAPSHOT_LIMIT=5MB")
		big := func(name string) sandbox.Snapshot {
			GinkgoHelper()
			ct := created(client, "true")
			Expect(ct.CopyTo(ctx, "/", bigFile("big", 2<<20))).To(Succeed())
			s := checkpointed(ct, sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever, Name: name})
			Expect(ct.Discard(ctx)).To(Succeed())
			return s
		}
		names := func() (all []string) {
			list, err := client.Snapshots(ctx)
			Expect(err).NotTo(HaveOccurred())
			for _, s := range list {
				all = append(all, s.Name)
			}
			return all
		}
		big("a")
		used := cloned(client, big("b").ID)
		Expect(names()).To(ConsistOf("a", "b"))
		big("c")
		Expect(names()).To(ConsistOf("b", "c"))
		big("d")
		Expect(names()).To(ConsistOf("b", "d"), "b is in use")
		Expect(used.Discard(ctx)).To(Succeed())
		big("b")
		Expect(names()).To(ContainElement("b"), "another one of that name")
		Expect(names()).To(HaveLen(2))
		_, err := created(clientWith("BIVOUAC_SNAPSHOT_LIMIT=much"), "true").Checkpoint(ctx, sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever})
		Expect(code(err)).To(Equal(sandbox.CodeInvalid))
	})
})
