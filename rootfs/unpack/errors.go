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
type UnmappedIDError struct {
	Path     string
	UID, GID int
	Kind     string   // "user" or "group": the id that is not mapped
	Range    IDRanges // the ids of that kind that are mapped; empty if not known
}

func (e *UnmappedIDError) Error() string {
	file, id := "/etc/subuid", e.UID
	if e.Kind == "group" {
		file, id = "/etc/subgid", e.GID
	}
	return fmt.Sprintf("%q belongs to %d:%d, but %s id %d is not mapped%s: "+
		"give your user a larger range in %s, or use --ignore-chown-errors", e.Path, e.UID, e.GID, e.Kind, id, e.mapped(), file)
}

func (e *UnmappedIDError) mapped() string {
	if len(e.Range) == 0 {
		return ""
	}
	return fmt.Sprintf(" (mapped: %s)", e.Range)
}

// anyID are the ids that exist at all: -1 means "no change" to chown.
var anyID = IDRanges{{First: 0, Size: math.MaxUint32}}
