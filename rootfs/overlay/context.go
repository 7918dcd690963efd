package overlay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxValue is the longest string that fsconfig(2) takes, without its NUL.
const maxValue = 255

// mountDetached needs Linux 6.5.
func mountDetached(target string, o Options) error {
	fd, err := detached(o)
	if err != nil {
		return err
	}
	return errors.Join(attach(fd, target), unix.Close(fd))
}

func attach(fd int, target string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move mount: %w", err)
	}
	return nil
}

// detached makes an overlay that is mounted nowhere yet.
func detached(o Options) (int, error) {
	c, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open overlay context: %w", openError(err))
	}
	defer unix.Close(c)
	if takesAnything() {
		return -1, tooOld(`overlayfs with the parameter "lowerdir+"`, "6.5", unix.EINVAL)
	}
	if err := configure(c, o); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(c); err != nil {
		return -1, fmt.Errorf("create overlay: %w", logged(c, upperError(o, err)))
	}
	fd, err := unix.Fsmount(c, unix.FSMOUNT_CLOEXEC, attributes(o))
	if err != nil {
		return -1, fmt.Errorf("make overlay mount: %w", logged(c, err))
	}
	return fd, nil
}

// takesAnything tells whether overlayfs gets its parameters as one text, as it
// does before Linux 6.5: such a context accepts every name, and is refused
// only when it is created, with the EINVAL that a bad directory has too.
var takesAnything = sync.OnceValue(func() bool {
	c, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(c)
	return unix.FsconfigSetFlag(c, "bivouac-unknown") == nil
})

func attributes(o Options) int {
	if o.ReadOnly || o.Upper == "" {
		return unix.MOUNT_ATTR_RDONLY
	}
	return 0
}

func configure(c int, o Options) error {
	if err := unix.FsconfigSetFlag(c, "userxattr"); err != nil {
		return tooOld("overlayfs with user attributes", "5.11", logged(c, err))
	}
	if o.OneDevice {
		if err := unix.FsconfigSetString(c, "xino", "on"); err != nil {
			return parameterError(c, "xino", err)
		}
	}
	for _, dir := range slices.Backward(o.Lower) { // the kernel counts from the top
		if err := setDir(c, "lowerdir+", dir, dir); err != nil {
			return err
		}
	}
	if o.Upper == "" {
		return nil
	}
	if err := setDir(c, "upperdir", o.Upper, unescapable(o.Upper)); err != nil {
		return err
	}
	if err := setDir(c, "workdir", o.Work, unescapable(o.Work)); err != nil {
		return err
	}
	if !o.Volatile {
		return nil
	}
	return parameterError(c, "volatile", unix.FsconfigSetFlag(c, "volatile"))
}

// unescapable doubles backslashes, which the kernel halves in these two.
func unescapable(dir string) string { return strings.ReplaceAll(dir, `\`, `\\`) }

// setDir sets one directory. One whose name is too long is opened, and named
// by its descriptor.
func setDir(c int, key, dir, value string) error {
	if len(value) > maxValue {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %q: %w", dir, err)
		}
		defer unix.Close(fd)
		value = fmt.Sprintf("/proc/self/fd/%d", fd)
	}
	if err := unix.FsconfigSetString(c, key, value); err != nil {
		return fmt.Errorf("%q: %w", dir, dirError(c, key, dir, err))
	}
	return nil
}

// dirError knows that the names of the upper and work directories are as old as
// overlayfs: EINVAL is for the directory then.
func dirError(c int, key, dir string, err error) error {
	if key == "lowerdir+" || !errors.Is(err, unix.EINVAL) {
		return parameterError(c, key, err)
	}
	return logged(c, upperError(Options{Upper: dir}, err))
}

// parameterError takes EINVAL for a parameter that the kernel does not know.
func parameterError(c int, key string, err error) error {
	if errors.Is(err, unix.EINVAL) {
		return tooOld(fmt.Sprintf("overlayfs with the parameter %q", key), "6.5", logged(c, err))
	}
	if err != nil {
		return fmt.Errorf("set %q: %w", key, logged(c, err))
	}
	return nil
}
