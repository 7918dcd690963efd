package criu

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acquireVariable names what a workload is to have.
const acquireVariable = "CRIU_TEST_ACQUIRE"

// acquire gets what cannot be dumped.
func acquire(what string) error {
	switch what {
	case "":
		return nil
	case "io_uring":
		params := make([]byte, 120)
		_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params[0])), 0)
		return nilIfZero(errno)
	case "userfaultfd":
		_, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, 1, 0, 0) // UFFD_USER_MODE_ONLY
		return nilIfZero(errno)
	case "queue":
		name, _ := unix.BytePtrFromString("queue")
		_, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0, 0)
		return nilIfZero(errno)
	case "memfd":
		return executeFromMemory()
	case "deleted":
		return mapDeleted()
	case "strict filter":
		return installFilter(refusePersonality())
	case "user namespace":
		return startChild(unix.CLONE_NEWUSER)
	case "pid namespace":
		return startChild(unix.CLONE_NEWPID)
	case "uts namespace":
		return startChild(unix.CLONE_NEWUTS)
	case "traced":
		return traceChild()
	case "mptcp":
		_, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		return err
	case "dead terminal":
		return keepSlave()
	case "random":
		_, err := rand.Read(make([]byte, 16))
		return err
	case "go listener":
		_, err := net.Listen("tcp", "127.0.0.1:0")
		return err
	}
	return fmt.Errorf("acquire %q: what?", what)
}

func nilIfZero(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func executeFromMemory() error {
	content, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := memoryFile(content)
	if err != nil {
		return err
	}
	return unix.Exec(descriptor(int(f.Fd())), os.Args, []string{roleVariable + "=workload"})
}

func mapDeleted() error {
	f, err := os.CreateTemp("", "")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return err
	}
	_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	return errors.Join(err, os.Remove(f.Name()))
}

// installFilter installs it in a thread that is not the main one.
func installFilter(filter []byte) error {
	runtime.LockOSThread()
	prog := unix.SockFprog{Len: uint16(len(filter) / filterSize), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	return nilIfZero(errno)
}

func startChild(flags uintptr) error {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	cmd := exec.Command(path)
	cmd.Env = []string{roleVariable + "=workload"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	return cmd.Start()
}

func traceChild() error {
	runtime.LockOSThread()
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	cmd := exec.Command(path)
	cmd.Env = []string{roleVariable + "=workload"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	return cmd.Start()
}

// keepSlave opens a pair of terminals and closes the master.
func keepSlave() error {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(master)
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return err
	}
	_, err = unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY, 0)
	return err
}
