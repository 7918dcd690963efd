package keeper

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

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

// takeName reserves the container's name, and makes the directory of a container that is to be kept.
func (c *container) takeName() error {
	if c.spec.Name == "" && !c.spec.Keep {
		return nil
	}
	name := firstOf(c.spec.Name, c.id[:12])
	dir := filepath.Join(c.k.home, "containers")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create container directory: %w", noSpace(err))
	}
	var err error
	if c.name, err = lockName(dir, name); err != nil {
		return err
	}
	kept := filepath.Join(dir, name)
	if _, err := os.Lstat(kept); err == nil {
		return nameInUse(name, "a kept container has it").WithRemedy("choose another name, or remove it: bivouac rm %s", name)
	}
	if !c.spec.Keep {
		return nil
	}
	c.kept = kept // from here on a failure removes it
	for _, d := range []string{kept, filepath.Join(kept, "upper"), filepath.Join(kept, "work")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return fmt.Errorf("create container directory: %w", noSpace(err))
		}
	}
	return nil
}

// remove removes the files of a container that was kept.
func (k *keeper) remove(m *wire.Message) error {
	var r sandbox.RemoveRequest
	if err := m.Decode(&r); err != nil {
		return err
	}
	containers := filepath.Join(k.home, "containers")
	kept := filepath.Join(containers, r.Name)
	if _, err := os.Lstat(kept); !validName(r.Name) || err != nil {
		return sandbox.Errorf(sandbox.CodeNotFound, "remove container %q: no container has that name or id", r.Name).WithRemedy("see bivouac ps -a and %s", containers)
	}
	lock, err := lockName(containers, r.Name)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := unpack.Remove(kept); err != nil {
		return fmt.Errorf("remove container %q: %w", r.Name, err)
	}
	return nil
}

// forget removes the files of a container that was to be kept and never ran.
func (c *container) forget() {
	if c.kept != "" {
		_ = unpack.Remove(c.kept)
	}
}

func nameInUse(name, why string) *sandbox.Error {
	return sandbox.Errorf(sandbox.CodeNameInUse, "name the container %q: %s", name, why)
}
