package emulate

// User returns the emulated effective user of a process of the container. It is false for a process that still is the user
// that the container's first process began as, or that is gone. A program that changes its own limits may make it wrong.
func (s *State) User(pid int) (uint32, bool) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	t, err := readTag(pid)
	if err != nil {
		return 0, false
	}
	c, ok := s.table.get(t.number)
	return c.uid.effective, ok
}
