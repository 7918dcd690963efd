package userns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const tunDevice = "/dev/net/tun"

// probeTun makes a tun interface in a network namespace of its own. A thread that went there cannot come back: it stays
// locked and ends with its goroutine.
func probeTun(string) verdict {
	answer := make(chan verdict)
	go func() {
		runtime.LockOSThread()
		answer <- makeTun()
	}()
	return <-answer
}

func makeTun() verdict {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return unknown(fmt.Errorf("make a network namespace: %w", err), "sudo sysctl -w user.max_net_namespaces=28633")
	}
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return no(&os.PathError{Op: "open", Path: tunDevice, Err: err}, tunRemedy(err))
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("probe0")
	if err != nil {
		return unknown(err, "")
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return no(fmt.Errorf("make an interface: %w", err), "allow it in the outer container, with --device "+tunDevice)
	}
	return yes("made an interface")
}

func tunRemedy(err error) string {
	switch {
	case errors.Is(err, unix.EACCES):
		return "sudo chmod 666 " + tunDevice
	case errors.Is(err, unix.EPERM):
		return "allow it in the outer container, with --device " + tunDevice
	}
	return "sudo modprobe tun"
}
