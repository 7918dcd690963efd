package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
)

var (
	// ErrArchive marks a layer that is damaged or that no tool can unpack.
	ErrArchive = errors.New("malformed layer")

	// ErrEscape marks a layer with a path that leaves its root.
	ErrEscape = errors.New("path leaves the root of the image: the image is faulty or hostile, use another one")

	// ErrTooLarge marks a layer that exceeds its [Budget].
	ErrTooLarge = errors.New("unpacked image is too large")

	// ErrNoXattr marks a file system that cannot hold attributes of the
	// user namespace that overlayfs needs; see [NoXattrError].
	ErrNoXattr = errors.New("no user extended attributes")

	// ErrWhiteout marks a machine that lets us make no form of whiteout.
	ErrWhiteout = errors.New("whiteouts cannot be made: mknod of a character device 0/0 is forbidden here " +
		"(it needs Linux 5.8 and a seccomp profile that allows mknod), and the other form needs Linux 6.7")
)

// malformed adds ErrArchive to what archive/tar itself complains about, and
// leaves the errors of the source as they are.
func malformed(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	return err
}

// NoXattrError is an [ErrNoXattr] that names the file system.
type NoXattrError struct {
	FileSystem string // such as "tmpfs", or a magic number in hexadecimal
	Err        error
}

func (e *NoXattrError) Error() string {
	return fmt.Sprintf("the %s file system of the image store has no user extended attributes: "+
		"set BIVOUAC_HOME to a directory on ext4, XFS, Btrfs, or tmpfs with Linux 6.6: %v", e.FileSystem, e.Err)
}

// Unwrap makes the error an ErrNoXattr and keeps the errno.
func (e *NoXattrError) Unwrap() []error { return []error{ErrNoXattr, e.Err} }

// UnmappedIDError is an entry whose owner does not exist in the user namespace.
// Its text leaves the name to whoever wraps it, as [Layer] does.
type UnmappedIDError struct {
	Path     string
	UID, GID int
	User     bool     // the user id is not mapped
	Group    bool     // the group id is not mapped; neither: the kernel did not say which
	UIDs     IDRanges // the user ids that are mapped; empty if not known
	GIDs     IDRanges // and the group ids
}

func (e *UnmappedIDError) Error() string {
	const tail = ", or use --ignore-chown-errors"
	owner := fmt.Sprintf("its owner is %d:%d, outside the mapped ", e.UID, e.GID)
	users, groups := "user ids"+listed(e.UIDs), "group ids"+listed(e.GIDs)
	switch {
	case e.User && e.Group:
		return owner + users + " and " + groups + ": give your user larger ranges in /etc/subuid and /etc/subgid" + tail
	case e.User:
		return owner + users + ": give your user a larger range in /etc/subuid" + tail
	case e.Group:
		return owner + groups + ": give your user a larger range in /etc/subgid" + tail
	}
	return owner + "user or group ids: give your user larger ranges in /etc/subuid and /etc/subgid" + tail
}

func listed(rs IDRanges) string {
	if len(rs) == 0 {
		return ""
	}
	return " " + rs.String()
}

// anyID are the ids that exist at all: -1 means "no change" to chown.
var anyID = IDRanges{{First: 0, Size: math.MaxUint32}}
