package sandbox

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an [Error] is. Codes are stable across versions.
type Code string

// The codes. Those from CodeBadReference on are about images.
const (
	CodeInternal        Code = "internal"         // a fault of bivouac or of the machine
	CodeUnsupported     Code = "unsupported"      // this machine or kernel cannot do what was asked
	CodeInvalid         Code = "invalid"          // the request contradicts itself or the image
	CodeProtocol        Code = "protocol"         // the keeper is not there, or speaks another version
	CodeNoProgram       Code = "no-program"       // the program is not in the image (exit code 127)
	CodeNotExecutable   Code = "not-executable"   // the program cannot be executed (exit code 126)
	CodeUnknownUser     Code = "unknown-user"     // User names nobody of the image
	CodeNameInUse       Code = "name-in-use"      // another container has the name
	CodeMount           Code = "mount"            // a mount's source or target cannot be used
	CodeLimits          Code = "limits"           // a limit cannot be enforced here
	CodeBadReference    Code = "bad-reference"    // the image's name cannot be parsed
	CodeNotFound        Code = "not-found"        // there is no such image, tag or file
	CodeUnauthorized    Code = "unauthorized"     // the registry wants other credentials
	CodeUnreachable     Code = "unreachable"      // the registry does not answer
	CodeInsecure        Code = "insecure"         // the registry speaks plain HTTP and that was not allowed
	CodeDigestMismatch  Code = "digest-mismatch"  // content differs from its digest
	CodeTruncated       Code = "truncated"        // content ended early
	CodeBadArchive      Code = "bad-archive"      // a layer or archive is malformed or hostile
	CodeTooLarge        Code = "too-large"        // the image exceeds MaxUnpackedSize
	CodeNoSpace         Code = "no-space"         // the disk is full
	CodeNoXattr         Code = "no-xattr"         // the store's file system lacks extended attributes
	CodeUnmappedID      Code = "unmapped-id"      // a file's owner is outside the mapped range
	CodeNoPlatform      Code = "no-platform"      // the image has nothing for the platform
	CodeRateLimited     Code = "rate-limited"     // the registry wants to be asked later
	CodeBlocked         Code = "blocked"          // registries.conf forbids the registry
	CodeBadImage        Code = "bad-image"        // a manifest, index or configuration is malformed
	CodeBadConfig       Code = "bad-config"       // a configuration file or the store cannot be used
	CodeAlreadyFinished Code = "already-finished" // the container, or its program, has ended
	CodeNotRunning      Code = "not-running"      // the container's program was not started
	CodePort            Code = "port"             // a port of the host cannot be bound
	CodeRefused         Code = "refused"          // nothing in the container accepts the connection
	CodeCheckpoint      Code = "checkpoint"       // the container's processes cannot be checkpointed or restored
	CodeStale           Code = "stale"            // a snapshot is damaged, or was made on another machine or kernel
	CodeInUse           Code = "in-use"           // a container, or another program, has the object
	CodeBuild           Code = "build"            // a step of a build failed
)

// Error is a failure that may have crossed the keeper's socket. Compare with errors.Is and a value that has the Code.
type Error struct {
	Code Code `json:"code"`
	// Message says what failed, and on what.
	Message string `json:"message"`
	// Remedy says what mends it; it may be empty.
	Remedy string `json:"remedy,omitempty"`
	// Detail shows what the message is about, such as lines of a Dockerfile; several lines, each with its end. It may be empty.
	Detail string `json:"detail,omitempty"`
}

// Error returns the message and the remedy on one line.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Message
	}
	return e.Message + "; " + e.Remedy
}

// Is compares by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Unwrap makes errors.Is(err, errors.ErrUnsupported) work across the socket.
func (e *Error) Unwrap() error {
	if e.Code == CodeUnsupported || e.Code == CodeLimits {
		return errors.ErrUnsupported
	}
	return nil
}

// CodeOf returns the code of the first [Error] that err wraps, CodeInternal if there is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// Errorf makes an error of a code without a remedy.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithRemedy returns a copy that says what mends it.
func (e *Error) WithRemedy(format string, args ...any) *Error {
	c := *e
	c.Remedy = fmt.Sprintf(format, args...)
	return &c
}
