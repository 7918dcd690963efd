package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// serverVariable tells this test binary to be a server in a namespace of its own.
const serverVariable = "NETWORK_TEST_SERVER"

func TestMain(m *testing.M) {
	if what := os.Getenv(serverVariable); what != "" {
		serve(what)
		return
	}
	if os.Geteuid() != 0 {
		os.Exit(becomeRoot())
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// becomeRoot runs the tests as a keeper runs: as root of a user namespace, in the host's network namespace.
func becomeRoot() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Println("skipped: this user may not make user namespaces:", err)
		return 0
	}
	return cmd.ProcessState.ExitCode()
}

// serve obeys the lines of its standard input, and answers each with one.
func serve(what string) {
	if what == "inside" {
		raiseLoopback()
	}
	fmt.Println("ready")
	var words [3]string
	for {
		clear(words[:])
		n, err := fmt.Scanln(&words[0], &words[1], &words[2])
		if n == 0 && err != nil {
			return
		}
		fmt.Println(obey(words[0], words[1], words[2]))
	}
}

func raiseLoopback() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	defer unix.Close(fd)
	r, _ := unix.NewIfreq("lo")
	r.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		panic(err)
	}
}

var listeners = map[string]io.Closer{}

// obey does one thing: listen NETWORK ADDRESS, or stop ADDRESS.
func obey(verb, network, address string) string {
	switch verb {
	case "listen":
		l, err := net.Listen(network, address)
		if err != nil {
			return err.Error()
		}
		listeners[address] = l
		go accept(l)
	case "packets":
		c, err := net.ListenPacket(network, address)
		if err != nil {
			return err.Error()
		}
		listeners[address] = c
		go echoPackets(c)
	case "stop":
		listeners[network].Close()
	}
	return "ok"
}

const mebibyte = 1 << 20

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go answer(c)
	}
}

// answer obeys bytes: b for a mebibyte, s for one byte, e for everything until the end once more, r for a reset, q to end
// the program after a mebibyte.
func answer(c net.Conn) {
	defer c.Close()
	big, kind := bytes.Repeat([]byte("x"), mebibyte), make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, kind); err != nil {
			return
		}
		switch kind[0] {
		case 's':
			_, _ = c.Write(kind)
		case 'b':
			_, _ = c.Write(big)
		case 'e':
			all, _ := io.ReadAll(c)
			_, _ = c.Write(all)
			return
		case 'r':
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		case 'q':
			_, _ = c.Write(big)
			os.Exit(0)
		}
	}
}

func echoPackets(c net.PacketConn) {
	buf := make([]byte, maxUDP)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(buf[:n], from)
	}
}

// program is a server process.
type program struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

// start runs a server, "inside" a new network namespace or "outside".
func start(t testing.TB, where string) *program {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{serverVariable + "=" + where}
	cmd.Stderr = os.Stderr
	if where == "inside" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		if where == "inside" && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC)) {
			t.Skipf("this user may not make network namespaces: %v", err)
		}
		t.Fatal(err)
	}
	p := &program{t: t, cmd: cmd, in: in, out: out}
	t.Cleanup(p.end)
	p.expect("ready")
	return p
}

func (p *program) expect(want string) {
	p.t.Helper()
	var line string
	if _, err := fmt.Fscanln(p.out, &line); err != nil || line != want {
		p.t.Fatalf("the server said %q (%v) instead of %q", line, err, want)
	}
}

func (p *program) do(words ...string) {
	p.t.Helper()
	fmt.Fprintln(p.in, strings.Join(words, " "))
	p.expect("ok")
}

func (p *program) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *program) namespace() *Namespace {
	p.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	n, err := Enter(f)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(n.Close)
	return n
}

func publish(t testing.TB, protocol string, hold bool) (*Ports, string) {
	t.Helper()
	return publishAt(t, Mapping{Protocol: protocol, Host: netip.MustParseAddrPort("127.0.0.1:0"), Port: 80}, hold)
}

func publishAt(t testing.TB, m Mapping, hold bool) (*Ports, string) {
	t.Helper()
	p, err := Bind([]Mapping{m}, hold)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, p.Bound()[0].Host.String()
}

