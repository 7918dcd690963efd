package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns"
)

// checkStore tries whether images can be kept in dir. It does not make the directory if there is none, but tries the
// one in which it would be made.
func checkStore(dir string) userns.Check {
	c := userns.Check{Name: "store", Required: true, Means: "images are kept there, unpacked once for all containers"}
	free, err := tryStore(dir)
	if err == nil {
		c.Answer, c.Detail = userns.Yes, fmt.Sprintf("%s can be written to, %s are free", dir, units.HumanSize(float64(free)))
		return c
	}
	c.Answer, c.Detail = userns.No, err.Error()
	c.Remedy = "export BIVOUAC_HOME=/var/tmp/bivouac-$(id -u)"
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		c.Remedy = "df -h " + dir + " # make room there, or set BIVOUAC_HOME to a directory elsewhere"
	}
	return c
}

// tryStore returns how many bytes the user may still write.
func tryStore(dir string) (free uint64, err error) {
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return 0, fmt.Errorf("use %s: it is not a directory", dir)
		}
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		return tryWriting(dir)
	}
}

func tryWriting(dir string) (free uint64, err error) {
	f, err := os.CreateTemp(dir, ".bivouac-doctor-*")
	if err != nil {
		return 0, fmt.Errorf("write to %s: %w", dir, err)
	}
	_, err = f.Write([]byte("x"))
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return 0, fmt.Errorf("write to %s: %w", dir, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Frsize), nil
}
