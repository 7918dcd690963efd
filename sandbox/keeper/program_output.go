package keeper

import (
	"context"
	"os"
)

// beginWith has begin start the program with streams that were made for it. The end of the program is not told before they are
// taken over, and all that it has written is in the log.
func (c *container) beginWith(std *streams, begin func([]*os.File) (*program, error)) (*program, error) {
	defer c.expectOutput()()
	p, err := begin(std.files)
	if err != nil {
		std.close()
		return nil, err
	}
	c.terminal = std.begun(c.terminal)
	return p, nil
}

// expectOutput has the log count as being written to until the returned function is called.
func (c *container) expectOutput() (done func()) {
	c.mu.Lock()
	l := c.log
	c.mu.Unlock()
	if l == nil {
		return func() {}
	}
	l.open()
	return l.done
}

// awaitOutput returns once all that the program has written is in the log, which is read without a keeper from the moment on
// that the program's end is on record.
func (c *container) awaitOutput() {
	c.mu.Lock()
	l := c.log
	c.mu.Unlock()
	if l != nil && c.record != nil {
		l.await(context.Background(), logSlack, false)
	}
}