func dial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// ask sends a byte and expects one.
func ask(t testing.TB, c net.Conn) {
	t.Helper()
	answer := make([]byte, 10)
	_, err := c.Write([]byte("s"))
	if n, err2 := c.Read(answer); err != nil || err2 != nil || n != 1 {
		t.Fatalf("asked: %v, %v, %d bytes", err, err2, n)
	}
}

func wantReset(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %d bytes and %v instead of a reset", n, err)
	}
}

// wantRefused expects a reset, which may be so quick that connecting fails.
func wantRefused(t testing.TB, host string) {
	t.Helper()
	c, err := net.Dial("tcp", host)
	if err == nil {
		defer c.Close()
		wantReset(t, c)
	} else if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %v instead of a reset", err)
	}
}

func TestPublishedPort(t *testing.T) {
	for _, address := range []string{"127.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::1]:80", "127.0.1.1:80"} {
		t.Run(address, func(t *testing.T) {
			server := start(t, "inside")
			ports, host := publish(t, "tcp", false)
			ports.Attach(server.namespace())
			server.do("listen", "tcp", address)
			ask(t, dial(t, "tcp", host))
			ask(t, dial(t, "tcp", host))
		})
	}
}

func TestEarlyConnectionWaits(t *testing.T) {
	ports, host := publish(t, "tcp", false)
	early := dial(t, "tcp", host)
	if _, err := early.Write([]byte("s")); err != nil {
		t.Fatal(err)
	}
	server := start(t, "inside")
	ports.Attach(server.namespace())
	time.Sleep(20 * time.Millisecond)
	server.do("listen", "tcp", "127.0.0.1:80")
	if n, err := early.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("an early connection got %d bytes and %v", n, err)
	}
	server.do("stop", "127.0.0.1:80")
	wantRefused(t, host) // once reached, a refusal is passed on
}

func TestHeldPorts(t *testing.T) {
	server := start(t, "inside")
	server.do("listen", "tcp", "127.0.0.1:80")
	ports, host := publish(t, "tcp", true)
	ports.Attach(server.namespace())
	early := dial(t, "tcp", host)
	_, _ = early.Write([]byte("s"))
	_ = early.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := early.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a held connection got %v", err)
	}
	ports.Open()
	ports.Open()
	_ = early.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := early.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("a connection got %d bytes and %v after Open", n, err)
	}
	server.do("stop", "127.0.0.1:80")
	wantRefused(t, host)
}

func TestRestart(t *testing.T) {
	ports, host := publish(t, "tcp", false)
	first := start(t, "inside")
	ports.Attach(first.namespace())
	first.do("listen", "tcp", ":80")
	old := dial(t, "tcp", host)
	ask(t, old)
	first.end()
	ports.Detach()
	if _, err := old.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection with an ended program got %v", err)
	}
	wantRefused(t, host)
	ports.Expect()
	early := dial(t, "tcp", host)
	second := start(t, "inside")
	ports.Attach(second.namespace())
	second.do("listen", "tcp", ":80")
	ask(t, early)
}

func TestWaitingConnectionIsResetAtTheEnd(t *testing.T) {
	ports, host := publish(t, "tcp", false)
	early := dial(t, "tcp", host)
	time.Sleep(10 * time.Millisecond)
	ports.Detach()
	wantReset(t, early)
}

func TestLastWordsArriveAfterTheEnd(t *testing.T) {
	server := start(t, "inside")
	ports, host := publish(t, "tcp", false)
	ports.Attach(server.namespace())
	server.do("listen", "tcp", ":80")
	c := dial(t, "tcp", host)
	_, _ = c.Write([]byte("q"))
	_ = server.cmd.Wait()
	ports.Detach()
	if all, err := io.ReadAll(c); len(all) != mebibyte || err != nil {
		t.Errorf("got %d bytes and %v", len(all), err)
	}
}

