package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/sandbox"
)

// running is a service whose state a spec changes and reads.
type running struct {
	image string
	spec  func(*sandbox.Spec) // what else it needs, may be nil
	port  uint16
	// add makes one more of something, and tells how many there are: 1 the first time.
	add func(*sandbox.Container) (string, error)
	// also looks at other things that a clone must have, may be nil.
	also func(*sandbox.Container) error
	// greet asks by the address of the host.
	greet func(address string) error
}

func httpService(image string, also func(*sandbox.Container) error) running {
	return running{
		image: image, port: 8080, also: also,
		add:   func(ct *sandbox.Container) (string, error) { return get(ct, "8080", "/count") },
		greet: greetHTTP("hello from"),
	}
}

func greetHTTP(want string) func(string) error {
	return func(address string) error {
		client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		text, err := body(client.Get("http://" + address + "/"))
		if err == nil && !strings.Contains(text, want) {
			err = fmt.Errorf("it answered %q", text)
		}
		return err
	}
}

// greetTCP sends something after which the server says something.
func greetTCP(greeting, want string) func(string) error {
	return func(address string) error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write([]byte(greeting)); err != nil {
			return err
		}
		answer := make([]byte, len(want))
		if n, err := c.Read(answer); err != nil || string(answer[:n]) != want {
			return fmt.Errorf("it answered %q: %w", answer[:n], err)
		}
		return nil
	}
}

var postgres = running{
	image: "postgres:15", port: 5432,
	spec: func(s *sandbox.Spec) { s.Env = []string{"POSTGRES_HOST_AUTH_METHOD=trust"} },
	add: func(ct *sandbox.Container) (string, error) {
		return psql(ct, "CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1); SELECT count(*) FROM t")
	},
	also: func(ct *sandbox.Container) error { // asks another one of its processes
		_, err := psql(ct, "CHECKPOINT")
		return err
	},
	greet: greetTCP("\x00\x00\x00\x08\x04\xd2\x16\x2f", "N"), // a request for TLS, which it does not have
}

var redis = running{
	image: "redis:7", port: 6379,
	spec: func(s *sandbox.Spec) {
		s.Args = []string{"redis-server", "--protected-mode", "no", "--appendonly", "yes"}
	},
	add:   func(ct *sandbox.Container) (string, error) { return redisDo(ct, "INCR n") },
	greet: greetTCP("PING\r\n", "+PONG\r\n"),
}

var nginx = running{
	image: "nginx:latest", port: 80,
	add: func(ct *sandbox.Container) (string, error) {
		executed(ct, shell("printf x >>/var/www/html/n"))
		text, err := get(ct, "80", "/n")
		return strconv.Itoa(len(text)), err
	},
	also: func(ct *sandbox.Container) error {
		workers, err := ct.Processes(context.Background())
		if err == nil && len(workers) < 3 {
			err = fmt.Errorf("it has %d processes", len(workers))
		}
		return err
	},
	greet: greetHTTP("nginx"),
}

// goState looks at what only the Go service has.
func goState(ct *sandbox.Container) error {
	heap, err := get(ct, "8080", "/heap")
	if err == nil && heap != "16 MB" {
		err = fmt.Errorf("its heap is %q", heap)
	}
	_, unix := get(ct, "8080", "/unix")
	return errors.Join(err, unix)
}

// ticking waits until a thread has gone on.
func ticking(ct *sandbox.Container) error {
	ticks := func() int {
		text, _ := get(ct, "8080", "/ticks")
		n, _ := strconv.Atoi(text)
		return n
	}
	before := ticks()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
		if ticks() > before {
			return nil
		}
	}
	return fmt.Errorf("its thread stands at %d", before)
}

// up starts the service and waits until it answers.
func (r running) up(client *sandbox.Client, change func(*sandbox.Spec)) *sandbox.Container {
	GinkgoHelper()
	spec := checkpointable(serviceSpec(r.image, sandbox.PortMapping{Port: r.port}))
	for _, f := range []func(*sandbox.Spec){r.spec, change} {
		if f != nil {
			f(&spec)
		}
	}
	ct := service(client, spec)
	// The first servers of some images are not yet those that stay.
	Eventually(func() error { return r.greet(address(ct, "tcp", r.port)) }).WithTimeout(2 * time.Minute).Should(Succeed())
	return ct
}

var _ = Describe("a checkpoint of a service", func() {
	ctx := context.Background()

	BeforeEach(func() {
		needCRIU()
		emptyStoreAfter(store)
	})

	DescribeTable("keeps what it has in memory, and its clones go their own ways",
		func(r running) {
			client := newClient()
			ct := r.up(client, nil)
			add := func(ct *sandbox.Container) string {
				GinkgoHelper()
				n, err := r.add(ct)
				Expect(err).NotTo(HaveOccurred())
				return n
			}
			Expect([]string{add(ct), add(ct)}).To(Equal([]string{"1", "2"}))
			if r.also != nil {
				Expect(r.also(ct)).To(Succeed())
			}
			s := checkpointed(ct, kept)
			Expect(s).To(And(HaveField("Tier", sandbox.TierProcesses), HaveField("Fallback", ""), HaveField("Processes", BeNumerically(">", 0)),
				HaveField("Listening", ContainElement(HaveField("Port", r.port)))))
			Expect(add(ct)).To(Equal("3"), "the original")

			a, b := cloned(client, s.ID), cloned(client, s.ID)
			for _, clone := range []*sandbox.Container{a, b} {
				Expect(r.greet(address(clone, "tcp", r.port))).To(Succeed(), "answers at once")
				Expect(add(clone)).To(Equal("3"))
				if r.also != nil {
					Expect(r.also(clone)).To(Succeed())
				}
			}
			Expect([]string{add(a), add(a)}).To(Equal([]string{"4", "5"}))
			Expect(add(b)).To(Equal("4"))
			Expect(add(ct)).To(Equal("4"))
			at := map[string]bool{}
			for _, c := range []*sandbox.Container{ct, a, b} {
				at[address(c, "tcp", r.port)] = true
				Expect(r.greet(address(c, "tcp", r.port))).To(Succeed())
			}
			Expect(at).To(HaveLen(3))
			Expect(a.Discard(ctx)).To(Succeed())
			Expect(add(b)).To(Equal("5"))
			Eventually(func() string { return cmp.Diff(names(ct), names(b)) }).Should(BeEmpty(), "the same processes")
		},
		Entry("Postgres", postgres),
		Entry("Redis", redis),
		Entry("nginx", nginx),
		Entry("Python", httpService("python:3", ticking)),
		Entry("Node", httpService("node:18", nil)),
		Entry("a JVM", httpService("java:17", nil)),
		Entry("Go", func() running {
			r := httpService("go:latest", nil)
			r.spec = func(s *sandbox.Spec) { s.Args = []string{"-heap", "16"} }
			r.also = goState
			r.add = func(ct *sandbox.Container) (string, error) {
				text, err := get(ct, "8080", "/child")
				_, n, _ := strings.Cut(text, " ") // it begins with the process's number
				return n, err
			}
			return r
		}()),
	)
})

// names tells what runs, by the container's numbers. Servers of single connections come and go.
func names(ct *sandbox.Container) (all []string) {
	GinkgoHelper()
	list, err := ct.Processes(context.Background())
	Expect(err).NotTo(HaveOccurred())
	for _, p := range list {
		if !strings.Contains(strings.Join(p.Args, " "), "autovacuum worker") {
			all = append(all, fmt.Sprint(p.PID, p.PPID, p.UID, " ", p.Name))
		}
	}
	return all
}
