// Package overlay mounts the unpacked layers of an image on top of each other,
// inside a user namespace whose user 0 owns them.
//
// Linux 6.5 can be given one layer at a time. Older kernels (from 5.11 on,
// where overlayfs can be mounted in a user namespace with its metadata in
// attributes that start with "user.") want all of them in one page of text,
// which is why they are named by numbers there.
package overlay

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// MaxLower is the number of lower layers that the kernel can stack.
const MaxLower = 500

// Options describe a mount.
type Options struct {
	// Lower are the directories of the layers, the lowest first; 1 to MaxLower.
	// Those below a layer whose root is opaque are left out, as they would be
	// for any other directory.
	Lower []string

	// Upper receives what is changed, and Work is an empty directory on the
	// same file system. Both or none; with none the mount is read-only.
	Upper, Work string

	// ReadOnly forbids changes also if there is an Upper.
	ReadOnly bool

	// Volatile says that Upper need not survive a crash of the machine: nothing
	// is synced to disk (Linux 5.10). Such an Upper and Work cannot be mounted
	// a second time before Work/work/incompat is deleted. Needs an Upper.
	Volatile bool

	// OneDevice gives all files the mount's device number, also if the layers
	// are on several file systems, as programs want that look for a mapped file
	// by its numbers ("xino=on", Linux 4.17).
	OneDevice bool
}

// Mount mounts the layers on the directory target. A single layer without an
// Upper is bound there: overlayfs would want two.
//
// Errors: [ErrOptions], [*UnsupportedError], and the errno of a failed system
// call with what the kernel says about it.
func Mount(target string, o Options) error {
	return mountBy(target, o, newest, older)
}

// MountFD makes the mount without a place and returns it as an open
// descriptor, which move_mount(2) puts somewhere and close(2) destroys.
//
// Errors: as for [Mount]; the [*UnsupportedError] of kernels before 6.5 too.
func MountFD(o Options) (fd int, err error) {
	if o, err = o.checked(); err != nil {
		return -1, err
	}
	if o.bind() {
		return cloneReadOnly(o.Lower[0])
	}
	return detached(o)
}

// Unmount takes away what was mounted on target last. Whoever still uses it
// keeps it until then.
func Unmount(target string) error {
	if err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %q: %w", target, err)
	}
	return nil
}

// way is one of the kernel's interfaces for mounts.
type way struct {
	overlay, bind func(target string, o Options) error
}

var (
	newest = way{mountDetached, bindDetached}
	older  = way{mountPage, bindRemount}
)

// mountBy uses the first way that the kernel has.
func mountBy(target string, o Options, ways ...way) (err error) {
	if o, err = o.checked(); err != nil {
		return err
	}
	for _, w := range ways {
		mount := w.overlay
		if o.bind() {
			mount = w.bind
		}
		err = mount(target, o)
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) || !unsupported.retry {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("mount image on %q: %w", target, err)
	}
	return nil
}

// ErrOptions marks Options that make no mount.
var ErrOptions = errors.New("invalid overlay options")

// checked returns o without the layers that cannot be seen.
func (o Options) checked() (Options, error) {
	switch {
	case len(o.Lower) == 0:
		return o, fmt.Errorf("%w: no lower layer", ErrOptions)
	case len(o.Lower) > MaxLower:
		return o, fmt.Errorf("%w: %d layers, the kernel stacks at most %d", ErrOptions, len(o.Lower), MaxLower)
	case (o.Upper == "") != (o.Work == ""):
		return o, fmt.Errorf("%w: upper and work directory go together", ErrOptions)
	case o.Volatile && o.Upper == "":
		return o, fmt.Errorf("%w: volatile without an upper directory", ErrOptions)
	}
	for i := len(o.Lower) - 1; i > 0; i-- {
		if isOpaque(o.Lower[i]) {
			o.Lower = o.Lower[i:]
			break
		}
	}
	return o, nil
}

func (o Options) bind() bool { return len(o.Lower) == 1 && o.Upper == "" }

// isOpaque tells whether nothing below the layer is to be seen: the kernel asks
// that of all directories but the root.
func isOpaque(dir string) bool {
	var value [2]byte
	n, err := unix.Getxattr(dir, handle.Opaque, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}
