package criu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Check has CRIU itself see whether it will work here for an ordinary user, in namespaces of its own, as containers have
// them. That takes some 50 ms. The program self, this one's, must call [CheckInside] with what follows the arguments.
//
// Errors: what CRIU misses; that there can be no namespaces.
func (i *Installation) Check(ctx context.Context, self string, arguments ...string) error {
	command := append(i.loaderArgs(i.Loader, i.Path, "", i.Libraries), "--no-default-config", "check", "--unprivileged")
	cmd := exec.CommandContext(ctx, self, append(arguments, command...)...)
	cmd.Env = environment
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if f := Diagnose(out); f != nil {
		return fmt.Errorf("check CRIU: %s (%s)", f.Message, f.Line)
	}
	return fmt.Errorf("check CRIU: %w: %s", err, firstLine(string(out)))
}

// CheckInside raises the loopback device, which CRIU needs for its check, and executes the arguments. It returns only if
// that fails.
func CheckInside(arguments []string) error {
	if len(arguments) == 0 || !strings.HasPrefix(arguments[0], "/") {
		return errors.New("check CRIU: it is to be executed by its path")
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("raise the loopback device: %w", err)
	}
	return &os.PathError{Op: "execute", Path: arguments[0], Err: unix.Exec(arguments[0], arguments, os.Environ())}
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
