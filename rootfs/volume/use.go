package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// User is who has a volume: a container, or a program that made an ephemeral one.
type User struct {
	// ID is a container's, or 64 other hexadecimal digits.
	ID string `json:"id"`
	// Name is what people call it, may be empty.
	Name string `json:"name,omitempty"`
}

// display is what people call the user.
func (u User) display() string {
	if u.Name != "" {
		return u.Name
	}
	return u.ID[:min(12, len(u.ID))]
}

// Use keeps a volume from being removed, until it is released or the process ends; the use of a container that is kept lasts
// as long as the container's record.
type Use struct {
	volume *Volume
	file   *os.File
}

// Use counts a user in.
//
// Errors: NotFound if the volume is gone, Invalid for one of another mapping of ids, NoSpace.
func (v *Volume) Use(ctx context.Context, u User) (use *Use, err error) {
	if err := v.Usable(); err != nil {
		return nil, err
	}
	err = v.locked(ctx, func() error {
		use, err = v.enter(filepath.Join(v.dir(), usersName, u.ID), u)
		return err
	})
	if err != nil {
		return nil, full(fmt.Errorf("use volume %s: %w", v.Name, err))
	}
	return use, nil
}

// enter makes a user's file, and locks it.
func (v *Volume) enter(path string, u User) (*Use, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(u)
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Use{v, f}, nil
}

// Volume is the one that is used.
func (u *Use) Volume() *Volume { return u.volume }

// Leave ends the process's part of the use: that of a container which is kept goes on.
func (u *Use) Leave() { u.close() }

// Release ends the use, and removes the volume if it is ephemeral and this was the last. Nil is none, and a second call does
// nothing.
func (u *Use) Release(ctx context.Context) error {
	if u == nil || u.file == nil {
		return nil
	}
	id := filepath.Base(u.file.Name())
	u.close()
	return u.volume.Forget(ctx, id)
}

func (u *Use) close() {
	if u != nil && u.file != nil {
		_ = u.file.Close()
		u.file = nil
	}
}

// Forget ends the use of a user that is gone, and removes the volume if it is ephemeral and nobody else has it.
func (v *Volume) Forget(ctx context.Context, id string) error {
	err := os.Remove(filepath.Join(v.dir(), usersName, id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("leave volume %s: %w", v.Name, err)
	}
	if !v.Ephemeral {
		return nil
	}
	return ignore(v.store.Remove(ctx, v.Name), InUse)
}

// Users are those that have the volume. One whose file cannot be read counts.
func (v *Volume) Users() ([]User, error) {
	dir := filepath.Join(v.dir(), usersName)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the users of volume %s: %w", v.Name, err)
	}
	var users []User
	for _, e := range entries {
		if !v.store.isAlive(filepath.Join(dir, e.Name()), e.Name()) {
			continue
		}
		u := User{}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || json.Unmarshal(text, &u) != nil || u.ID == "" {
			u = User{ID: e.Name()}
		}
		users = append(users, u)
	}
	return v.store.renamed(users), nil
}

// containerName is the record of a container that is kept, in its directory.
const containerName = "container.json"

// isAlive tells whether a user is still there.
func (s *Store) isAlive(file, id string) bool {
	if _, err := os.Lstat(filepath.Join(s.containers, id, containerName)); err == nil {
		return true
	}
	f, err := os.Open(file)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// renamed gives containers that are kept the names that they have by now: containers/names/NAME leads to ../ID.
func (s *Store) renamed(users []User) []User {
	names := filepath.Join(s.containers, "names")
	entries, _ := os.ReadDir(names)
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(names, e.Name()))
		i := slices.IndexFunc(users, func(u User) bool { return u.ID == filepath.Base(target) })
		if err == nil && i >= 0 {
			users[i].Name = e.Name()
		}
	}
	return users
}

// lockWait is how long others may have a volume's lock, which they need for milliseconds.
const lockWait = 5 * time.Second

// locked calls f with the volume's lock.
//
// Errors: NotFound if the volume was removed.
func (v *Volume) locked(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, fail(InUse, "try again", "lock volume %s: another program has it", v.Name))
	defer cancel()
	lock, err := v.lock(ctx, lockName)
	if err != nil {
		return err
	}
	defer lock.Close()
	return f()
}

// lock waits for one of the volume's locks until ctx ends.
func (v *Volume) lock(ctx context.Context, name string) (*os.File, error) {
	path := filepath.Join(v.dir(), name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(v.Name)
	}
	if err != nil {
		return nil, err
	}
	lock, err := filelock.Wait(ctx, func() (*os.File, error) {
		if got, err := filelock.Flock(f, unix.LOCK_EX); !got {
			return nil, err
		}
		return f, nil
	})
	if errors.Is(err, filelock.ErrGone) {
		err = notFound(v.Name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return lock, nil
}
