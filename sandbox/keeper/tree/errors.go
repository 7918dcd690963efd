package tree

import (
	"archive/tar"
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// failure makes an error for the caller of what failed on a path.
func failure(doing, path string, err error) error {
	var coded *sandbox.Error
	if err == nil || errors.As(err, &coded) {
		return err
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	what, known := failures[errno]
	switch {
	case known:
		return &sandbox.Error{Code: what.code, Message: sandbox.Errorf("", "%s %q: %v", doing, path, errno).Message, Remedy: what.remedy}
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, io.ErrUnexpectedEOF):
		return sandbox.Errorf(sandbox.CodeBadArchive, "%s %q: the archive is damaged or ends early: %v", doing, path, err)
	}
	return sandbox.Errorf(sandbox.CodeInternal, "%s %q: %v", doing, path, err)
}

// failures are what callers can do something about.
var failures = map[syscall.Errno]struct {
	code   sandbox.Code
	remedy string
}{
	unix.ENOENT:       {sandbox.CodeNotFound, ""},
	unix.ENOTDIR:      {sandbox.CodeInvalid, "a part of the path is no directory"},
	unix.EISDIR:       {sandbox.CodeInvalid, "a directory is not replaced by a file: remove it first"},
	unix.EEXIST:       {sandbox.CodeInvalid, "a file is not replaced by a directory: remove it first"},
	unix.ELOOP:        {sandbox.CodeInvalid, "its symlinks lead in a circle"},
	unix.ENAMETOOLONG: {sandbox.CodeInvalid, "use a shorter path"},
	unix.EROFS:        {sandbox.CodeInvalid, "a mount with :ro is written to at its source, a read-only root before the start"},
	unix.EBUSY:        {sandbox.CodeInvalid, "something is mounted there: write to the source of the mount"},
	unix.EXDEV:        {sandbox.CodeBadArchive, "a hard link cannot lead into another mount"},
	unix.ENOSPC:       {sandbox.CodeNoSpace, "free some memory or disk space"},
	unix.EDQUOT:       {sandbox.CodeNoSpace, "free some of your quota"},
	unix.EOVERFLOW:    {sandbox.CodeTooLarge, ""},
}
