package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// Remove removes a volume that nobody has, also one whose record is damaged.
//
// Errors: NotFound; InUse, with the names of those who have it.
func (s *Store) Remove(ctx context.Context, name string) error {
	v, err := s.Get(name)
	if errors.Is(err, rootfs.BadConfig) {
		v, err = &Volume{Record: Record{Name: name}, store: s}, nil
	}
	if err != nil {
		return err
	}
	trash := filepath.Join(s.dir, trashPrefix+randomHex()[:16])
	err = v.locked(ctx, func() error {
		if err := v.checkFree(); err != nil {
			return err
		}
		return os.Rename(v.dir(), trash)
	})
	if err != nil {
		return about(err, "remove volume "+name)
	}
	step("taken out")
	if err := unpack.Remove(trash); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// about says what an error is about that does not say so by itself.
func about(err error, what string) error {
	if coded := (*rootfs.Error)(nil); errors.As(err, &coded) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (v *Volume) checkFree() error {
	users, err := v.Users()
	if err != nil || len(users) == 0 {
		return err
	}
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.display()
	}
	return fail(InUse, "remove them first", "remove volume %s: containers have it: %s", v.Name, strings.Join(names, ", "))
}

// staleAge is how old a draft is, or something taken out, that nobody works on.
const staleAge = time.Minute

// Sweep removes what killed processes have left: drafts, what was taken out, the files of users that are gone, and ephemeral
// volumes without users. It is a courtesy: what cannot be removed is left to the next.
func (s *Store) Sweep(ctx context.Context) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, draftPrefix) || strings.HasPrefix(name, trashPrefix) {
			if isStale(e) {
				_ = unpack.Remove(filepath.Join(s.dir, name))
			}
			continue
		}
		if v, err := s.Get(name); err == nil {
			v.sweep(ctx)
		}
	}
}

func isStale(e fs.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false
	}
	changed := info.Sys().(*syscall.Stat_t).Ctim
	return time.Since(time.Unix(changed.Unix())) > staleAge
}

func (v *Volume) sweep(ctx context.Context) {
	gone := false
	dir := filepath.Join(v.dir(), usersName)
	_ = v.locked(ctx, func() error { // so that no user is just coming
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			if !v.store.isAlive(filepath.Join(dir, e.Name()), e.Name()) {
				err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
				gone = true
			}
		}
		return err
	})
	if v.Ephemeral && (gone || v.isFree()) {
		_ = v.store.Remove(ctx, v.Name)
	}
}

func (v *Volume) isFree() bool {
	users, err := v.Users()
	return err == nil && len(users) == 0
}

func ignore(err error, code rootfs.Code) error {
	if errors.Is(err, code) || errors.Is(err, rootfs.NotFound) {
		return nil
	}
	return err
}
