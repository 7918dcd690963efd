package emulate

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Limits of a table, against a container that fills the keeper's memory.
const (
	maxCredentials = 1 << 16
	maxGroups      = 1 << 22 // over all credentials
)

// table numbers the credentials that exist in a container, from 1. It only grows: a container knows few.
type table struct {
	mu      sync.Mutex
	entries []credentials
	numbers map[string]uint32
	groups  int
}

// number finds or adds credentials.
//
// Errors: ENOMEM when the table is full.
func (t *table) number(c credentials) (uint32, unix.Errno) {
	key := c.key()
	if n, ok := t.numbers[key]; ok {
		return n, 0
	}
	if len(t.entries) >= maxCredentials || t.groups+len(c.groups) > maxGroups {
		return 0, unix.ENOMEM
	}
	t.entries = append(t.entries, c)
	t.groups += len(c.groups)
	n := uint32(len(t.entries))
	t.numbers[key] = n
	return n, 0
}

// get gives the credentials of a number that number gave.
func (t *table) get(n uint32) (credentials, bool) {
	if n == 0 || int(n) > len(t.entries) {
		return credentials{}, false
	}
	return t.entries[n-1], true
}