func TestHalfCloseAndReset(t *testing.T) {
	server := start(t, "inside")
	ports, host := publish(t, "tcp", false)
	ports.Attach(server.namespace())
	server.do("listen", "tcp", ":80")
	c := dial(t, "tcp", host).(*net.TCPConn)
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	_, _ = c.Write(append([]byte("e"), sent...))
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); !bytes.Equal(got, sent) || err != nil {
		t.Errorf("got %d bytes and %v after closing one half", len(got), err)
	}
	c = dial(t, "tcp", host).(*net.TCPConn)
	_, _ = c.Write([]byte("r"))
	wantReset(t, c)
}

func TestUDP(t *testing.T) {
	for _, inside := range []string{"127.0.0.1:80", "[::1]:80"} {
		for _, host := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
			server := start(t, "inside")
			ports, _ := publishAt(t, Mapping{Protocol: "udp", Host: netip.MustParseAddrPort(host), Port: 80}, false)
			at := fmt.Sprintf("127.0.0.1:%d", ports.Bound()[0].Host.Port())
			early, late := dial(t, "udp", at), dial(t, "udp", at)
			_, _ = early.Write([]byte("early"))
			ports.Attach(server.namespace())
			time.Sleep(5 * time.Millisecond)
			server.do("packets", "udp", inside)
			_, _ = late.Write([]byte("late"))
			for c, want := range map[net.Conn]string{early: "early", late: "late"} {
				buf := make([]byte, 100)
				if n, err := c.Read(buf); err != nil || string(buf[:n]) != want {
					t.Errorf("%s at %s: got %q, %v", inside, host, buf[:n], err)
				}
			}
		}
	}
}

func TestListeners(t *testing.T) {
	server := start(t, "inside")
	ns := server.namespace()
	server.do("listen", "tcp4", "127.0.0.1:80")
	server.do("listen", "tcp6", "[::]:81")
	server.do("packets", "udp4", "0.0.0.0:53")
	server.do("listen", "unix", "@abstract")
	path := t.TempDir() + "/socket"
	server.do("listen", "unix", path)
	all, err := ns.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		got = append(got, l.Protocol+" "+l.Path+strings.TrimPrefix(l.Addr.String(), "invalid AddrPort"))
	}
	want := []string{"tcp 127.0.0.1:80", "tcp [::]:81", "udp 0.0.0.0:53", "unix " + path, "unix @abstract"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAwaitEndsWithTheNamespace(t *testing.T) {
	ns := start(t, "inside").namespace()
	time.AfterFunc(20*time.Millisecond, ns.Close)
	if _, err := ns.Await(context.Background(), "tcp", 80); !errors.Is(err, ErrEnded) {
		t.Errorf("got %v", err)
	}
	if _, err := ns.Dial(context.Background(), "udp", netip.MustParseAddrPort("127.0.0.1:80")); !errors.Is(err, ErrEnded) {
		t.Errorf("dialling in a closed namespace: %v", err)
	}
}

func TestBindRange(t *testing.T) {
	taken, first := publish(t, "tcp", false)
	_ = taken
	at := netip.MustParseAddrPort(first)
	_, second := publishAt(t, Mapping{Protocol: "tcp", Host: at, HostLast: at.Port() + 20, Port: 80}, false)
	if second == first {
		t.Errorf("%s was bound twice", first)
	}
	_, err := Bind([]Mapping{{Protocol: "tcp", Host: at, Port: 80}}, false)
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("binding %s once more: %v", first, err)
	}
}

func TestClosedPortsAreFree(t *testing.T) {
	p, host := publish(t, "tcp", false)
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", host); err == nil {
		c.Close()
		t.Error("a closed port accepts connections")
	}
}

func FuzzDiagMessages(f *testing.F) {
	f.Add([]byte{2, 10, 0, 0, 0, 80}, make([]byte, 72))
	f.Add(make([]byte, 16), append(make([]byte, 16), 8, 0, 0, 0, '/', 'a', 0, 0))
	f.Fuzz(func(_ *testing.T, inet, local []byte) {
		_, _ = parseInetMessage("tcp", inet)
		_, _ = parseUnixMessage(local)
		_ = listens(inet)
	})
}
