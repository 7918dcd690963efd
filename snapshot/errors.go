package snapshot

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Error is a failure that a user can do something about: the same type as in package rootfs.
type Error = rootfs.Error

// The kinds of failure beyond those of package rootfs.
const (
	InUse   rootfs.Code = "in-use"  // containers are made from the snapshot
	Stale   rootfs.Code = "stale"   // the snapshot is damaged, or was changed by hand
	Invalid rootfs.Code = "invalid" // a name that is none, or a beginning that several ids have
)

// fail makes an Error; its arguments after the remedy are fmt.Errorf's.
func fail(code rootfs.Code, remedy, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...), Remedy: remedy}
}

// coded gives errors that the file system is to blame for their code and remedy, and says what was done.
func coded(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	var known *Error
	switch {
	case errors.As(err, &known):
		return &Error{Code: known.Code, Err: fmt.Errorf("%s: %w", what, known.Err), Remedy: known.Remedy}
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fail(rootfs.NoSpace, "free some disk space, or remove snapshots", "%s: %w", what, err)
	case errors.Is(err, unix.EROFS):
		return fail(rootfs.BadConfig, "set BIVOUAC_HOME to a directory of your own", "%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// wrap says what failed; nil stays nil.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
