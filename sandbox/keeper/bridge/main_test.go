package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify/notifytest"
)

// The integration tests make containers like the product's: the test binary starts itself as keeper in namespaces of one id,
// and that starts itself in nested ones as the container. A third stage installs the filter and becomes CRIU, or a stage that
// asks what CRIU would ask.
const (
	stageEnv = "BRIDGE_TEST_STAGE"
	specEnv  = "BRIDGE_TEST_SPEC"
)

// spec is what the stages do.
type spec struct {
	Run     string // what the container does, a key of containers
	Probe   string // what is asked under the filter, a key of probes
	Options struct {
		Filters   int
		MaxShared uint64
	}
	Args    []string // of CRIU, without the verb
	Dir     string   // to work in
	Objects objects  // of the process that is inspected
}

// containers are what a container's first process does.
var containers = map[string]func(spec) error{
	"probe":      holdAndProbe,
	"checkpoint": checkpoint,
}

var stages = map[string]func(spec) error{
	"keeper":    keeper,
	"container": container,
	"filtered":  filtered,
	"probe":     func(s spec) error { return probes[s.Probe](s.Objects) },
	"target":    target,
}

func TestMain(m *testing.M) {
	if stage := os.Getenv(stageEnv); stage != "" {
		os.Exit(status(stages[stage](orders())))
	}
	os.Exit(m.Run())
}

func orders() (s spec) {
	if err := json.Unmarshal([]byte(os.Getenv(specEnv)), &s); err != nil {
		panic(err)
	}
	return s
}

func status(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "stage "+os.Getenv(stageEnv)+":", err)
	return 99
}

// run gives what the stages and the bridge print.
func (s spec) run(t *testing.T) (string, error) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("for ordinary users: the keeper's namespaces are to be made by one")
	}
	s.Dir = t.TempDir()
	c := s.stage("keeper", unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID, os.Getuid(), os.Getgid())
	out, err := c.CombinedOutput()
	return string(out), err
}

func (s spec) stage(name string, flags uintptr, uid, gid int) *exec.Cmd {
	order, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	exe, err := os.Executable() // by its name: a checkpoint needs it to be a file of its own mount namespace
	if err != nil {
		panic(err)
	}
	c := exec.Command(exe, "-test.run=^$")
	c.Env = []string{stageEnv + "=" + name, specEnv + "=" + string(order), "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&unix.CLONE_NEWUSER != 0 {
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	c.Stdout, c.Stderr = nil, nil
	return c
}

// keeper makes the container and serves whoever sends a listener.
func keeper(s spec) error {
	runtime.LockOSThread() // Pdeathsig means this thread
	if err := mountProc(); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if s.Objects.Keepers, err = keepersMemory(); err != nil {
		return err
	}
	c := s.stage("container", unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWUTS, 0, 0)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "container")}
	if err := c.Start(); err != nil {
		return err
	}
	_ = c.ExtraFiles[0].Close()
	served := make(chan error, 1)
	go func() { served <- serveAll(s, pair[0]) }()
	err = c.Wait()
	return errors.Join(err, <-served)
}

func keepersMemory() (region, error) {
	fd, err := unix.MemfdCreate("keeper", unix.MFD_CLOEXEC)
	if err != nil {
		return region{}, err
	}
	return mapFile(fd)
}

// serveAll serves one listener after the other, until the container has ended.
func serveAll(s spec, socket int) error {
	o := Options{Filters: s.Options.Filters, MaxShared: s.Options.MaxShared, Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "LOG "+format+"\n", args...)
	}}
	for {
		listener, err := notifytest.Receive(socket)
		if err != nil || listener == nil {
			return err
		}
		if err := errors.Join(Serve(listener, o), listener.Close()); err != nil {
			return err
		}
	}
}

func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}

const containerSocket = 3

// keepersProc is the probe whose container sees the keeper's /proc, as where it may not mount its own.
const keepersProc = "the keeper"

func container(s spec) error {
	runtime.LockOSThread()
	if err := unix.CloseRange(containerSocket, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil { // what the test itself inherited
		return err
	}
	if s.Probe != keepersProc {
		if err := mountProc(); err != nil {
			return err
		}
	}
	if err := errors.Join(loopbackUp(), os.Chdir(s.Dir)); err != nil {
		return err
	}
	return containers[s.Run](s)
}

// loopbackUp is what CRIU wants of a network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// underFilter starts a program of the container under the filter: a probe, or CRIU.
func (s spec) underFilter() error {
	c := s.stage("filtered", 0, 0, 0)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.ExtraFiles = []*os.File{os.NewFile(containerSocket, "keeper")}
	return c.Run()
}

// filtered installs the filter on the thread that becomes the program.
func filtered(s spec) error {
	runtime.LockOSThread()
	args, env := s.Args, []string(nil)
	if s.Probe != "" {
		args, env = []string{"/proc/self/exe"}, []string{stageEnv + "=probe", specEnv + "=" + os.Getenv(specEnv)}
	}
	if err := install(); err != nil {
		return err
	}
	return syscall.Exec(args[0], args, env)
}

func install() error {
	raw, err := Filter()
	if err != nil {
		return err
	}
	return notifytest.Install(raw, InstallFlags, containerSocket)
}

// allowAll is a filter of its own.
func allowAll() []byte {
	f := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	return unsafe.Slice((*byte)(unsafe.Pointer(&f)), unix.SizeofSockFilter)
}

func expect(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

// errorsIn is what is worth printing of CRIU's log.
func errorsIn(log string) string {
	b, _ := os.ReadFile(log)
	var out []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "Error") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
