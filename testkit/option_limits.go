package testkit

import "github.com/bivouac-run/bivouac/sandbox"

// Memory limits the container's memory, in bytes. Changed files count as memory.
func Memory(bytes int64) Option {
	return func(s *settings) {
		if s.spec.Limits.Memory = bytes; bytes <= 0 {
			s.refuse("Memory(%d): needs a number of bytes above 0", bytes)
		}
	}
}

// CPUs limits the container to so many CPUs' time, such as 1.5.
func CPUs(n float64) Option {
	return func(s *settings) {
		if s.spec.Limits.CPUs = n; !(n > 0) {
			s.refuse("CPUs(%v): needs a number above 0", n)
		}
	}
}

// PIDs limits how many processes and threads the container may have.
func PIDs(n int64) Option {
	return func(s *settings) {
		if s.spec.Limits.PIDs = n; n <= 0 {
			s.refuse("PIDs(%d): needs a number above 0", n)
		}
	}
}

// BestEffortLimits starts the container also on a machine that cannot enforce its limits, which skips a test otherwise.
func BestEffortLimits() Option { return func(s *settings) { s.spec.Limits.BestEffort = true } }

// Ulimit sets a limit of setrlimit(2) by its lower-case name, such as nofile; -1 means unlimited.
func Ulimit(name string, soft, hard int64) Option {
	return func(s *settings) {
		s.spec.Ulimits = append(s.spec.Ulimits, sandbox.Ulimit{Name: name, Soft: soft, Hard: hard})
	}
}

// ReadOnly makes the root file system read-only. Files that options put there are there all the same.
func ReadOnly() Option { return func(s *settings) { s.spec.ReadOnly = true } }

// CapAdd adds capabilities to Docker's default set: CAP_ may be left out, ALL is known.
func CapAdd(names ...string) Option {
	return func(s *settings) { s.spec.CapAdd = append(s.spec.CapAdd, names...) }
}

// CapDrop removes capabilities from Docker's default set: CAP_ may be left out, ALL is known.
func CapDrop(names ...string) Option {
	return func(s *settings) { s.spec.CapDrop = append(s.spec.CapDrop, names...) }
}
