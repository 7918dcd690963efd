package keeper

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Files of the machine's root belong to an id that no container has, so a container's root could not write beside them.
// What a program is likely to write to is therefore taken over beforehand: its directories are made anew in the upper
// layer, belonging to the container's root, and the machine's files show through them. In /etc the files are copied too,
// so that they can be edited.
var adopted = []struct {
	dir   string
	depth int // of directories below dir; 0 means dir alone
	files bool
}{
	{"/etc", 8, true},
	{"/usr", 2, false},
	{"/usr/local", 4, false},
	{"/var", 4, false},
	{"/opt", 2, false},
	{"/srv", 2, false},
	{"/home", 1, false},
	{"/mnt", 1, false},
	{"/media", 1, false},
}

// maxAdoptedFile is the size from which a file of /etc is left to the machine.
const maxAdoptedFile = 1 << 20

// adopt takes over what of the list lies in the directory dir.
func adopt(dir, upper string) error {
	to, err := os.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	for _, a := range adopted {
		below, err := filepath.Rel(dir, a.dir)
		if err != nil || strings.HasPrefix(below, "..") {
			continue
		}
		ad := adoption{from: a.dir, below: below, depth: a.depth, files: a.files, to: to}
		if err := ad.run(); err != nil {
			return err
		}
	}
	return nil
}

// adoption takes over one directory of the list.
type adoption struct {
	from  string // on the machine
	below string // the same, relative to the overlay's root
	depth int
	files bool
	to    *os.Root
	dev   uint64
}

func (a *adoption) run() error {
	from, err := os.OpenRoot(a.from)
	if err != nil {
		return nil // not there, or not for this user: nothing to take over
	}
	defer func() { _ = from.Close() }()
	return fs.WalkDir(from.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // changed meanwhile
		}
		info, err := e.Info()
		if err != nil {
			return nil // removed meanwhile
		}
		if e.IsDir() {
			return a.directory(name, info)
		}
		if a.files && info.Mode().IsRegular() && info.Size() <= maxAdoptedFile {
			return a.file(from, name, info)
		}
		return nil
	})
}

// directory takes one directory over and tells whether to go on into it.
func (a *adoption) directory(name string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	if name == "." {
		a.dev = st.Dev
	}
	if st.Dev != a.dev {
		return fs.SkipDir
	}
	closed := !readable(filepath.Join(a.from, name))
	if st.Uid == overflowID { // others' are somebody's whom the container knows
		if err := a.takeOver(path.Join(a.below, name), info, closed); err != nil {
			return err
		}
	}
	if closed || depth(name) == a.depth && !a.files {
		return fs.SkipDir
	}
	return nil
}

// takeOver makes a directory in the upper layer. One that the user may not read, such as /root, becomes an empty one.
func (a *adoption) takeOver(target string, info fs.FileInfo, closed bool) error {
	if err := a.to.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := a.to.Chmod(target, info.Mode().Perm()|info.Mode()&os.ModeSticky); err != nil || !closed {
		return err
	}
	return unix.Setxattr(filepath.Join(a.to.Name(), target), "user.overlay.opaque", []byte("y"), 0)
}

// overflowID is what the kernel shows for an id without a mapping (/proc/sys/kernel/overflowuid).
const overflowID = 65534

func depth(name string) int {
	if name == "." {
		return 0
	}
	return strings.Count(name, "/") + 1
}

func (a *adoption) file(from *os.Root, name string, info fs.FileInfo) error {
	if info.Sys().(*syscall.Stat_t).Uid != overflowID {
		return nil
	}
	in, err := from.Open(name)
	if err != nil {
		return nil // not for this user: it shows through unreadable, as on the machine
	}
	defer in.Close()
	out, err := a.to.OpenFile(path.Join(a.below, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(info.Mode().Perm()), out.Close(), a.to.Chtimes(path.Join(a.below, name), info.ModTime(), info.ModTime()))
}
