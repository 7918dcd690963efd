package pack

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// stamp is the time that a directory gets once nothing changes in it any more.
type stamp struct {
	name string
	mtim unix.Timespec
}

// remove takes away what is left out of the layer.
func (p *packer) remove(d *dir, base string) error {
	if !p.o.Adopt {
		return nil
	}
	d.cut = true
	return unpack.RemoveAt(d.fd, base)
}

// adopt makes a packed file one of a lower directory.
func (p *packer) adopt(fd int, h *tar.Header, attrs attributes) error {
	if !p.o.Adopt {
		return nil
	}
	if err := strip(fd, attrs); err != nil {
		return err
	}
	return p.clampTime(fd, h)
}

// strip takes away attributes that mean something in an upper directory alone.
func strip(fd int, attrs attributes) error {
	for attr := range attrs {
		if !strings.HasPrefix(attr, handle.OverlayPrefix) || attr == handle.Opaque || attr == handle.Whiteout {
			continue
		}
		if err := unix.Fremovexattr(fd, attr); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove attribute %s: %w", attr, err)
		}
	}
	return nil
}

// clampTime sets a later time than the latest one.
func (p *packer) clampTime(fd int, h *tar.Header) error {
	var st unix.Stat_t
	if p.o.Latest.IsZero() {
		return nil
	}
	if err := unix.Fstat(fd, &st); err != nil || unix.TimespecToNsec(st.Mtim) <= p.o.Latest.UnixNano() {
		return err
	}
	ts := unix.NsecToTimespec(h.ModTime.UnixNano())
	return setTime(fd, "", ts, unix.AT_EMPTY_PATH)
}

func (p *packer) clampAt(f *file) error {
	if !p.o.Adopt || p.o.Latest.IsZero() || unix.TimespecToNsec(f.st.Mtim) <= p.o.Latest.UnixNano() {
		return nil
	}
	return setTime(f.dir.fd, f.base, unix.NsecToTimespec(p.clamp(&f.st).UnixNano()), unix.AT_SYMLINK_NOFOLLOW)
}

func setTime(at int, name string, ts unix.Timespec, flags int) error {
	return unix.UtimesNanoAt(at, name, []unix.Timespec{ts, ts}, flags)
}

// adopted does with a directory what adopt does with a file. Its time waits: directories in it may be removed later.
func (p *packer) adopted(d *dir) error {
	if !p.o.Adopt {
		return nil
	}
	if err := strip(d.fd, d.attrs); err != nil {
		return err
	}
	if late := unix.TimespecToNsec(d.st.Mtim) > p.o.Latest.UnixNano() && !p.o.Latest.IsZero(); late {
		p.late = append(p.late, stamp{d.name, unix.NsecToTimespec(p.clamp(&d.st).UnixNano())})
	} else if d.cut || p.way[d.name] {
		p.late = append(p.late, stamp{d.name, d.st.Mtim})
	}
	return nil
}

// settle sets the times of directories.
func (p *packer) settle() error {
	for _, s := range p.late {
		fd, err := p.openBelow(s.name)
		if handle.Gone(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open directory %q: %w", s.name, err)
		}
		if err := errors.Join(setTime(fd, "", s.mtim, unix.AT_EMPTY_PATH), unix.Close(fd)); err != nil {
			return fmt.Errorf("set times of %q: %w", s.name, err)
		}
	}
	return nil
}

// cut removes a directory that only led to what was left out.
func (p *packer) cut(name string, dirs []string) error {
	if !p.o.Adopt || !p.way[name] || len(dirs) > 0 {
		return nil
	}
	fd, err := p.openBelow(name)
	if handle.Gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open directory %q: %w", name, err)
	}
	d := &dir{fd: fd, name: name}
	skip := false
	if err = d.read(); err == nil {
		skip, err = p.unchanged(d)
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil || !skip {
		return err
	}
	parent, err := p.openBelow(path.Dir(name))
	if err != nil {
		return fmt.Errorf("open directory %q: %w", path.Dir(name), err)
	}
	return errors.Join(unpack.RemoveAt(parent, path.Base(name)), unix.Close(parent))
}

// layers are the layers below, open, the topmost first.
type layers []int

func openLower(dirs []string) (l layers, err error) {
	for i := range dirs {
		dir := dirs[len(dirs)-1-i]
		fd, err := handle.Open(unix.AT_FDCWD, dir, handle.DirFlags, 0)
		if err != nil {
			return l, fmt.Errorf("open layer directory %q: %w", dir, err)
		}
		l = append(l, fd)
	}
	return l, nil
}

func (l layers) close() error {
	var errs []error
	for _, fd := range l {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// lookup returns the open directory of a name as the layers below show it, -1 if there is none. Directories that lead there
// may be hidden; then a directory below counts that nobody can see, which leaves a mark in the layer that does no harm.
func (l layers) lookup(name string) (int, error) {
	for _, root := range l {
		fd, err := handle.OpenBelow(root, name)
		if err == nil {
			return fd, nil
		}
		if handle.Gone(err) && !hidden(root, name) {
			continue
		}
		if handle.Gone(err) {
			return -1, nil
		}
		return -1, err
	}
	return -1, nil
}

// hidden tells whether a layer has something else of the name, such as a whiteout.
func hidden(root int, name string) bool {
	var st unix.Stat_t
	parent, err := handle.OpenBelow(root, path.Dir(name))
	if err != nil {
		return false
	}
	defer unix.Close(parent)
	return unix.Fstatat(parent, path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// hides tells whether an opaque directory has something to hide. Overlayfs also makes every directory opaque that has
// nothing below it.
func (p *packer) hides(name string) (bool, error) {
	if len(p.lower) == 0 {
		return true, nil
	}
	for _, root := range p.lower {
		fd, err := handle.OpenBelow(root, name)
		if err == nil {
			return true, unix.Close(fd)
		}
		if !handle.Gone(err) {
			return false, err
		}
	}
	return false, nil
}

// asBelow tells whether a directory is as in the layers below, but for its time, which what is made in it changes; or, if it
// is not there, as directories are made for a container.
func (p *packer) asBelow(d *dir) (bool, error) {
	if len(p.lower) == 0 {
		return true, nil
	}
	fd, err := p.lower.lookup(d.name)
	if err != nil {
		return false, err
	}
	h := p.header(d.name, &d.st, d.attrs)
	if fd < 0 {
		return isPlain(h), nil
	}
	defer unix.Close(fd)
	var old dir
	if err := unix.Fstat(fd, &old.st); err != nil {
		return false, err
	}
	if old.attrs, err = readAttributes(fd); err != nil {
		return false, err
	}
	return sameHeader(h, p.header(d.name, &old.st, old.attrs)), nil
}

func sameHeader(a, b *tar.Header) bool {
	key := func(h *tar.Header) string {
		return strconv.FormatInt(h.Mode, 8) + fmt.Sprint(h.Uid, h.Gid, h.PAXRecords)
	}
	return key(a) == key(b)
}
