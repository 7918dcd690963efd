package criu

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// noPlugins is a directory in which no name ends in ".so": CRIU loads every such file of its directory of plugins, which
// would otherwise be one of the container's.
const noPlugins = "/proc/self/fdinfo"

// environment is what CRIU may know: it finds no programs to run, and GnuTLS, which it needs for migration alone, reads no
// configuration file when it is loaded.
var environment = []string{"PATH=" + noPlugins, "LC_ALL=C", "GNUTLS_NO_IMPLICIT_INIT=1"}

// Command is how to execute CRIU inside of namespaces in which none of its files can be trusted, or is there at all.
type Command struct {
	// Files are to be the descriptors first, first+1 and so on, none closed on execution.
	Files []*os.File
	// Exe is the index of the file to execute, with fexecve(3) or execveat(2).
	Exe int

	args []string // without CRIU's own
}

// Command opens everything that is needed to execute CRIU. The caller needs CAP_SYS_ADMIN over its mount namespace, for
// the directories of libraries become detached, read-only clones of mounts, from which ".." leads nowhere. It must have
// a genuine /proc where CRIU will run. The caller closes the command after the execution.
//
// Errors: files that are gone; EPERM.
func (i *Installation) Command(first int) (*Command, error) {
	c := &Command{}
	if err := i.open(c, first); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare to execute %s: %w", i.Path, err), c.Close())
	}
	return c, nil
}

func (i *Installation) open(c *Command, first int) error {
	binary, err := openPath(i.Path)
	if err != nil {
		return err
	}
	c.Files = append(c.Files, binary)
	if i.Loader == "" {
		c.args = []string{"criu"}
		return nil
	}
	loader, err := copyLoader(i.Loader)
	if err != nil {
		return err
	}
	c.Files, c.Exe = append(c.Files, loader), 1
	var dirs []string
	for _, dir := range i.Libraries {
		dirs = append(dirs, descriptor(first+len(c.Files)))
		f, err := cloneReadOnly(dir)
		if err != nil {
			return err
		}
		c.Files = append(c.Files, f)
	}
	preload := ""
	if i.standIn != nil {
		preload = descriptor(first + len(c.Files))
		f, err := memoryFile(i.standIn)
		if err != nil {
			return err
		}
		c.Files = append(c.Files, f)
	}
	c.args = i.loaderArgs("ld.so", descriptor(first), preload, dirs)
	return nil
}

// loaderArgs is a command line that has the loader start the binary, or the binary alone if it is static. A library is
// preloaded unless preload is empty (glibc 2.30).
func (i *Installation) loaderArgs(loader, binary, preload string, dirs []string) []string {
	if i.Loader == "" {
		return []string{binary}
	}
	args := []string{loader}
	if !isMusl(i.Loader) { // which has no cache
		args = append(args, "--inhibit-cache")
	}
	if preload != "" {
		args = append(args, "--preload", preload)
	}
	return append(args, "--library-path", strings.Join(dirs, ":"), binary)
}

// Args is the command line that has CRIU serve one request of [Dump] or [Restore] that comes by the descriptor rpc, a
// socket of type SOCK_SEQPACKET. Options of CRIU can be added, such as "--work-dir" and a path.
func (c *Command) Args(rpc int, options ...string) []string {
	args := append(append([]string{}, c.args...), "--no-default-config", "--libdir", noPlugins)
	return append(append(args, options...), "swrk", strconv.Itoa(rpc))
}

// Env is all of CRIU's environment. In the directory with the descriptor runtimeDir, which must be on a tmpfs, CRIU keeps
// what it found out about the kernel, which spares it 5 ms the next time. No container may write there.
func (c *Command) Env(runtimeDir int) []string {
	return append([]string{"XDG_RUNTIME_DIR=" + descriptor(runtimeDir)}, environment...)
}

// Close closes the files.
func (c *Command) Close() error {
	var all []error
	for _, f := range c.Files {
		all = append(all, f.Close())
	}
	c.Files = nil
	return errors.Join(all...)
}

// descriptor is the path of a descriptor of the process that uses it.
func descriptor(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func openPath(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// cloneReadOnly returns a clone of the mount at dir, which is attached nowhere.
func cloneReadOnly(dir string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, &os.PathError{Op: "clone mount of", Path: dir, Err: err}
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "make read-only the clone of", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}
