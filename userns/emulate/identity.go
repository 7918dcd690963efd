package emulate

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// onceBounding reads what root of this container can do, from its first process that asks.
func onceBounding() func(process) capabilities {
	var once sync.Once
	var bounding capabilities
	return func(p process) capabilities {
		once.Do(func() {
			if n, err := p.statusNumber("CapBnd", 16); err == nil {
				bounding = capabilities(n)
			}
		})
		return bounding
	}
}

// credentials are those of a process: the caller's or its peer's.
func (s *server) credentials(p process) (credentials, error) {
	s.state.table.mu.Lock()
	defer s.state.table.mu.Unlock()
	return s.current(p)
}

// current reads the tag. The table is locked.
func (s *server) current(p process) (credentials, error) {
	t, err := readTag(p.pid)
	if err != nil {
		return credentials{}, err
	}
	c, ok := s.state.table.get(t.number)
	if !ok {
		first := &s.state.first
		return initial(first.UID, first.GID, first.Groups, s.bounding(p)), nil
	}
	if t.image == 0 {
		return c, nil
	}
	return s.executedSince(p, t, c)
}

// executedSince notices that execve(2) happened after the credentials were stored.
func (s *server) executedSince(p process, t tag, c credentials) (credentials, error) {
	now, err := p.image()
	if err != nil || now == t.image {
		return c, err
	}
	ambient, err := p.statusNumber("CapAmb", 16)
	if err != nil {
		return c, err
	}
	c = c.executed(capabilities(ambient))
	return c, s.store(p, c)
}

// store gives a process other credentials. The table is locked.
//
// Errors: ENOMEM: too many different ones; EAGAIN: the container has a hard RLIMIT_LOCKS.
func (s *server) store(p process, c credentials) error {
	n, e := s.state.table.number(c)
	if e != 0 {
		return e
	}
	t := tag{number: n}
	if c.volatile() {
		image, err := p.image()
		if err != nil {
			return err
		}
		t.image = image
	}
	return writeTag(p.pid, t)
}

// change makes new credentials of the caller's, unless it may not.
func (c *call) change(f func(credentials) (credentials, unix.Errno)) notify.Answer {
	t := &c.state.table
	t.mu.Lock()
	defer t.mu.Unlock()
	old, err := c.current(c.process)
	if err != nil {
		return c.lost(err)
	}
	n, e := f(old)
	if e != 0 {
		return notify.Fail(e)
	}
	if n.key() == old.key() {
		return notify.Value(0)
	}
	if err := c.store(c.process, n); err != nil {
		return c.lost(err)
	}
	return notify.Value(0)
}

// lost answers a call about credentials that cannot be known or kept.
func (c *call) lost(err error) notify.Answer {
	if !c.alive() {
		return notify.AsAsked()
	}
	c.options.Log("emulate credentials: %v", err)
	if errors.Is(err, unix.ENOMEM) {
		return notify.Fail(unix.ENOMEM)
	}
	return notify.Fail(unix.EAGAIN)
}
