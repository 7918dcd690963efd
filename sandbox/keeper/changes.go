package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"

	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
)

// changes answers what the container's program changed.
func (c *container) changes(ctx context.Context, _ sandbox.ChangesRequest) (any, error) {
	list, err := c.listChanges(ctx)
	if errors.Is(err, overlay.ErrTooManyChanges) {
		return nil, sandbox.Errorf(sandbox.CodeTooLarge, "list the changed files of container %s: %v", c.displayName(), err).
			WithRemedy("look for what you expect with FS or CopyFrom")
	}
	if err != nil {
		return nil, fmt.Errorf("list the changed files of container %s: %w", c.displayName(), err)
	}
	a := sandbox.ChangesAnswer{Changes: make([]sandbox.WireChange, len(list))}
	for i, change := range list {
		a.Changes[i] = sandbox.WireChange{Path: []byte(change.Path), Kind: sandbox.ChangeKind(change.Kind)}
	}
	return a, nil
}

func (c *container) listChanges(ctx context.Context) ([]overlay.Change, error) {
	diffs, err := c.diffs()
	if err != nil {
		return nil, err
	}
	var all []overlay.Change
	for _, d := range diffs {
		list, err := d.Changes(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	if len(diffs) > 1 {
		slices.SortFunc(all, func(a, b overlay.Change) int { return strings.Compare(a.Path, b.Path) })
	}
	return all, nil
}

// diffs are the comparisons that make up the container's changes.
func (c *container) diffs() ([]overlay.Diff, error) {
	c.mu.Lock()
	discarding := c.discarding
	c.mu.Unlock()
	if discarding {
		return nil, c.gone("list the changed files of")
	}
	covered, made, err := c.ownPaths()
	if err != nil {
		return nil, err
	}
	diffs := []overlay.Diff{{Lower: c.image.Layers, Upper: c.upper()}}
	if c.image.Host {
		diffs = c.host.diffs(c.area.root)
	}
	for i := range diffs {
		diffs[i].Covered = append(diffs[i].Covered, covered...)
		diffs[i].Made = made
	}
	return diffs, nil
}

func (c *container) upper() string {
	return c.area.upper
}

// ownPaths are what the container has of the keeper's making: where something is mounted, its working directory, and over
// the machine's own root the directory of sockets, which is hidden.
// Symlinks on the way there are followed.
func (c *container) ownPaths() (covered, made []string, err error) {
	root, err := openRoot(c.area.root)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	for _, m := range c.config.Mounts {
		covered = append(covered, m.Destination, c.realPath(root, m.Destination))
	}
	if hidden, err := sandbox.RuntimeDir(); err == nil && c.image.Host { // see hideSockets
		covered = append(covered, hidden, c.realPath(root, hidden))
	}
	return covered, []string{c.proc.dir, c.realPath(root, c.proc.dir)}, nil
}

// realPath returns a path that has no symlink in it, as far as there is anything at the path.
func (c *container) realPath(root *os.File, path string) string {
	f, err := pathrs.OpenatInRoot(root, path)
	if err != nil {
		return path
	}
	defer f.Close()
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	below, ok := strings.CutPrefix(real, c.area.root)
	if err != nil || !ok {
		return path
	}
	return "/" + strings.TrimPrefix(below, "/")
}

// hostRecord is what host: shows of the machine, for comparison with what became of it.
type hostRecord struct {
	// copy is a tree of the directories and symlinks that were made outside of the overlays.
	copy string
	// shm is where /dev/shm is.
	shm string
	// mounts are the overlays and files.
	mounts   []string
	overlays []overlay.Diff
}

// directory notes one that was made.
func (h *hostRecord) directory(dir string, mode os.FileMode) error {
	target := filepath.Join(h.copy, dir)
	if err := os.Mkdir(target, 0o755); err != nil {
		return fmt.Errorf("note %s: %w", dir, noSpace(err))
	}
	if err := os.Chmod(target, mode); err != nil {
		return fmt.Errorf("note %s: %w", dir, err)
	}
	return nil
}

// symlink notes one that was made.
func (h *hostRecord) symlink(link, path string) error {
	return os.Symlink(link, filepath.Join(h.copy, path))
}

// file notes one that is shown.
func (h *hostRecord) file(path string) { h.mounts = append(h.mounts, path) }

// overlay notes one that is mounted.
func (h *hostRecord) overlay(dir, upper string) {
	h.mounts = append(h.mounts, dir)
	h.overlays = append(h.overlays, overlay.Diff{Lower: []string{dir}, Upper: upper, At: dir, Adopted: true})
}

// diffs compares the overlays, and what is outside of them.
func (h *hostRecord) diffs(root string) []overlay.Diff {
	outside := overlay.Diff{Lower: []string{h.copy}, Upper: root, Whole: true, Adopted: true, Covered: slices.Clone(h.mounts)}
	return append(slices.Clone(h.overlays), outside)
}
