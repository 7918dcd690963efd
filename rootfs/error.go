package rootfs

import (
	"errors"
	"fmt"
)

// Code is the kind of a failure. It is an error itself, so that errors.Is(err, rootfs.NotFound) asks for the kind, and
// a plain string, so that it survives a wire.
type Code string

// The kinds of failure.
const (
	BadReference   Code = "bad-reference"   // a name that is none
	NotFound       Code = "not-found"       // no such repository, tag, image or file
	Unauthorized   Code = "unauthorized"    // the registry refused the credentials, or asked for some
	Unreachable    Code = "unreachable"     // no answer, or none that makes sense
	RateLimited    Code = "rate-limited"    // the registry wants us to come back later
	Insecure       Code = "insecure"        // only possible over plain http or with a certificate that nobody vouches for
	Blocked        Code = "blocked"         // registries.conf says so
	DigestMismatch Code = "digest-mismatch" // the content is not what its digest promises
	Truncated      Code = "truncated"       // the content ends early
	BadArchive     Code = "bad-archive"     // a tar, gzip or zstd stream, or an archive of images, that is malformed
	BadImage       Code = "bad-image"       // a manifest, index or configuration that is malformed or of an unknown kind
	BadConfig      Code = "bad-config"      // a configuration file of ours or of the machine that cannot be used
	TooLarge       Code = "too-large"       // beyond a limit that was asked for, or beyond any sense
	NoSpace        Code = "no-space"        // the file system of the store is full
	NoXattr        Code = "no-xattr"        // the file system of the store has no user extended attributes
	UnmappedID     Code = "unmapped-id"     // a layer has a file of an owner outside the id mapping
	NoPlatform     Code = "no-platform"     // the image is not for this machine
	Unsupported    Code = "unsupported"     // the kernel, or what confines us, does not let us
)

// Error makes a Code usable as the target of errors.Is.
func (c Code) Error() string { return string(c) }

// Error is a failure that a user can do something about.
type Error struct {
	Code   Code
	Err    error  // what failed, on what, and why
	Remedy string // what mends it; empty if nothing is known to
}

// Error is one line: "what: why; remedy".
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Remedy
}

// Unwrap returns the failure without its remedy.
func (e *Error) Unwrap() error { return e.Err }

// Is compares by code.
func (e *Error) Is(target error) bool {
	if other, ok := target.(*Error); ok {
		return other.Code == e.Code
	}
	return target == error(e.Code)
}

// fail makes an Error; its arguments after the remedy are fmt.Errorf's.
func fail(code Code, remedy, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...), Remedy: remedy}
}

// codeOf returns the Error in a chain.
func codeOf(err error) (coded *Error, ok bool) {
	ok = errors.As(err, &coded)
	return coded, ok
}

// about says what an error is about, and keeps its code and remedy.
func about(err error, what string) error {
	if coded, ok := codeOf(err); ok {
		return &Error{Code: coded.Code, Err: fmt.Errorf("%s: %w", what, coded.Err), Remedy: coded.Remedy}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ignore returns nil for one expected error.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
