package emulate

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// failed is the failure of the errors of golang.org/x/sys/unix; the kernel does the call after others, which are ours.
func failed(err error) notify.Answer {
	var e unix.Errno
	if errors.As(err, &e) {
		return notify.Fail(e)
	}
	return notify.AsAsked()
}

// result is value 0 or an error.
func result(e unix.Errno) notify.Answer {
	if e != 0 {
		return notify.Fail(e)
	}
	return notify.Value(0)
}

// orValue is the value where the answer is not that the call failed or is left to the kernel.
func orValue(a notify.Answer, v int64) notify.Answer {
	if a.Errno() != 0 || a.Passes() {
		return a
	}
	return notify.Value(v)
}
