package emulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
	"github.com/bivouac-run/bivouac/userns/notify/notifytest"
)

// The integration tests run programs of this machine in a container like the product's: the test binary starts itself
// as keeper in namespaces of one id, and that starts itself in nested ones, installs the filter and becomes the
// program. Both get their orders in the environment.
const (
	stageEnv = "EMULATE_TEST_STAGE"
	specEnv  = "EMULATE_TEST_SPEC"
)

// spec is what the stages run.
type spec struct {
	Options struct {
		UID, GID uint32
		Groups   []uint32
	}
	Args  []string
	Then  []string // a second session of the same container, after the first
	Probe string   // instead of a program: a function of the table probes
	Plain bool     // without the filter, to compare
	Held  bool     // nothing is emulated until the file "switched" is there

	SlowAnswer  bool // to getresuid
	KeepersProc bool // the container sees the keeper's /proc, as where it may not mount its own
}

func TestMain(m *testing.M) {
	switch os.Getenv(stageEnv) {
	case "keeper":
		os.Exit(status(keeper()))
	case "container":
		os.Exit(status(container()))
	case "probe":
		os.Exit(status(probe()))
	}
	if os.Geteuid() == 0 { // who could label the machine's own files
		fmt.Fprintln(os.Stderr, "these tests are for ordinary users: make test")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func status(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "sandbox:", err)
	return 99
}

// run gives what a program prints, in a directory of its own that it begins in.
func (s spec) run(t testing.TB) (string, error) {
	t.Helper()
	c := stage("keeper", s, unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID, os.Getuid(), os.Getgid())
	c.Dir = directory(t)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

// directory is one that the file system lets have user attributes, and that the test's user can enter.
func directory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Setxattr(dir, "user.probe", nil, 0); err != nil {
		t.Skipf("no user attributes in %s: %v (set TMPDIR to a file system that has them)", dir, err)
	}
	return dir
}

func stage(name string, s spec, flags uintptr, uid, gid int) *exec.Cmd {
	order, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^$")
	c.Env = append(os.Environ(), stageEnv+"="+name, specEnv+"="+string(order), "LC_ALL=C", "PATH="+systemPath)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: flags, GidMappingsEnableSetgroups: false, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
	}
	return c
}

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func orders() (s spec, err error) {
	return s, json.Unmarshal([]byte(os.Getenv(specEnv)), &s)
}

// keeper runs the sessions of a container.
func keeper() error {
	s, err := orders()
	if err != nil {
		return err
	}
	if err := mountProc(); err != nil {
		return err
	}
	state := NewState()
	if err := session(s, state); err != nil || s.Then == nil {
		return err
	}
	s.Args = s.Then
	return session(s, state)
}

// session serves what the container sends.
func session(s spec, state *State) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := stage("container", s, unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID, 0, 0)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "container")}
	runtime.LockOSThread() // Pdeathsig means this thread
	if err := c.Start(); err != nil {
		return err
	}
	_ = c.ExtraFiles[0].Close()
	if s.Plain {
		return c.Wait()
	}
	return supervise(c, s, state, pair[0])
}

func supervise(c *exec.Cmd, s spec, state *State, socket int) error {
	listener, err := notifytest.Receive(socket)
	if err != nil || listener == nil {
		return errors.Join(err, errors.New("no listener came"), c.Wait())
	}
	if s.SlowAnswer {
		answers[unix.SYS_GETRESUID] = func(*call) notify.Answer { time.Sleep(2 * time.Second); return notify.Value(0) }
	}
	served := make(chan error, 1)
	go func() {
		o := Options{UID: s.Options.UID, GID: s.Options.GID, Groups: s.Options.Groups, State: state, Log: complain}
		if s.Held {
			o.Hold = holdUntilSwitched()
		}
		served <- Serve(listener, o)
	}()
	err = c.Wait()
	return errors.Join(err, <-served, listener.Close())
}

// holdUntilSwitched waits for the container's sign.
func holdUntilSwitched() *atomic.Bool {
	hold := new(atomic.Bool)
	hold.Store(true)
	go func() {
		for {
			if _, err := os.Stat("switched"); err == nil {
				hold.Store(false)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return hold
}

func complain(format string, args ...any) { fmt.Fprintf(os.Stderr, "LOG "+format+"\n", args...) }

func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}

// container installs the filter on the thread that becomes the program.
func container() error {
	runtime.LockOSThread()
	s, err := orders()
	if err != nil {
		return err
	}
	if !s.KeepersProc {
		if err := mountProc(); err != nil {
			return err
		}
	}
	env := []string{"PATH=" + systemPath, "LC_ALL=C", "HOME=/nonexistent"}
	if s.Probe != "" {
		s.Args = []string{"/proc/self/exe"}
		env = append(env, stageEnv+"=probe", specEnv+"="+os.Getenv(specEnv))
	}
	path, err := exec.LookPath(s.Args[0])
	if err != nil {
		return err
	}
	if !s.Plain {
		if err := install(); err != nil {
			return err
		}
	}
	return syscall.Exec(path, s.Args, env)
}

const containerSocket = 3

func install() error {
	raw, err := Filter()
	if err != nil {
		return err
	}
	return notifytest.Install(raw, InstallFlags, containerSocket)
}

// shell runs a script as emulated root and wants what it prints.
func shell(t *testing.T, script, want string) {
	t.Helper()
	shellAs(t, spec{}, script, want)
}

func shellAs(t *testing.T, s spec, script, want string) {
	t.Helper()
	s.Args = []string{"sh", "-c", script}
	got, err := s.run(t)
	if err != nil {
		t.Errorf("script failed: %v", err)
	}
	if got, want = strings.TrimSpace(got), strings.TrimSpace(want); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
