package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/sandbox"
)

// containersDir is where the store has the containers that are kept, and all names.
func (k *keeper) containersDir() string { return filepath.Join(k.home, "containers") }

// alone does something short with the directory of containers while no other keeper does: taking and giving back names, making
// and removing containers.
func (k *keeper) alone(f func() error) error {
	dir := k.containersDir()
	if err := os.MkdirAll(filepath.Join(dir, sandbox.NamesDir), 0o700); err != nil {
		return fmt.Errorf("create container directory: %w", noSpace(err))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open container directory: %w", err)
	}
	defer d.Close() // which unlocks it
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock container directory: %w", err)
		}
	}
}

// takeName reserves the name of a container that is not kept, as long as it is there.
func (c *container) takeName() error {
	if c.spec.Name == "" || c.spec.Keep {
		return nil
	}
	return c.k.alone(func() (err error) {
		if err := c.k.checkFree(c.spec.Name); err != nil {
			return err
		}
		c.name, err = lockName(c.k.containersDir(), c.spec.Name)
		return err
	})
}

// lockName keeps a container's name to it among all of the user's keepers.
func lockName(containers, name string) (*filelock.Lock, error) {
	lock, err := filelock.Try(filepath.Join(containers, "."+name+".lock"))
	if err != nil {
		return nil, fmt.Errorf("lock name %q: %w", name, noSpace(err))
	}
	if lock == nil {
		return nil, nameInUse(name, "another container has it").WithRemedy("choose another name, or remove that one: bivouac rm -f %s", name)
	}
	return lock, nil
}

func (k *keeper) nameLink(name string) string {
	return filepath.Join(k.containersDir(), sandbox.NamesDir, name)
}

// linkName gives a name to the container that is kept. The caller is [keeper.alone].
func (k *keeper) linkName(name, id string) error {
	lock, err := lockName(k.containersDir(), name) // containers that are not kept have it by this
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := k.checkFree(name); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join("..", id), k.nameLink(name)); err != nil {
		return fmt.Errorf("name the container %q: %w", name, noSpace(err))
	}
	return nil
}

// checkFree tells whether no container that is kept has a name, and removes what is left of one that had it. The caller is
// [keeper.alone].
func (k *keeper) checkFree(name string) error {
	link := k.nameLink(name)
	to, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("name the container %q: %w", name, err)
	}
	if k.hasName(filepath.Base(to), name) {
		return nameInUse(name, "a container has it").WithRemedy("choose another name, or remove that one: bivouac rm -f %s", name)
	}
	return os.Remove(link)
}

// hasName tells whether a container is there and may have a name. One that is being made, and one whose record is damaged, may
// have any.
func (k *keeper) hasName(id, name string) bool {
	dir := filepath.Join(k.containersDir(), id)
	if _, err := os.Lstat(dir); err != nil || !sandbox.IsContainerID(id) {
		return false
	}
	if _, err := os.Lstat(filepath.Join(dir, sandbox.RecordFile)); err != nil {
		return isLocked(dir)
	}
	rec, err := sandbox.ReadRecord(id)
	return err != nil || rec.IDMap == "" || rec.Name == name
}

// isFree tells whether a name that is there belongs to no container, nor to one that is being made.
func (k *keeper) isFree(name string) (free bool, err error) {
	err = k.alone(func() error {
		to, err := os.Readlink(k.nameLink(name))
		free = err == nil && !k.hasName(filepath.Base(to), name)
		return nil // somebody else has removed it
	})
	return free, err
}

// isLocked tells whether a keeper is at work on a directory.
func isLocked(dir string) bool {
	lock, err := lockDirectory(dir)
	if lock != nil {
		_ = lock.Close()
	}
	return err == nil && lock == nil
}

// unlinkNames takes all its names from a container, of which it has two while it is being renamed. The caller is
// [keeper.alone].
func (k *keeper) unlinkNames(id string) error {
	dir := filepath.Join(k.containersDir(), sandbox.NamesDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list names: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if to, err := os.Readlink(path); err == nil && filepath.Base(to) == id {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove name: %w", err)
			}
		}
	}
	return nil
}

// rename gives the container another name.
func (c *container) rename(_ context.Context, r sandbox.RenameRequest) (any, error) {
	name, old := r.Name, c.displayName()
	if !validName(name) {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "rename container %s to %q: not a valid name", c.displayName(), name).
			WithRemedy("use letters, digits, '_', '.' and '-', starting with a letter or digit")
	}
	err := c.k.alone(func() error {
		given := c.givenName()
		switch {
		case c.isDiscarding():
			return c.gone("rename")
		case name == given:
			return sandbox.Errorf(sandbox.CodeInvalid, "rename container %s: it has that name", name).WithRemedy("choose another one")
		case c.record == nil:
			return c.relock(name)
		}
		return c.relink(given, name)
	})
	if err == nil {
		c.emit("rename", "oldName", old)
	}
	return nil, err
}

// relink is rename for a container that is kept. Killed in between, it has the name that its record has.
func (c *container) relink(old, name string) error {
	if err := c.k.linkName(name, c.id); err != nil {
		return err
	}
	if err := c.record.rewrite(func(f *sandbox.RecordFixed) { f.Info.Name, f.Spec.Name = name, name }); err != nil {
		return errors.Join(err, os.Remove(c.k.nameLink(name)))
	}
	c.called.Store(&name)
	if old == "" {
		return nil
	}
	return os.Remove(c.k.nameLink(old))
}

// relock is rename for a container that is not kept.
func (c *container) relock(name string) error {
	if err := c.k.checkFree(name); err != nil {
		return err
	}
	lock, err := lockName(c.k.containersDir(), name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	old := c.name
	c.name = lock
	c.mu.Unlock()
	c.called.Store(&name)
	old.Unlock()
	return nil
}

// givenName is the name that the container was given, if any.
func (c *container) givenName() string {
	if name := c.called.Load(); name != nil {
		return *name
	}
	return c.spec.Name
}

func nameInUse(name, why string) *sandbox.Error {
	return sandbox.Errorf(sandbox.CodeNameInUse, "name the container %q: %s", name, why)
}
