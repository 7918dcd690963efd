package seccomp

import (
	"errors"
	"fmt"
)

// UnsupportedError says that a profile asks for something this package cannot do. It wraps [errors.ErrUnsupported].
type UnsupportedError struct {
	Feature string // what is asked for
	Remedy  string // what to do instead
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s is not supported: %s", e.Feature, e.Remedy)
}

// Unwrap returns errors.ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }
