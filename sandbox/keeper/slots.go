package keeper

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// slots bound how many containers and sessions are being started at once: more would not start sooner, but each takes a
// number of open files while it does.
type slots chan struct{}

// filesPerStart is about how many open files a start takes on its way, filesOfOthers how many come with requests that wait
// for their turn.
const (
	filesPerStart = 20
	filesOfOthers = 100
)

func newSlots() slots { return make(slots, 4*runtime.NumCPU()) }

// take waits for a slot, which the returned function gives back.
//
// Errors: CodeInternal where a start would run into the limit of open files: one that fails half-way says less clearly why.
func (s slots) take() (leave func(), err error) {
	s <- struct{}{}
	if err := checkFiles(filesPerStart*cap(s) + filesOfOthers); err != nil {
		<-s
		return nil, err
	}
	return func() { <-s }, nil
}

// checkFiles tells whether a number of files can be opened, by the number that the kernel would give to the next.
func checkFiles(need int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return sandbox.FilesLost("the keeper")
	}
	_ = unix.Close(next)
	if limit.Cur < uint64(next)+uint64(need) {
		return sandbox.FilesLost("the keeper")
	}
	return nil
}
