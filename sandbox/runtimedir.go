package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// SocketSuffix ends the names of containers' sockets in the [RuntimeDir], which are their ids.
const SocketSuffix = ".sock"

// RuntimeDir returns the directory for the sockets of containers that other commands of the same user can find: bivouac in
// $XDG_RUNTIME_DIR, or sockets in the store's directory where that variable names no directory of this user's. It need
// not exist yet.
//
// Errors: CodeBadConfig if there is no place for the store either.
func RuntimeDir() (string, error) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && isOurs(dir) == nil {
		return filepath.Join(dir, "bivouac"), nil
	}
	store, err := storeDir()
	if err != nil {
		return "", Errorf(CodeBadConfig, "find a directory for sockets: %v", err).WithRemedy("set XDG_RUNTIME_DIR to a directory of your own")
	}
	return filepath.Join(store, "sockets"), nil
}

// storeDir is where package rootfs has the store, which is not to be linked into tests.
func storeDir() (string, error) {
	if dir := os.Getenv("BIVOUAC_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "bivouac"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "share", "bivouac"), err
}

// inStore is the path of a name in the store.
//
// Errors: CodeBadConfig.
func inStore(name string) (string, error) {
	dir, err := storeDir()
	if err != nil {
		return "", Errorf(CodeBadConfig, "find the store: %v", err).WithRemedy("set BIVOUAC_HOME to a directory of your own")
	}
	return filepath.Join(dir, name), nil
}

// listStore lists a directory of the store, which need not exist.
//
// Errors: CodeBadConfig.
func listStore(name string) (dir string, entries []os.DirEntry, err error) {
	if dir, err = inStore(name); err != nil {
		return "", nil, err
	}
	if entries, err = os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("list %s: %w", name, err)
	}
	return dir, entries, nil
}

// isOurs tells whether dir is a directory, and this user's.
func isOurs(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); !st.IsDir() || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is no directory of yours", dir)
	}
	return nil
}

// OpenRuntimeDir opens the [RuntimeDir], which only its owner can enter. With create, it is made if it is missing.
//
// Errors: CodeBadConfig; fs.ErrNotExist without create.
func OpenRuntimeDir(create bool) (*os.File, error) {
	dir, err := RuntimeDir()
	if err != nil {
		return nil, err
	}
	f, err := openOwnDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, fs.ErrNotExist
		}
		if err = os.MkdirAll(dir, 0o700); err == nil {
			f, err = openOwnDir(dir)
		}
	}
	if err != nil {
		return nil, Errorf(CodeBadConfig, "open the directory of containers' sockets: %v", err).WithRemedy("set XDG_RUNTIME_DIR to a directory of your own")
	}
	return f, nil
}

// openOwnDir opens a directory that has to be this user's, and closes it to others.
func openOwnDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && int(st.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		err = fmt.Errorf("%s is no directory of yours", dir)
	}
	if err == nil && st.Mode().Perm() != 0o700 {
		err = f.Chmod(0o700)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// SocketPath names a socket in an open directory in few characters: addresses of unix sockets have at most 107.
func SocketPath(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}
