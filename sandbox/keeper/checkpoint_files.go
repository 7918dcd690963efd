package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/snapshot"
)

// memoryTree is an open memory file system of a container.
type memoryTree struct {
	target string
	dir    *os.File
}

func closeAll(trees []memoryTree) {
	for _, t := range trees {
		_ = t.dir.Close()
	}
}

// memoryTargets are where the container has memory file systems of its own, in the order in which they are mounted. What is
// in /dev besides devices is not kept: sockets there are made anew with the processes.
func (c *container) memoryTargets() []string {
	var out []string
	for _, m := range c.config.Mounts {
		if m.Device == "tmpfs" && m.Destination != "/dev" && m.Flags&unix.MS_RDONLY == 0 {
			out = append(out, filepath.Clean(m.Destination))
		}
	}
	return out
}

// openMemory opens the memory file systems of a container that runs. They stay as long as they are open, also when the
// container has ended.
func (k *checkpointing) openMemory() (_ []memoryTree, err error) {
	if k.spec.OmitMounts && k.tree == nil || k.p == nil {
		return nil, nil
	}
	return k.c.openMemoryOf(k.p.pid, k.c.memoryTargets())
}

// openMemoryOf opens memory file systems as the process sees them.
func (c *container) openMemoryOf(pid int, targets []string) (list []memoryTree, err error) {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	defer root.Close()
	defer func() {
		if err != nil {
			closeAll(list)
		}
	}()
	for _, target := range targets {
		dir, err := openMemoryDir(root, target)
		if err != nil {
			return list, fmt.Errorf("open %s of the container: %w", target, err)
		}
		list = append(list, memoryTree{target, dir})
	}
	return list, nil
}

// openMemoryDir opens a directory of the container if it is of a memory file system: a program may have put something else
// in its way.
func openMemoryDir(root *os.File, target string) (*os.File, error) {
	dir, err := pathrs.OpenatInRoot(root, target)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		return nil, errors.Join(fmt.Errorf("it is no memory file system"), err, dir.Close())
	}
	return dir, nil
}

// saveFiles copies what the container has changed, and what is in its own volumes and its memory file systems.
func (k *checkpointing) saveFiles(ctx context.Context, memory []memoryTree) error {
	own, err := k.c.locateOwnVolumes()
	if err != nil {
		return err
	}
	upper, err := os.OpenFile(k.c.upper(), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open the container's changed files: %w", err)
	}
	defer upper.Close()
	if err := copyInto(ctx, k.draft.Layer(), upper, snapshot.CopyOptions{Layer: true}); err != nil {
		return err
	}
	for _, v := range own {
		if err := v.copyTo(ctx, k.draft.Layer()); err != nil {
			return fmt.Errorf("copy the volume on %s of the container: %w", v.target, err)
		}
	}
	for i, t := range memory {
		dir, err := k.draft.Tree(i)
		if err != nil {
			return err
		}
		if err := copyInto(ctx, dir, t.dir, snapshot.CopyOptions{}); err != nil {
			return fmt.Errorf("copy %s of the container: %w", t.target, err)
		}
		k.trees = append(k.trees, snapshot.Tree{Target: t.target, N: i})
	}
	return nil
}

func copyInto(ctx context.Context, dir string, from *os.File, o snapshot.CopyOptions) error {
	to, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	_, err = snapshot.CopyTree(ctx, to, from, o)
	return err
}

// fillMemory puts back what was in the memory file systems of the container that this is a clone of.
func (c *container) fillMemory() error {
	if c.source == nil {
		return nil
	}
	pid, err := c.first.Pid()
	if err != nil {
		return fmt.Errorf("fill the container's memory file systems: %w", err)
	}
	trees := c.source.snap.Meta().Trees
	targets := make([]string, len(trees))
	for i, t := range trees {
		targets[i] = t.Target
	}
	if len(targets) == 0 {
		return nil
	}
	mounted := c.memoryTargets()
	if slices.ContainsFunc(targets, func(t string) bool { return !slices.Contains(mounted, t) }) {
		return staleError(c.source.snap.Meta().ID, "it has files for a memory file system that the container does not have")
	}
	memory, err := c.openMemoryOf(pid, targets)
	if err != nil {
		return err
	}
	defer closeAll(memory)
	for i, t := range memory {
		from, err := os.OpenFile(c.source.snap.Tree(trees[i].N), unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("open what was in %s: %w", t.target, err)
		}
		_, err = snapshot.CopyTree(context.Background(), t.dir, from, snapshot.CopyOptions{Merge: true})
		_ = from.Close()
		if err != nil {
			return fmt.Errorf("fill %s: %w", t.target, err)
		}
	}
	return nil
}
