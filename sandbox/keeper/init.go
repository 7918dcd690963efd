package keeper

import (
	"os"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // the C part of libcontainer's init
	"golang.org/x/sys/unix"
)

// Init is libcontainer's init inside a container's namespaces: `bivouac init`, called by libcontainer alone. It does not
// return there; called by hand it returns and does nothing.
func Init() {
	if os.Getenv("_LIBCONTAINER_INITPIPE") == "" {
		return
	}
	if os.Getenv("_LIBCONTAINER_INITTYPE") == "standard" {
		raiseLoopback()
	}
	libcontainer.Init()
}

// raiseLoopback brings lo up by one ioctl; through libcontainer it costs a netlink conversation. In the host's network
// namespace it fails, and there lo is up.
func raiseLoopback() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	_ = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
