package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// Reset removes all that lies in the store's directory, whoever has made it, but for the names in keep, which belong to this
// process. Killed in between, it leaves a store with less in it.
//
// Errors: InUse while a process uses images.
func (s *Store) Reset(ctx context.Context, keep []string, needs NeedsFunc) (err error) {
	r, err := s.beginReset(ctx, needs)
	if err != nil {
		return about(err, "reset store "+s.dir)
	}
	defer func() { err = errors.Join(err, r.end()) }()
	keep = append(slices.Clone(keep), "layers", "locks")
	first := []string{ocispec.ImageIndexFile, ocispec.ImageLayoutFile} // without them there are no images
	for _, entry := range entries(s.dir) {
		first = append(first, entry.Name())
	}
	for _, name := range first {
		if slices.Contains(keep, name) {
			continue
		}
		if err := r.take(s.path(name), "store-"+name); err != nil {
			return fmt.Errorf("reset store: %w", err)
		}
	}
	return r.clear()
}

// resetPatience is how long a reset waits for processes whose containers have ended and that are about to end too.
const resetPatience = 3 * time.Second

// beginReset is beginRemoval of a store that nobody uses.
func (s *Store) beginReset(ctx context.Context, needs NeedsFunc) (*removal, error) {
	var busy error
	patience, cancel := context.WithTimeout(ctx, resetPatience)
	defer cancel()
	r, err := filelock.Wait(patience, func() (*removal, error) {
		r, err := s.beginRemoval(ctx, needs)
		if err != nil {
			return nil, err
		}
		if busy = r.idle(); busy == nil {
			return r, nil
		}
		return nil, r.end()
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = busy
	}
	return r, err
}

// idle refuses while somebody uses the store.
func (r *removal) idle() error {
	for _, u := range r.needs.Users {
		if u.Running {
			return fail(InUse, "stop it first, or use force", "it is in use: %s is running", u.Name)
		}
	}
	if len(r.noted) > 0 {
		return fail(InUse, "end the command or test that uses it first", "it is in use by another program")
	}
	return nil
}

// clear removes the layers, with what was taken out, and the locks: that of notes last.
func (r *removal) clear() error {
	err := unpack.Remove(r.store.path("layers"))
	r.trash = ""
	r.lock.Unlock()
	for _, entry := range entries(r.store.path("locks")) {
		err = errors.Join(err, ignore(unpack.Remove(filepath.Join(r.store.path("locks"), entry.Name())), fs.ErrNotExist))
	}
	err = errors.Join(err, unpack.Remove(r.store.path("locks")))
	if err != nil {
		return fmt.Errorf("reset store: %w", err)
	}
	return nil
}
