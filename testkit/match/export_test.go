package match

// Buffers tells how many containers' outputs are kept.
func Buffers() int {
	buffers.mu.Lock()
	defer buffers.mu.Unlock()
	return len(buffers.all)
}
