package build

import (
	"errors"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// ownerOf returns the owner of an open file.
func ownerOf(opened *os.File, st *unix.Stat_t, single bool) handle.Owner {
	if !single {
		return handle.Owner{UID: st.Uid, GID: st.Gid}
	}
	var buf [32]byte
	n, err := unix.Fgetxattr(int(opened.Fd()), handle.OwnerAttribute, buf[:])
	if err != nil {
		return handle.Owner{}
	}
	return handle.ParseOwner(buf[:n])
}

// own gives an open file its owner.
func own(opened *os.File, o handle.Owner, single bool) error {
	fd := int(opened.Fd())
	switch {
	case !single:
		return unix.Fchown(fd, int(o.UID), int(o.GID))
	case o == handle.Owner{}:
		err := unix.Fremovexattr(fd, handle.OwnerAttribute)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			return nil
		}
		return err
	}
	return unix.Fsetxattr(fd, handle.OwnerAttribute, o.Message(), 0)
}

// attributes returns those that an image can have: the capabilities of programs, and the users' own.
func attributes(opened *os.File) (map[string]string, error) {
	return handle.Attributes(int(opened.Fd()), unpack.Welcome)
}

func setAttributes(opened *os.File, attrs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if err := unix.Fsetxattr(int(opened.Fd()), name, []byte(attrs[name]), 0); err != nil {
			return ignoreUnsupported(err)
		}
	}
	return nil
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}
