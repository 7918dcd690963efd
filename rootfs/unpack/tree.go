package unpack

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

const (
	maxOpen     = 64    // directories that a tree keeps open
	impliedMode = 0o755 // of directories that no entry describes
)

// dir is an open directory of the layer. Its times are put right when it is
// closed: every entry made in it changes them.
type dir struct {
	fd    int
	path  string   // from the root, without symlinks
	names []string // what it was asked for by: path, and names through symlinks
	times times
	used  uint64 // tick of the last use
	// group says that files made in it get its group, not ours: it is setgid,
	// or it has another group and the file system is mounted with "grpid".
	group bool
}

// tree is the directory of a layer: its root and a few more, open.
type tree struct {
	root    *dir
	open    []*dir // without the root, at most maxOpen
	names   map[string]*dir
	tick    uint64
	o       Options
	implied implied
}

// openTree opens the root and makes it what it is if no entry describes it. A
// default ACL, which it may have from the store it lies in, would change the
// mode of everything made below.
func openTree(name string, o Options) (*tree, error) {
	fd, err := handle.Open(unix.AT_FDCWD, name, handle.DirFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("open layer directory %q: %w", name, err)
	}
	_ = unix.Fremovexattr(fd, "system.posix_acl_default") // mostly there is none
	if err := unix.Fchmod(fd, impliedMode); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set mode of layer directory %q: %w", name, err)
	}
	t := &tree{names: map[string]*dir{}, o: o}
	if t.root, err = t.opened(fd, "."); err != nil {
		return nil, err
	}
	return t, nil
}

// dir returns the directory of a clean name and makes what is missing of it.
// The handle is good until the next call of any method.
func (t *tree) dir(name string) (*dir, error) { return t.get(name, true) }

// lookup is dir that makes nothing.
func (t *tree) lookup(name string) (*dir, error) { return t.get(name, false) }

func (t *tree) get(name string, create bool) (*dir, error) {
	if d := t.cached(name); d != nil {
		return d, nil
	}
	if !t.o.noOpenat2 {
		if fd, err := handle.OpenBelow(t.root.fd, name); err == nil {
			return t.opened(fd, name)
		}
	}
	// Something is missing, a symlink, too long for one call, or openat2 is
	// forbidden: go there step by step.
	w, err := t.walk(name, create)
	if err != nil {
		return nil, err
	}
	return t.resolved(w, name)
}

func (t *tree) cached(name string) *dir {
	if name == "." {
		return t.root
	}
	d := t.names[name]
	if d != nil {
		t.tick++
		d.used = t.tick
	}
	return d
}

// resolved adds what a walk has found, under the name that was asked for too.
func (t *tree) resolved(w *walker, name string) (*dir, error) {
	d := t.cached(w.path())
	if d != nil {
		unix.Close(w.fd)
	} else {
		var err error
		if d, err = t.opened(w.fd, w.path()); err != nil {
			return nil, err
		}
	}
	t.alias(d, name)
	return d, nil
}

// opened adds a directory that was there before; its times are to stay.
func (t *tree) opened(fd int, name string) (*dir, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, wrap("stat directory", err)
	}
	d := &dir{fd: fd, path: name, times: times{st.Atim, st.Mtim}}
	d.group = st.Mode&unix.S_ISGID != 0 || st.Gid != 0
	return d, t.add(d)
}

// add keeps d open and closes another one if there are too many.
func (t *tree) add(d *dir) (err error) {
	t.tick++
	d.used = t.tick
	if d.path == "." {
		return nil
	}
	if len(t.open) >= maxOpen {
		err = t.evict()
	}
	t.open = append(t.open, d)
	t.alias(d, d.path)
	return err
}

// alias makes d known by one more name, if there are not too many.
func (t *tree) alias(d *dir, name string) {
	if t.names[name] == nil && d != t.root && len(t.names) < 2*maxOpen {
		t.names[name] = d
		d.names = append(d.names, name)
	}
}

// evict closes the directory that was not used for the longest time.
func (t *tree) evict() error {
	oldest := 0
	for i, d := range t.open {
		if d.used < t.open[oldest].used {
			oldest = i
		}
	}
	d := t.open[oldest]
	t.open = slices.Delete(t.open, oldest, oldest+1)
	return t.release(d)
}

func (t *tree) release(d *dir) error {
	for _, name := range d.names {
		delete(t.names, name)
	}
	return errors.Join(d.times.set(d.fd), wrap("close directory", unix.Close(d.fd)))
}

// forget closes all directories but the root: a directory or a symlink went
// away, so a name may lead elsewhere.
func (t *tree) forget() error {
	var errs []error
	for _, d := range t.open {
		errs = append(errs, t.release(d))
	}
	t.open = t.open[:0]
	return errors.Join(errs...)
}

func (t *tree) close() error {
	return errors.Join(t.forget(), t.release(t.root))
}

// clear takes away whatever is called base in d. It may close d.
func (t *tree) clear(d *dir, base string) error {
	st, err := stat(d.fd, base)
	if err != nil {
		return wrap("stat existing file", err)
	}
	if err := removeAt(d.fd, base); err != nil {
		return wrap("replace existing file", err)
	}
	if k := kind(&st); k == unix.S_IFDIR || k == unix.S_IFLNK {
		return t.forget()
	}
	return nil
}

// made opens a directory that was just made in parent. Its times and group are
// for the caller to set.
func (t *tree) made(parent *dir, name string) (*dir, error) {
	fd, err := handle.Open(parent.fd, path.Base(name), handle.DirFlags, 0)
	if err != nil {
		return nil, wrap("open directory", err)
	}
	d := &dir{fd: fd, path: path.Join(parent.path, path.Base(name))}
	err = t.add(d)
	t.alias(d, name)
	return d, err
}

// imply makes a directory that the layer uses without describing it. It is of 1970, so that a layer is the same whenever it is
// unpacked.
func (t *tree) imply(at int, base, name string) (fd int, err error) {
	if err := t.o.Budget.take(headerSize); err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(at, base, 0o700); err != nil {
		return -1, wrap("make directory", err)
	}
	if fd, err = handle.Open(at, base, handle.DirFlags, 0); err != nil {
		return -1, wrap("open directory", err)
	}
	if err := errors.Join(nobodys(fd), (&times{}).set(fd)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	t.implied.add(name)
	return fd, nil
}

// nobodys gives a directory that is only implied our group, which its parent
// may not have, and its mode.
func nobodys(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return wrap("stat directory", err)
	}
	if gid := unix.Getegid(); st.Gid != uint32(gid) {
		if err := unix.Fchown(fd, -1, gid); err != nil {
			return wrap("set group", err)
		}
	}
	return wrap("set mode", unix.Fchmod(fd, impliedMode))
}

// wrap names what failed; nil stays nil.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
