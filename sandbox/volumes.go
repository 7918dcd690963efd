package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// CreateVolume makes a volume, or returns the one of that name.
//
// Errors: CodeInvalid for a name that is none, CodeNoSpace; CodeInUse for one of that name that is to be ephemeral.
func (c *Client) CreateVolume(ctx context.Context, r CreateVolumeRequest) (Volume, error) {
	var v Volume
	err := c.ask(ctx, KindCreateVolume, r, &v)
	return v, err
}

// RemoveVolume removes a volume with all that is in it.
//
// Errors: CodeNotFound; CodeInUse while a container has it, running or not.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	return c.ask(ctx, KindRemoveVolume, RemoveVolumeRequest{Name: name}, nil)
}

// ReclaimVolume is [Client.RemoveVolume], and returns the bytes of the disk that the volume took.
func (c *Client) ReclaimVolume(ctx context.Context, name string) (int64, error) {
	var removed RemovedVolume
	err := c.ask(ctx, KindRemoveVolume, RemoveVolumeRequest{Name: name, Measure: true}, &removed)
	return removed.Bytes, err
}

// VolumesDir is the directory of the store for volumes. It need not exist.
//
// Errors: CodeBadConfig.
func VolumesDir() (string, error) {
	return inStore("volumes")
}

// Volumes lists this user's volumes by name, with their users. It reads the store and needs no keeper. What cannot be read is
// left out.
func Volumes(ctx context.Context) ([]Volume, error) {
	dir, entries, err := listStore("volumes")
	if err != nil {
		return nil, err
	}
	var list []Volume
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if v, err := readVolume(dir, e.Name()); err == nil {
			list = append(list, v)
		}
	}
	return list, nil
}

// ReadVolume returns the volume of a name, as [Volumes] does.
//
// Errors: CodeNotFound.
func ReadVolume(name string) (Volume, error) {
	dir, err := VolumesDir()
	if err != nil {
		return Volume{}, err
	}
	v, err := readVolume(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = Errorf(CodeNotFound, "find volume %q: there is none of that name", name).WithRemedy("see bivouac volume ls")
	}
	return v, err
}

func readVolume(dir, name string) (v Volume, err error) {
	if name == "" || name != filepath.Base(name) || name[0] == '.' {
		return v, fs.ErrNotExist
	}
	own := filepath.Join(dir, name)
	if err := readJSON(filepath.Join(own, "volume.json"), &v); err != nil {
		return v, err
	}
	if v.Name != name {
		return v, fmt.Errorf("read volume %s: its volume.json is of another", name)
	}
	v.Path = filepath.Join(own, "_data")
	v.Users = volumeUsers(filepath.Join(own, "users"), filepath.Join(filepath.Dir(dir), "containers"))
	return v, nil
}

// volumeUsers are those that are still there: containers with a record, and others as long as a keeper has their lock.
func volumeUsers(dir, containers string) (users []string) {
	entries, _ := os.ReadDir(dir) // a volume without users may lack it
	for _, e := range entries {
		_, err := os.Lstat(filepath.Join(containers, e.Name(), RecordFile))
		if err == nil || isLocked(filepath.Join(dir, e.Name())) {
			users = append(users, e.Name())
		}
	}
	return users
}

// isLocked tells whether a process has the file's flock(2).
func isLocked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}
