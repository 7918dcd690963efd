package emulate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probes run inside the container, as emulated root, and make calls that no tool makes.
var probes = map[string]func() error{
	"child keeps what its parent gives up": probeFork,
	"saved ids":                            probeSaved,
	"garbage pointers":                     probeGarbage,
	"openat2":                              probeOpenat2,
	"unnamed file":                         probeUnnamed,
	"peer credentials":                     probePeer,
	"capabilities kept until exec":         probeKeepCaps,
	"many creators under signals":          probeCreators,
	"setfsuid":                             probeFS,
	"no descriptor left":                   probeDescriptors,
	slowAnswer:                             probeSlowAnswer,
}

const slowAnswer = "slow answer"

func TestProbes(t *testing.T) {
	for name := range probes {
		t.Run(name, func(t *testing.T) {
			if out, err := (spec{Probe: name, SlowAnswer: name == slowAnswer}).run(t); err != nil || out != "" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func probe() error {
	s, err := orders()
	if err != nil {
		return err
	}
	if err := os.Chmod(".", 0o777); err != nil {
		return err
	}
	return probes[s.Probe]()
}

func expect(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

// become changes the ids of all threads, each of which makes the call.
func become(id int) error {
	return errors.Join(syscall.Setgroups(nil), syscall.Setresgid(id, id, id), syscall.Setresuid(id, id, id))
}

func ownerOfFile(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

func probeFork() error {
	var out bytes.Buffer
	c := exec.Command("sh", "-c", "sleep 0.1; id -u")
	c.Stdout = &out
	if err := c.Start(); err != nil {
		return err
	}
	if err := become(33); err != nil {
		return err
	}
	err := c.Wait()
	return errors.Join(err, expect("child", strings.TrimSpace(out.String()), 0), expect("parent", os.Getuid(), 33))
}

func probeSaved() error {
	err := errors.Join(syscall.Setresuid(-1, 33, -1), expect("effective", os.Geteuid(), 33), expect("real", os.Getuid(), 0))
	return errors.Join(err,
		expect("chown as 33", os.Chown(".", 5, 5), "chown .: operation not permitted"),
		syscall.Setresuid(-1, 0, -1), os.Chown(".", 5, 5), os.Chown(".", 0, 0),
		syscall.Setreuid(33, 34),
		expect("back to root", syscall.Setresuid(-1, 0, -1), "operation not permitted"),
		syscall.Setresuid(-1, 33, -1), syscall.Setresuid(-1, 34, -1),
		expect("another", syscall.Setuid(35), "operation not permitted"))
}

const garbage = 8 // no address

func probeGarbage() error {
	var errs []error
	calls := map[string][4]uintptr{
		"chown":     {unix.SYS_FCHOWNAT, ^uintptr(99), garbage, 1},
		"stat":      {sysFstatat, ^uintptr(99), garbage, garbage},
		"setgroups": {unix.SYS_SETGROUPS, 4, garbage},
		"getresuid": {unix.SYS_GETRESUID, garbage, garbage, garbage},
		"mkdir":     {unix.SYS_MKDIRAT, ^uintptr(99), garbage, 0},
		"open":      {unix.SYS_OPENAT, ^uintptr(99), garbage, unix.O_CREAT},
		"prlimit":   {unix.SYS_PRLIMIT64, 0, tagResource, garbage},
		"capget":    {unix.SYS_CAPGET, garbage, garbage},
	}
	for name, a := range calls {
		_, _, e := unix.Syscall(a[0], a[1], a[2], a[3])
		errs = append(errs, expect(name, e, unix.EFAULT))
	}
	_, _, e := unix.Syscall(unix.SYS_FCHOWN, 999, 1, 1)
	return errors.Join(append(errs, expect("bad descriptor", e, unix.EBADF), probeReadOnlyBuffer())...)
}

// probeReadOnlyBuffer wants EFAULT for a buffer that the program itself could not write.
func probeReadOnlyBuffer() error {
	if err := os.WriteFile("f", nil, 0o600); err != nil {
		return err
	}
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	name, _ := unix.BytePtrFromString("f")
	_, _, e := unix.Syscall6(sysFstatat, ^uintptr(99), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&page[0])), 0, 0, 0)
	return errors.Join(os.Chown("f", 1, 1), expect("read-only buffer", e, unix.EFAULT))
}

func probeOpenat2() error {
	if err := errors.Join(os.Mkdir("d", 0o777), os.Symlink("d", "l"), os.Chmod("d", 0o777), become(33)); err != nil {
		return err
	}
	create := unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o600}
	beneath, plain := create, unix.OpenHow{}
	beneath.Resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	_, err1 := unix.Openat2(unix.AT_FDCWD, "d/a", &create)
	_, err2 := unix.Openat2(unix.AT_FDCWD, "d/b", &beneath)
	_, err3 := unix.Openat2(unix.AT_FDCWD, "l/c", &beneath)
	_, err4 := unix.Openat2(unix.AT_FDCWD, "d/a", &plain)
	return errors.Join(err1, err2, expect("symlink", err3, unix.ELOOP), err4,
		expect("a", ownerOfFile("d/a"), "33:33"), expect("b", ownerOfFile("d/b"), "33:33"))
}

func probeUnnamed() error {
	if err := become(33); err != nil {
		return err
	}
	fd, err := unix.Open(".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return err
	}
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, "named", unix.AT_SYMLINK_FOLLOW)
	flags, flagsErr := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return errors.Join(err, flagsErr, expect("owner", ownerOfFile("named"), "33:33"), expect("FD_CLOEXEC", flags, unix.FD_CLOEXEC))
}

func probePeer() error {
	if err := become(33); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	u, err := unix.GetsockoptUcred(pair[0], unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return err
	}
	return expect("peer", *u, unix.Ucred{Pid: int32(os.Getpid()), Uid: 33, Gid: 33})
}

func probeKeepCaps() error {
	if err := os.WriteFile("f", nil, 0o600); err != nil {
		return err
	}
	// One thread would not do for the program, but KEEPCAPS is per thread in the kernel and per process here.
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	err := errors.Join(syscall.Setresuid(33, 33, 33), expect("not effective", os.Chown("f", 1, 1), "chown f: operation not permitted"))
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	err = errors.Join(err, unix.Capget(&h, &d[0]), expect("effective", d[0].Effective, 0))
	d[0].Effective = d[0].Permitted & (1 << unix.CAP_CHOWN)
	err = errors.Join(err, unix.Capset(&h, &d[0]), os.Chown("f", 1, 1), expect("setuid", syscall.Setuid(0), "operation not permitted"))
	out, _ := exec.Command("chown", "2", "f").CombinedOutput()
	return errors.Join(err, expect("after exec", strings.Contains(string(out), "not permitted"), true),
		expect("owner", ownerOfFile("f"), "1:1"))
}

// probeCreators has the runtime's preemption signals interrupt calls that must not happen twice.
func probeCreators() error {
	if err := become(33); err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() { errs[i] = createMany(i, 100) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func createMany(worker, n int) error {
	for i := range n {
		name := filepath.Join(".", fmt.Sprintf("%d-%d", worker, i))
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_ = unix.Kill(os.Getpid(), unix.SIGURG)
		if err := errors.Join(f.Close(), expect(name, ownerOfFile(name), "33:33")); err != nil {
			return err
		}
	}
	return nil
}

func probeFS() error {
	before, err1 := unix.SetfsuidRetUid(33)
	now, err2 := unix.SetfsuidRetUid(-1)
	err := os.WriteFile("f", nil, 0o600)
	return errors.Join(err1, err2, err, expect("before", before, 0), expect("now", now, 33), expect("owner", ownerOfFile("f"), "33:0"),
		expect("chown", os.Chown("f", 1, 1), "chown f: operation not permitted"), expect("effective", os.Geteuid(), 0))
}

// probeDescriptors wants the error of a full descriptor table, and the file as usable afterwards.
func probeDescriptors() error {
	if err := become(33); err != nil {
		return err
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: uint64(len(open) - 1), Max: 1024}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for err == nil {
		_, err = unix.Open("new", unix.O_CREAT|unix.O_RDWR, 0o600)
	}
	return expect("open", err, unix.EMFILE)
}

// probeSlowAnswer asks while another call waits for a supervisor that got stuck.
func probeSlowAnswer() error {
	go unix.Getresuid()
	time.Sleep(50 * time.Millisecond)
	begin := time.Now()
	err := expect("uid", os.Getuid(), 0)
	return errors.Join(err, expect("answered in time", time.Since(begin) < time.Second, true))
}
