package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/bivouac-run/bivouac/sandbox"
)

// serviceSpec runs an image as its author meant.
func serviceSpec(name string, publish ...sandbox.PortMapping) sandbox.Spec {
	return sandbox.Spec{Image: image(name), Get: sandbox.ImageOptions{PlainHTTP: true}, Publish: publish}
}

// service makes the container, and starts it.
func service(client *sandbox.Client, spec sandbox.Spec) *sandbox.Container {
	GinkgoHelper()
	ct, err := client.Create(context.Background(), spec, nil)
	Expect(err).NotTo(HaveOccurred())
	Expect(ct.Start(context.Background(), sandbox.Streams{})).To(Succeed())
	return ct
}

// ping speaks redis over a connection.
func ping(c net.Conn, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func address(ct *sandbox.Container, protocol string, port uint16) string {
	GinkgoHelper()
	a, ok := ct.Address(protocol, port)
	Expect(ok).To(BeTrue(), "%v", ct.Ports)
	return a
}

// echoServer is for Perl, which every Debian has. It sends everything back that reaches addresses such as tcp:HOST:PORT,
// udp:HOST:PORT and unix:PATH, one client after the other.
const echoServer = `
use IO::Socket::INET; use IO::Socket::UNIX;
for (@ARGV) {
    my ($kind, $at) = split /:/, $_, 2;
    my $s = $kind eq "unix" ? IO::Socket::UNIX->new(Local => $at, Listen => 5)
          : IO::Socket::INET->new(LocalAddr => $at, Proto => $kind, $kind eq "tcp" ? (Listen => 5) : ());
    die "$_: $!" unless $s;
    next if fork;
    if ($kind eq "udp") { while (1) { my $from = $s->recv(my $data, 100); $s->send($data, 0, $from) } }
    while (my $c = $s->accept) { while (sysread $c, my $data, 100) { syswrite $c, $data } }
}
sleep;
`

func echoSpec(addresses ...string) sandbox.Spec {
	spec := serviceSpec("debian:slim")
	spec.Args = append([]string{"perl", "-e", echoServer}, addresses...)
	return spec
}

func code(err error) sandbox.Code { return sandbox.CodeOf(err) }

var _ = Describe("a container's network", func() {
	ctx := context.Background()

	It("has a published port before it runs, and early connections wait", func() {
		ct, err := newClient().Create(ctx, serviceSpec("redis:7", sandbox.PortMapping{Port: 6379}), nil)
		Expect(err).NotTo(HaveOccurred())
		early, err := net.Dial("tcp", address(ct, "tcp", 6379))
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		Expect(ping(early, nil)).To(Equal("+PONG\r\n"))
		Expect(ping(net.Dial("tcp", address(ct, "", 6379)))).To(Equal("+PONG\r\n"))
	})

	It("keeps its published ports over a restart", func() {
		spec := serviceSpec("redis:7")
		spec.PublishAll = true
		ct := service(newClient(), spec)
		at := address(ct, "tcp", 6379)
		for range 2 {
			Expect(ping(net.Dial("tcp", at))).To(Equal("+PONG\r\n"))
			Expect(ct.Signal(ctx, 9)).To(Succeed())
			Expect(ct.Wait(ctx)).To(HaveField("Code", 137))
			_, err := ping(net.Dial("tcp", at))
			Expect(err).To(HaveOccurred())
			Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		}
		Expect(ct.Discard(ctx)).To(Succeed())
		_, err := net.Dial("tcp", at)
		Expect(err).To(HaveOccurred())
	})

	It("holds connections until the ports are opened", func() {
		spec := serviceSpec("redis:7", sandbox.PortMapping{Port: 6379})
		spec.HoldPorts = true
		ct := service(newClient(), spec)
		Expect(ct.AwaitListening(ctx, "tcp", 6379)).To(Succeed())
		c, err := net.Dial("tcp", address(ct, "tcp", 6379))
		Expect(err).NotTo(HaveOccurred())
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = io.WriteString(c, "PING\r\n")
		_, err = c.Read(make([]byte, 1))
		Expect(err).To(MatchError(os.ErrDeadlineExceeded))
		Expect(ct.OpenPorts(ctx)).To(Succeed())
		Expect(ping(c, nil)).To(Equal("+PONG\r\n"))
	})

	It("serves HTTP by nginx, with what runs and listens in it", func() {
		ct := service(newClient(), serviceSpec("nginx:latest", sandbox.PortMapping{Port: 80, HostIP: "127.0.0.1"}))
		response, err := http.Get("http://" + address(ct, "tcp", 80))
		Expect(err).NotTo(HaveOccurred())
		Expect(response).To(HaveHTTPStatus(200))
		response.Body.Close()
		Expect(ct.Listening(ctx)).To(ContainElement(sandbox.Listener{Protocol: "tcp", IP: "0.0.0.0", Port: 80}))
		Eventually(func(g Gomega) { // one of the workers has answered, and others may still begin
			processes, err := ct.Processes(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(processes[0]).To(And(HaveField("PID", 1), HaveField("PPID", 0), HaveField("UID", 0), HaveField("Name", "nginx")))
			g.Expect(processes[1:]).To(HaveEach(And(HaveField("PPID", 1), HaveField("Args", ContainElement(ContainSubstring("worker process"))))))
			g.Expect(processes[0].Started).To(BeTemporally("~", time.Now(), time.Minute))
			g.Expect(ct.Stats(ctx)).To(And(
				HaveField("Processes", len(processes)), HaveField("RSS", BeNumerically(">", 1<<20)), HaveField("PSS", BeNumerically(">", 1<<18)),
				HaveField("Received", BeNumerically(">", 500))))
		}).Should(Succeed())
	})

	It("is dialled without any port", func() {
		ct := service(newClient(), echoSpec("tcp:0.0.0.0:7", "tcp:127.0.0.5:8"))
		for _, at := range []string{":7", "127.0.0.1:7", "localhost:7", ":8"} {
			_, port, _ := net.SplitHostPort(at)
			Expect(ct.AwaitListening(ctx, "tcp", uint16(port[0]-'0'))).To(Succeed())
			Expect(echo(ct.Dial(ctx, "tcp", at))).To(Equal("hello"), at)
		}
		_, err := ct.Dial(ctx, "tcp", ":9")
		Expect(code(err)).To(Equal(sandbox.CodeRefused))
		for _, bad := range [][2]string{{"tcp", "7"}, {"tcp", "host:7"}, {"tcp", ":0"}, {"sctp", ":7"}} {
			_, err := ct.Dial(ctx, bad[0], bad[1])
			Expect(code(err)).To(Equal(sandbox.CodeInvalid), "%v", bad)
		}
	})

	It("is dialled by unix sockets, and by nothing else that a path may lead to", func() {
		outside := scratchDir() + "/outside"
		l, err := net.Listen("unix", outside)
		Expect(err).NotTo(HaveOccurred())
		defer l.Close()
		ct := service(newClient(), echoSpec("unix:/run/echo"))
		_, exit := executed(ct, shell("ln -s /run/echo /inside; ln -s "+outside+" /out; ln -s /proc/1/root"+outside+" /magic; mkfifo /fifo"))
		Expect(exit.Code).To(BeZero())
		Eventually(func() (string, error) { return echo(ct.Dial(ctx, "unix", "/run/echo")) }).Should(Equal("hello"))
		Expect(echo(ct.Dial(ctx, "unix", "/inside"))).To(Equal("hello"))
		for _, path := range []string{"/out", outside, "../../.." + outside, "/magic", "/fifo", "/nothing", "/proc/self/fd/1"} {
			_, err := ct.Dial(ctx, "unix", path)
			Expect(code(err)).To(Equal(sandbox.CodeRefused), "%s: %v", path, err)
		}
	})

	It("tells at once that a program which is waited for has ended", func() {
		ct := started(newClient(), "sleep 0.3; exit 7")
		Expect(code(ct.AwaitListening(ctx, "tcp", 80))).To(Equal(sandbox.CodeAlreadyFinished))
		Expect(ct.Wait(ctx)).To(HaveField("Code", 7))
		limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		Expect(started(newClient(), "sleep 60").AwaitListening(limited, "tcp", 80)).To(MatchError(context.DeadlineExceeded))
		Expect(code(created(newClient(), "true").AwaitListening(ctx, "tcp", 80))).To(Equal(sandbox.CodeNotRunning))
	})

	It("lists only its own listeners and refuses to publish with the host's network", func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		defer l.Close()
		port := uint16(l.Addr().(*net.TCPAddr).Port)
		spec := echoSpec(fmt.Sprintf("tcp:127.0.0.77:%d", port))
		spec.Network = sandbox.NetworkHost
		ct := service(newClient(), spec)
		Expect(ct.AwaitListening(ctx, "tcp", port)).To(Succeed())
		Expect(ct.Listening(ctx)).To(Equal([]sandbox.Listener{{Protocol: "tcp", IP: "127.0.0.77", Port: port}}))
		Expect(echo(ct.Dial(ctx, "tcp", fmt.Sprintf("127.0.0.77:%d", port)))).To(Equal("hello"))
		spec.Publish = []sandbox.PortMapping{{Port: 80}}
		_, err = newClient().Create(ctx, spec, nil)
		Expect(code(err)).To(Equal(sandbox.CodeInvalid))
	})

	It("passes datagrams on", func() {
		spec := echoSpec("udp:127.0.0.1:53")
		spec.Publish = []sandbox.PortMapping{{Port: 53, Protocol: "udp"}}
		ct := service(newClient(), spec)
		Expect(echo(net.Dial("udp", address(ct, "udp", 53)))).To(Equal("hello"))
	})

	It("says what is wrong with a port", func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		defer l.Close()
		taken := uint16(l.Addr().(*net.TCPAddr).Port)
		for mapping, want := range map[sandbox.PortMapping]sandbox.Code{
			{Port: 80, HostPort: taken}:                      sandbox.CodePort,
			{Port: 80, HostIP: "192.0.2.1"}:                  sandbox.CodePort,
			{Port: 80, HostIP: "localhost"}:                  sandbox.CodeInvalid,
			{Port: 0}:                                        sandbox.CodeInvalid,
			{Port: 80, Protocol: "sctp"}:                     sandbox.CodeInvalid,
			{Port: 80, HostPort: taken, HostPortLast: taken}: sandbox.CodePort,
			{Port: 80, HostPort: 20, HostPortLast: 10}:       sandbox.CodeInvalid,
		} {
			spec := busyboxSpec("true")
			spec.Publish = []sandbox.PortMapping{mapping}
			_, err := newClient().Create(ctx, spec, nil)
			Expect(code(err)).To(Equal(want), "%+v: %v", mapping, err)
		}
	})

	It("is published by the command line", func() {
		session := start(command("run", "-q", "-P", image("nginx:latest")))
		Eventually(session.Err.Contents).Should(MatchRegexp(`(?m)^bivouac: port 80/tcp is 127\.0\.0\.1:\d+$`))
		at := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(string(session.Err.Contents()))
		response, err := http.Get("http://" + at)
		Expect(err).NotTo(HaveOccurred())
		defer response.Body.Close()
		Expect(response).To(HaveHTTPStatus(200))
		session.Interrupt()
		Eventually(session).Should(gexec.Exit())
		Expect(strings.Count(string(session.Err.Contents()), "bivouac: ")).To(Equal(1))
	})
})

// echo expects a server to send everything back.
func echo(c net.Conn, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}
