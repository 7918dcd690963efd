package criu

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is some programs: the tests, the same in namespaces of their own, what is checkpointed there, a false
// CRIU, and what starts CRIU's own check.
const roleVariable = "CRIU_TEST_ROLE"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "--no-default-config" {
		fakeVersion()
	}
	if len(os.Args) > 2 && os.Args[1] == "check" {
		fmt.Println(CheckInside(os.Args[2:]))
		os.Exit(1)
	}
	if os.Getenv(roleVariable) == "workload" {
		workload()
	}
	os.Exit(m.Run())
}

// fakeVersion is a CRIU that says of itself what is in a file beside it.
func fakeVersion() {
	version, err := os.ReadFile(os.Args[0] + ".version")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("Version: %s\nGitID: v1\n", version)
	os.Exit(0)
}

// workload counts, and tells whether personality(2) is allowed. Being a Go program it has some threads.
func workload() {
	if err := acquire(os.Getenv(acquireVariable)); err != nil {
		fmt.Println("acquire:", err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		_, _, errno := syscall.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
		fmt.Printf("%d %d\n", i, int(errno))
		time.Sleep(5 * time.Millisecond)
	}
}

// installed returns the machine's CRIU, and skips the test where there is none.
func installed(t *testing.T) *Installation {
	t.Helper()
	i, err := Find(t.Context())
	if err != nil {
		t.Skip(err)
	}
	return i
}

// inside has the calling test run again in namespaces of its own, as their root and process 1, and tells the one that
// does. Nobody has more rights there than an ordinary user can have.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(roleVariable) == "inside" {
		must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(t, unix.Mount("proc", "/proc", "proc", 0, ""))
		// What was opened in another mount namespace cannot be dumped.
		must(t, unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC))
		must(t, raiseLoopback())
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), roleVariable+"=inside")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
			unix.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in namespaces: %v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A tree is a process to be dumped.
type tree struct {
	cmd    *exec.Cmd
	output *os.File
	pid    int
}

// start runs a program in a session and an ipc namespace of its own, with all files opened in this mount namespace.
func start(t *testing.T, cmd *exec.Cmd) *tree {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	stdin, err := os.Open("/dev/null")
	must(t, err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWIPC}
	must(t, cmd.Start())
	w.Close()
	stdin.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); r.Close() })
	return &tree{cmd, r, cmd.Process.Pid}
}

func startWorkload(t *testing.T, acquired ...string) *tree {
	t.Helper()
	path, err := os.Readlink("/proc/self/exe") // which itself is a file of the other mount namespace
	must(t, err)
	cmd := exec.Command(path)
	cmd.Env = []string{roleVariable + "=workload", acquireVariable + "=" + strings.Join(acquired, "")}
	return start(t, cmd)
}

// counted reads the next line of a workload.
func counted(t *testing.T, r *bufio.Reader) (count, errno int) {
	t.Helper()
	line, err := r.ReadString('\n')
	must(t, err)
	if _, err := fmt.Sscanf(line, "%d %d", &count, &errno); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return count, errno
}

// A server is a CRIU that waits for a request.
type server struct {
	t      *testing.T
	conn   *net.UnixConn
	cmd    *exec.Cmd
	stderr bytes.Buffer
	dir    string
}

// The descriptors of CRIU.
const (
	rpcFD = 3 + iota
	imagesFD
	runtimeFD
	inheritedFD
	firstFD
)

// serve executes CRIU with a directory for images. A nil file to inherit stands for none.
func serve(t *testing.T, i *Installation, dir string, inherited *os.File) *server {
	t.Helper()
	c, err := i.Command(firstFD)
	must(t, err)
	defer c.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	conn, err := net.FileConn(ours)
	must(t, err)
	ours.Close()
	defer theirs.Close()
	images, err := os.Open(dir)
	must(t, err)
	defer images.Close()
	runtime, err := os.Open(t.TempDir())
	must(t, err)
	defer runtime.Close()
	if inherited == nil {
		inherited = images
	}
	s := &server{t: t, conn: conn.(*net.UnixConn), dir: dir}
	s.cmd = exec.Command(descriptor(firstFD + c.Exe))
	s.cmd.Args, s.cmd.Env = c.Args(rpcFD), c.Env(runtimeFD)
	s.cmd.ExtraFiles = append([]*os.File{theirs, images, runtime, inherited}, c.Files...)
	s.cmd.Stderr = &s.stderr
	must(t, s.cmd.Start())
	t.Cleanup(func() { s.conn.Close(); _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	return s
}

// log is what CRIU logged, for messages of tests.
func (s *server) log() string {
	var all strings.Builder
	for _, name := range []string{"dump.log", "restore.log"} {
		content, _ := os.ReadFile(s.dir + "/" + name)
		all.Write(content)
	}
	return all.String() + s.stderr.String()
}
