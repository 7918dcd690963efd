package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// place makes a file under its name, or if that is taken under another one that then replaces it.
func place(parent *os.File, base string, create func(base string) error) error {
	if err := replaceable(parent, base); err != nil {
		return err
	}
	aside := ".bivouac-" + strconv.FormatUint(rand.Uint64(), 36)
	if err := create(aside); err != nil {
		return errors.Join(err, ignoreMissing(unix.Unlinkat(int(parent.Fd()), aside, 0)))
	}
	if err := unix.Renameat(int(parent.Fd()), aside, int(parent.Fd()), base); err != nil {
		return errors.Join(err, ignoreMissing(unix.Unlinkat(int(parent.Fd()), aside, 0)))
	}
	// To rename one name of a file over another does nothing.
	return ignoreMissing(unix.Unlinkat(int(parent.Fd()), aside, 0))
}

func ignoreMissing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// replaceable refuses directories and mount points. From another mount namespace the kernel would let us take the file
// below a mount away, and the mount with it.
func replaceable(parent *os.File, base string) error {
	var x unix.Statx_t
	err := unix.Statx(int(parent.Fd()), base, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &x)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	case x.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0: // Linux 5.8
		return unix.EBUSY
	}
	return nil
}

func (x *extraction) file(parent *os.File, base string, h *tar.Header) error {
	fd, err := unix.Openat(int(parent.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	err = x.fill(f)
	if err == nil {
		err = x.describe(f, h)
	}
	if err == nil {
		err = setTime(f, h.ModTime)
	}
	return errors.Join(err, f.Close())
}

// fill writes the content of the current entry.
func (x *extraction) fill(f *os.File) error {
	for {
		n, err := x.tar.Read(x.buf)
		if _, err := f.Write(x.buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err := errors.Join(x.ctx.Err(), err); err != nil {
			return err
		}
	}
}

// mkdir makes a directory, or describes the one that is there. A symlink that leads to one stays.
func (x *extraction) mkdir(parent *os.File, base string, h *tar.Header) error {
	name := path.Join(x.parentPath, base)
	err := unix.Mkdirat(int(parent.Fd()), base, 0o700)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	dir, err := openAt(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return x.followed(name)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return x.describeDirectory(dir, name, h)
}

func (x *extraction) followed(name string) error {
	f, err := x.root.handle(name, true)
	if err != nil {
		return unix.EEXIST
	}
	defer f.Close()
	if st, err := fstat(f); err != nil || kind(&st) != unix.S_IFDIR {
		return unix.EEXIST
	}
	return nil
}

func (x *extraction) describeDirectory(dir *os.File, name string, h *tar.Header) error {
	open, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer open.Close()
	st, err := fstat(open)
	if err != nil {
		return err
	}
	x.times = append(x.times, dirTime{name, st.Dev, st.Ino, h.ModTime})
	return x.describe(open, h)
}

func (x *extraction) symlink(parent *os.File, base string, h *tar.Header) error {
	if err := unix.Symlinkat(h.Linkname, int(parent.Fd()), base); err != nil {
		return err
	}
	return x.describeUnopened(parent, base, unix.S_IFLNK, h)
}

func (x *extraction) fifo(parent *os.File, base string, h *tar.Header) error {
	if err := unix.Mknodat(int(parent.Fd()), base, unix.S_IFIFO|0o600, 0); err != nil {
		return err
	}
	return x.describeUnopened(parent, base, unix.S_IFIFO, h)
}

// hardlink gives a file of the directory that is copied to another name.
func (x *extraction) hardlink(parent *os.File, base string, h *tar.Header) error {
	target, err := clean(h.Linkname)
	if err != nil {
		return err
	}
	from, err := pathrs.OpenatInRoot(x.root.dir, path.Join(x.dir, path.Dir(target)))
	if err != nil {
		return linkError(h, err)
	}
	defer from.Close()
	return place(parent, base, func(base string) error {
		return linkError(h, unix.Linkat(int(from.Fd()), path.Base(target), int(parent.Fd()), base, 0))
	})
}

// linkError blames the archive for a target that is missing or a directory.
func linkError(h *tar.Header, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EPERM) {
		return sandbox.Errorf(sandbox.CodeBadArchive, "copy %q: it is a hard link to %q, which is no file below the directory that is copied to", h.Name, h.Linkname)
	}
	return err
}

// describe sets what the header says of an open file, but for its time. The order matters: a change of owner clears
// setuid and capabilities.
func (x *extraction) describe(f *os.File, h *tar.Header) error {
	if err := x.own(f, h); err != nil {
		return err
	}
	if err := unix.Fchmod(int(f.Fd()), uint32(h.Mode&0o7777)); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		attr, ok := strings.CutPrefix(key, paxAttribute)
		if !ok || !unpack.Welcome(attr) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), attr, []byte(h.PAXRecords[key]), 0); err != nil {
			return fmt.Errorf("set attribute %q: %w", attr, err)
		}
	}
	return nil
}

