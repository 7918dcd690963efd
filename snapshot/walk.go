package snapshot

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// maxWorkers is how many goroutines walk a tree: more only wait for the file system's locks.
const maxWorkers = 4

// visit is called with an open directory and its path below the root, "." for that. It returns the names of those
// directories in it that are to be visited.
type visit func(fd int, name string) (below []string, err error)

// walk visits every directory of a tree, several at once, a directory after the one above it.
func walk(ctx context.Context, root int, v visit) error {
	w := &walker{root: root, visit: v, todo: []string{"."}, busy: 0}
	w.wake = sync.NewCond(&w.mutex)
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, w.end)
	defer stop()
	for range min(maxWorkers, max(2, runtime.NumCPU())) {
		group.Go(func() error { return w.work(ctx) })
	}
	return group.Wait()
}

// walker is the state of one walk. Directories are remembered by path, so that no number of them exhausts descriptors.
type walker struct {
	root  int
	visit visit

	mutex sync.Mutex
	wake  *sync.Cond
	todo  []string
	busy  int // how many are being visited
	ended bool
}

func (w *walker) work(ctx context.Context) error {
	for {
		name, ok := w.next()
		if !ok {
			return ctx.Err()
		}
		below, err := w.one(name)
		if err != nil {
			return err
		}
		w.done(name, below)
	}
}

func (w *walker) one(name string) ([]string, error) {
	fd, err := directoryAt(w.root, name)
	if err != nil {
		return nil, fmt.Errorf("open directory %q: %w", name, err)
	}
	defer unix.Close(fd)
	return w.visit(fd, name)
}

// next returns false at the end of the walk.
func (w *walker) next() (name string, ok bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for len(w.todo) == 0 && w.busy > 0 && !w.ended {
		w.wake.Wait()
	}
	if len(w.todo) == 0 || w.ended {
		return "", false
	}
	last := len(w.todo) - 1
	name, w.todo = w.todo[last], w.todo[:last]
	w.busy++
	return name, true
}

func (w *walker) done(name string, below []string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, base := range below {
		w.todo = append(w.todo, join(name, base))
	}
	w.busy--
	w.wake.Broadcast()
}

func (w *walker) end() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.ended = true
	w.wake.Broadcast()
}
