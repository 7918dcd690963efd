package bridge

import (
	"errors"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// object is one of shared memory, and where it can be read.
type object struct {
	mapping // one of those who have it
	extents extents
	pieces  []piece
	memory  []*os.File
	end     uint64 // of the last piece
}

// piece is a part of the object that somebody has mapped.
type piece struct {
	memory          *os.File // of the process
	address, length uint64
	offset          uint64 // in the object
}

// maxPieces is more than any program has. The number of mappings alone would not be a bound.
const maxPieces = 4096

// size is how much there is to read.
func (o *object) size() (n uint64) {
	for _, p := range o.pieces {
		n += p.length
	}
	return n
}

func (o *object) close() {
	for _, f := range o.memory {
		_ = f.Close()
	}
}

// from adds what a process has mapped of the object and nobody before. Who is gone has nothing.
//
// Errors: more pieces than there may be.
func (o *object) from(p process) error {
	var failed error
	memory := sync.OnceValues(func() (*os.File, error) { return o.open(p) })
	err := p.eachMapping(func(m mapping) bool {
		if m.shared && m.sameFile(o.mapping) && m.end > m.start && m.offset < 1<<62 {
			failed = o.add(m, memory)
		}
		return failed == nil
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		err = nil
	}
	return errors.Join(failed, err)
}

func (o *object) open(p process) (*os.File, error) {
	f, err := p.open("mem")
	if err == nil {
		o.memory = append(o.memory, f)
	}
	return f, err
}

// add takes what is new of a mapping of the process whose memory it is.
func (o *object) add(m mapping, memory func() (*os.File, error)) error {
	for _, fresh := range o.extents.add(m.in()) {
		f, err := memory()
		if err != nil {
			return err
		}
		o.pieces = append(o.pieces, piece{f, m.start + fresh.start - m.offset, fresh.end - fresh.start, fresh.start})
		o.end = max(o.end, fresh.end)
	}
	if len(o.pieces) > maxPieces {
		return unix.E2BIG
	}
	return nil
}

// extent is a part of a file.
type extent struct{ start, end uint64 }

// extents are disjoint and in order.
type extents []extent

// add includes e and gives the parts of it that were not yet included.
func (x *extents) add(e extent) (fresh []extent) {
	at := e.start
	for _, have := range *x {
		if have.end <= at {
			continue
		}
		if have.start >= e.end {
			break
		}
		if at < have.start {
			fresh = append(fresh, extent{at, have.start})
		}
		at = max(at, have.end)
	}
	if at < e.end {
		fresh = append(fresh, extent{at, e.end})
	}
	*x = append(*x, fresh...)
	slices.SortFunc(*x, func(a, b extent) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	return fresh
}
