package keeper

// #include "join.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// guest is a program of the host's that is executed inside of a container, as root of its namespaces and not confined: CRIU.
type guest struct {
	// files become descriptors [guestFiles] and following; exe is the index of the one to execute. Those in own are closed
	// with the guest's description.
	files, own []*os.File
	exe        int
	args       []string
	env        []string
	// notify is a notifying filter, an array of struct sock_filter, for whose listener serve is called; nil for none.
	notify []byte
	serve  func(listener *os.File)
	// time tells that the container has a time namespace of its own.
	time bool
	// cgroup is the directory of the container's cgroup, empty for none.
	cgroup string
}

// guestFiles is the first descriptor of a guest's own files.
const guestFiles = C.JOIN_FILES_FD

// guestProcess is a guest that is being executed.
type guestProcess struct {
	cmd    *exec.Cmd
	report *socket
}

// lend adds a file of somebody else's, and returns its descriptor in the guest.
func (g *guest) lend(f *os.File) int {
	g.files = append(g.files, f)
	return guestFiles + len(g.files) - 1
}

// take is lend for a file of the guest's own.
func (g *guest) take(f *os.File) int {
	g.own = append(g.own, f)
	return g.lend(f)
}

// close closes the guest's own files.
func (g *guest) close() {
	for _, f := range g.own {
		_ = f.Close()
	}
}

// startGuest makes the process of a guest, which waits until it is told by enter which container is its own.
func startGuest(g *guest) (*guestProcess, error) {
	filter, err := memoryFile("filter", g.notify)
	if err != nil {
		return nil, err
	}
	defer filter.Close()
	ours, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := g.command()
	cmd.ExtraFiles = append([]*os.File{theirs, filter}, g.files...)
	if err := g.start(cmd); err != nil {
		ours.close()
		return nil, fmt.Errorf("start CRIU: %w", err)
	}
	return &guestProcess{cmd: cmd, report: ours}, nil
}

// command is this program, whose C code (join.c) becomes the guest.
func (g *guest) command() *exec.Cmd {
	flags := C.JOIN_ON
	if g.time {
		flags |= C.JOIN_TIME
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = g.args
	cmd.Env = append(slices.Clone(g.env), fmt.Sprintf("%s=%d %d", C.JOIN_VARIABLE, flags, guestFiles+g.exe))
	return cmd
}

// start starts the command in the guest's cgroup, where it has one.
func (g *guest) start(cmd *exec.Cmd) error {
	if g.cgroup == "" {
		return cmd.Start()
	}
	dir, err := os.Open(g.cgroup)
	if err != nil {
		return err
	}
	defer dir.Close()
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return cmd.Start()
}

// enter tells the guest the first process of its container.
func (p *guestProcess) enter(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open the container's first process: %w", err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	if _, _, err := p.report.conn.WriteMsgUnix([]byte{'p'}, unix.UnixRights(pidfd), nil); err != nil {
		return fmt.Errorf("send the container's first process to CRIU's: %w", err)
	}
	return nil
}

// await returns when the guest is being executed, or why it is not.
func (p *guestProcess) await(serve func(listener *os.File)) error {
	defer p.report.close()
	for {
		message, file, err := p.report.receive()
		if err != nil {
			return fmt.Errorf("read the report of CRIU's process: %w", err)
		}
		switch r, failed := parseReport(message); {
		case failed:
			return errors.New(r.String())
		case file != nil:
			go serve(file)
		case len(message) == 0:
			return nil
		}
	}
}

// wait returns when the guest has ended. It is killed after the limit.
func (p *guestProcess) wait(limit time.Duration) {
	p.report.close() // for who still waits to be told its container
	late := time.AfterFunc(limit, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Wait() // how it ended it has said otherwise
}

// memoryFile returns a memory file at its beginning.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(content, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write memory file: %w", err)
	}
	return f, nil
}
