package emulate

import "fmt"

// Begin says who the container's first process is, and so every process without a limit of its own. The first Serve does
// so too; say it before where later sessions might be served first.
func (s *State) Begin(o Options) { s.begun.Do(func() { s.first = o }) }

// Limit gives the soft RLIMIT_LOCKS with which a process joins a container that runs, so that all who serve the container
// know who it is: it has the ids of o, and what it may do if it is root is bounding, a set with bit n for capability n.
// Its hard limit is to be infinite.
//
// Errors: too many different users in the container.
func (s *State) Limit(o Options, bounding uint64) (uint64, error) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	n, e := s.table.number(initial(o.UID, o.GID, o.Groups, capabilities(bounding)))
	if e != 0 {
		return 0, fmt.Errorf("remember user %d:%d: %w", o.UID, o.GID, e)
	}
	return tag{number: n}.limit(), nil
}
