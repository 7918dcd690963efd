package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// Names in the directory of a cache mount.
const (
	cacheData = "data"
	cacheLock = "lock"
	cacheInfo = "mount.json"
)

// cacheInfoFile says whose a cache mount is.
type cacheInfoFile struct {
	ID string `json:"id"`
}

// cacheDir is the directory of a cache mount, locked as its sharing asks for.
func (b *builder) cacheDir(ctx context.Context, p *plannedMount, undo *releases) (string, error) {
	exclusive := p.key.Sharing == string(instructions.MountSharingLocked)
	if p.key.Sharing != string(instructions.MountSharingPrivate) {
		return b.oneCacheDir(ctx, p, 0, exclusive, true, undo)
	}
	for n := 0; ; n++ { // the first that nobody uses
		dir, err := b.oneCacheDir(ctx, p, n, true, false, undo)
		if dir != "" || err != nil {
			return dir, err
		}
	}
}

// oneCacheDir returns an empty name if somebody else has the directory and it is not to be waited for.
func (b *builder) oneCacheDir(ctx context.Context, p *plannedMount, n int, exclusive, wait bool, undo *releases) (string, error) {
	text, err := json.Marshal([]any{p.key.ID, p.key.Content, p.key.Source, n})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	lock, err := useCache(ctx, b.path("mounts", name), exclusive, wait)
	if err != nil || lock == nil {
		return "", err
	}
	undo.add(lock.Close)
	made, err := b.store.Lock(ctx, "build-mount-"+name, nil)
	if err != nil {
		return "", err
	}
	defer made.Unlock()
	return b.fillCacheDir(ctx, p, b.path("mounts", name))
}

// useCache locks the directory of a cache mount: for one user alone, or against its removal.
func useCache(ctx context.Context, dir string, exclusive, wait bool) (*os.File, error) {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	if !wait {
		return tryCache(dir, how)
	}
	return filelock.Wait(ctx, func() (*os.File, error) { return tryCache(dir, how) })
}

func tryCache(dir string, how int) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, cacheLock), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // it was removed meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock cache directory: %w", err)
	}
	got, err := filelock.Flock(lock, how)
	if got {
		return lock, nil
	}
	_ = lock.Close()
	if err != nil && !errors.Is(err, filelock.ErrGone) {
		return nil, fmt.Errorf("use cache directory: %w", err)
	}
	return nil, nil
}

// fillCacheDir makes the directory if there is none, with the files of --mount=from.
func (b *builder) fillCacheDir(ctx context.Context, p *plannedMount, dir string) (string, error) {
	data := filepath.Join(dir, cacheData)
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // for prune
	if _, err := os.Lstat(data); err == nil {
		return data, nil
	}
	fresh := data + ".new"
	if err := unpack.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	info, err := json.Marshal(cacheInfoFile{p.key.ID})
	if err != nil {
		return "", err
	}
	if err := errors.Join(writeWhole(filepath.Join(dir, cacheInfo), info), os.Mkdir(fresh, 0o700)); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	if err := b.seedCacheDir(ctx, p, fresh); err != nil {
		return "", fmt.Errorf("fill cache directory %s: %w", p.key.ID, err)
	}
	return data, os.Rename(fresh, data)
}

func (b *builder) seedCacheDir(ctx context.Context, p *plannedMount, dir string) error {
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := &target{root: root, single: b.store.IDs().Single}
	if p.from != (origin{}) {
		err := b.open(ctx, p.from, func(f *folder) error {
			_, err := p.selection().copy(ctx, f, t, "/", extractor{})
			return err
		})
		if err != nil {
			return err
		}
	}
	o := handle.Owner{UID: uint32(or(p.key.UID, 0)), GID: uint32(or(p.key.GID, 0))}
	return t.describe(root, o, uint32(or(p.key.Mode, newDirMode))&maxMode)
}

// RemoveMount removes the directory of a cache mount by its name in the store. It is false for one that a build uses.
func RemoveMount(s *rootfs.Store, name string) (removed bool, err error) {
	if !isKey(name) {
		return false, fmt.Errorf("remove cache directory %q: it is no key", name)
	}
	dir := buildPath(s, "mounts", name)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	lock, err := tryCache(dir, unix.LOCK_EX)
	if err != nil || lock == nil {
		return false, err
	}
	defer lock.Close()
	if err := unpack.Remove(dir); err != nil {
		return false, fmt.Errorf("remove cache directory: %w", err)
	}
	return true, nil
}
