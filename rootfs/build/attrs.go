package build

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ownerXattr holds a file's owner where only one id is mapped: a protobuf message with uid as field 1 and gid as field 2, both
// varints, 0 left out (https://github.com/rootless-containers/proto).
const ownerXattr = "user.rootlesscontainers"

// owner is who a file belongs to in the container.
type owner struct{ UID, GID uint32 }

// ownerOf returns the owner of an open file.
func ownerOf(opened *os.File, st *unix.Stat_t, single bool) owner {
	if !single {
		return owner{st.Uid, st.Gid}
	}
	var buf [32]byte
	n, err := unix.Fgetxattr(int(opened.Fd()), ownerXattr, buf[:])
	if err != nil {
		return owner{}
	}
	return parseOwner(buf[:n])
}

func parseOwner(message []byte) (o owner) {
	for len(message) > 0 {
		value, n := binary.Uvarint(message[1:])
		if n <= 0 {
			return o
		}
		switch message[0] {
		case 1 << 3:
			o.UID = uint32(value)
		case 2 << 3:
			o.GID = uint32(value)
		}
		message = message[1+n:]
	}
	return o
}

func (o owner) message() []byte {
	var b []byte
	if o.UID != 0 {
		b = binary.AppendUvarint(append(b, 1<<3), uint64(o.UID))
	}
	if o.GID != 0 {
		b = binary.AppendUvarint(append(b, 2<<3), uint64(o.GID))
	}
	return b
}

// own gives an open file its owner.
func own(opened *os.File, o owner, single bool) error {
	fd := int(opened.Fd())
	switch {
	case !single:
		return unix.Fchown(fd, int(o.UID), int(o.GID))
	case o == owner{}:
		err := unix.Fremovexattr(fd, ownerXattr)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			return nil
		}
		return err
	}
	return unix.Fsetxattr(fd, ownerXattr, o.message(), 0)
}

// maxAttr is the longest value of an attribute, and of the list of their names, in Linux.
const maxAttr = 64 << 10

// attributes returns those that an image can have: the capabilities of programs, and the users' own.
func attributes(opened *os.File) (map[string]string, error) {
	n, err := unix.Flistxattr(int(opened.Fd()), nil)
	if err != nil || n == 0 {
		return nil, ignoreUnsupported(err)
	}
	names := make([]byte, maxAttr)
	if n, err = unix.Flistxattr(int(opened.Fd()), names); err != nil {
		return nil, err
	}
	found := map[string]string{}
	value := make([]byte, maxAttr)
	for name := range bytes.SplitSeq(names[:n], []byte{0}) {
		if !isImageAttr(string(name)) {
			continue
		}
		n, err := unix.Fgetxattr(int(opened.Fd()), string(name), value)
		if err != nil {
			return nil, err
		}
		found[string(name)] = string(value[:n])
	}
	return found, nil
}

func isImageAttr(name string) bool {
	if name == "security.capability" {
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") && name != ownerXattr
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
