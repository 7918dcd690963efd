package sandbox

import (
	"errors"
	"syscall"
)

// FilesLost is the error for a message whose files could not be received by who has too many files open already.
func FilesLost(who string) *Error {
	return Errorf(CodeInternal, "%s has too many open files", who).
		WithRemedy("raise the limit of open files (ulimit -n), or have fewer containers at once")
}

// Ended is closed when the connection has ended, with the keeper as a rule: every request fails from then on.
func (c *Client) Ended() <-chan struct{} { return c.done }

// isGone tells whether sending failed because nobody is there to receive.
func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
