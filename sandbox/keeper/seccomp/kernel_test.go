package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childVariable makes this test binary play the process that is put under a filter.
const childVariable = "BIVOUAC_TEST_SECCOMP_CHILD"

// probe is a call that an ordinary user may make, and its answers without and with Docker's default filter. Calls that
// the user may not make have bad pointers, so that the kernel complains of those first.
type probe struct {
	name   string
	number uintptr
	args   [3]uintptr
	before []syscall.Errno // any of these
	after  syscall.Errno
}

const (
	badPointer       = 1
	noRandomAddress  = 0x0040000
	askPersonality   = 0xffffffff
	tooNew           = 600
	noSuchKeyCommand = 9999
)

var probes = []probe{
	{"getpid", unix.SYS_GETPID, [3]uintptr{}, []syscall.Errno{0}, 0},
	{"mount", unix.SYS_MOUNT, [3]uintptr{badPointer, badPointer, badPointer}, []syscall.Errno{unix.EFAULT}, unix.EPERM},
	{"unshare", unix.SYS_UNSHARE, [3]uintptr{}, []syscall.Errno{0}, unix.EPERM},
	{"keyctl", unix.SYS_KEYCTL, [3]uintptr{noSuchKeyCommand}, []syscall.Errno{unix.EOPNOTSUPP, unix.ENOSYS}, unix.EPERM},
	{"clone3", unix.SYS_CLONE3, [3]uintptr{}, []syscall.Errno{unix.EINVAL}, unix.ENOSYS},
	{"personality ask", unix.SYS_PERSONALITY, [3]uintptr{askPersonality}, []syscall.Errno{0}, 0},
	{"personality set", unix.SYS_PERSONALITY, [3]uintptr{noRandomAddress}, []syscall.Errno{0}, unix.EPERM},
	{"socket unix", unix.SYS_SOCKET, [3]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}, []syscall.Errno{0}, 0},
	{"socket family 39", unix.SYS_SOCKET, [3]uintptr{39, 0}, []syscall.Errno{unix.EAFNOSUPPORT, unix.ESOCKTNOSUPPORT}, unix.EAFNOSUPPORT},
	{"socket vsock", unix.SYS_SOCKET, [3]uintptr{unix.AF_VSOCK, 99}, []syscall.Errno{unix.EAFNOSUPPORT, unix.ESOCKTNOSUPPORT, unix.EINVAL}, unix.EPERM},
	{"too new", tooNew, [3]uintptr{}, []syscall.Errno{unix.ENOSYS}, unix.ENOSYS},
}

func TestKernelObeysDefault(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		playChild()
		return
	}
	answers := runChild(t)
	for i, p := range probes {
		if !slices.Contains(p.before, answers.Before[i]) {
			t.Errorf("%s without a filter: got %v, want one of %v", p.name, answers.Before[i], p.before)
		}
		if answers.After[i] != p.after {
			t.Errorf("%s under the filter: got %v, want %v", p.name, answers.After[i], p.after)
		}
	}
}

// answers are the results of all probes.
type answers struct{ Before, After []syscall.Errno }

func runChild(t *testing.T) (a answers) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKernelObeysDefault$", "-test.v=false")
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", child, err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(line), &a); err != nil || len(a.Before) != len(probes) || len(a.After) != len(probes) {
		t.Fatalf("%v: %v\n%s", child, err, out)
	}
	return a
}

// playChild ends the process itself, as a filtered one does not pass for a test.
func playChild() {
	runtime.LockOSThread()
	var a answers
	a.Before = callAll()
	if err := installDefault(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	a.After = callAll()
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func callAll() (all []syscall.Errno) {
	for _, p := range probes {
		_, _, errno := unix.RawSyscall(p.number, p.args[0], p.args[1], p.args[2])
		all = append(all, errno)
	}
	return all
}

func installDefault() error {
	p, err := Default(ordinaryCaps)
	if err != nil {
		return err
	}
	flags, err := Flags(p)
	if err != nil {
		return err
	}
	code, err := Compile(p)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return install(code, flags)
}

func install(code []byte, flags uint) error {
	program := unix.SockFprog{
		Len: uint16(len(code) / InstructionSize), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(code))),
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("install filter: %w", errno)
	}
	return nil
}
