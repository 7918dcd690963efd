package sandbox

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"sync"
)

// newHello is how a client introduces itself.
func newHello() Hello {
	return Hello{Protocol: ProtocolVersion, Version: Version, UserNamespace: userNamespace()}
}

var namespaceNumber = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^user:\[([0-9]+)\]$`) })

// userNamespace is the inode number of this process's user namespace; 0, which is nobody's, if it cannot be told.
var userNamespace = sync.OnceValue(func() uint64 {
	link, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return 0
	}
	m := namespaceNumber().FindStringSubmatch(link)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		return 0
	}
	return n
})

// keeperName is for messages.
func (c *Client) keeperName() string {
	if c.keeper == nil {
		return "of the container"
	}
	return c.keeper.Path
}

// endsWithout tells whether the keeper goes on when this connection ends.
func (c *Client) endsWithout() bool { return c.keeper == nil || c.detached.Load() }

// endingOf is the end of a program that the answer to the request r tells.
func (c *Client) endingOf(r *call) *ending {
	e := &ending{finished: make(chan struct{})}
	go func() {
		defer close(e.finished)
		m, err := c.next(context.Background(), r)
		if err == nil {
			err = m.Decode(&e.exit)
		}
		e.err = err
	}()
	return e
}