// paxAttribute starts the PAX records that hold extended attributes.
const paxAttribute = "SCHILY.xattr."

// own sets the owner of an open file.
func (x *extraction) own(f *os.File, h *tar.Header) error {
	if !isID(h.Uid) || !isID(h.Gid) {
		return x.unmapped(h)
	}
	if !x.root.single {
		return x.chownError(h, unix.Fchown(int(f.Fd()), h.Uid, h.Gid))
	}
	if owner := (emulate.Owner{UID: uint32(h.Uid), GID: uint32(h.Gid)}); owner != (emulate.Owner{}) {
		return unix.Fsetxattr(int(f.Fd()), emulate.XattrName, owner.Marshal(), 0)
	}
	err := unix.Fremovexattr(int(f.Fd()), emulate.XattrName)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// isID tells whether an id exists at all: the highest means "no change".
func isID(id int) bool { return 0 <= id && id < math.MaxUint32 }

// describeUnopened is describe for what is not opened: a symlink or a fifo. What was made may have been swapped, even
// against a file that is more than the container's programs may change, so the handle must be of its kind and have no
// other name.
func (x *extraction) describeUnopened(parent *os.File, base string, want uint32, h *tar.Header) error {
	f, err := openAt(parent, base, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := fstat(f)
	if err != nil {
		return err
	}
	if kind(&st) != want || st.Nlink != 1 {
		return errors.New("a program of the container replaced it meanwhile")
	}
	if !isID(h.Uid) || !isID(h.Gid) {
		return x.unmapped(h)
	}
	if !x.root.single {
		if err := x.chownError(h, unix.Fchownat(int(f.Fd()), "", h.Uid, h.Gid, unix.AT_EMPTY_PATH)); err != nil {
			return err
		}
	}
	if want == unix.S_IFIFO {
		if err := unix.Chmod(self(f), uint32(h.Mode&0o7777)); err != nil {
			return err
		}
	}
	return setTime(f, h.ModTime)
}

// chownError explains EINVAL, the kernel's word for an id without a mapping.
func (x *extraction) chownError(h *tar.Header, err error) error {
	if errors.Is(err, unix.EINVAL) {
		return x.unmapped(h)
	}
	return err
}

func (x *extraction) unmapped(h *tar.Header) error {
	return sandbox.Errorf(sandbox.CodeUnmappedID, "copy %q: its owner %d:%d is outside of the mapped ids", h.Name, h.Uid, h.Gid).
		WithRemedy("write other ids into the archive, or have larger ranges in /etc/subuid and /etc/subgid")
}

// setTime gives a file its modification time (with an empty path: Linux 5.8). One that the machine cannot express is 1970.
func setTime(f *os.File, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil || t.IsZero() {
		ts = unix.Timespec{}
	}
	return unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
}
