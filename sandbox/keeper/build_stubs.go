package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/opencontainers/runc/libcontainer/configs"
)

// stubs are the files and directories of a container's root that are there only to be mounted on, so that they are no part of a
// layer. They are made before the container's first process would, and removed after its end, with what that left in the upper
// directory: copies of directories in which nothing else was changed.
//
// Nothing runs over the root while its stubs are made or removed.
type stubs struct {
	root, upper string
	made        []string                  // in the order of their creation, without a slash at the front
	above       map[string]syscall.Stat_t // directories of lower layers as they were before something was made in them
	lifted      map[string]bool           // whether the upper directory had them
}

// makeStubs makes what is missing of the targets of mounts.
func makeStubs(root, upper string, mounts []*configs.Mount) (*stubs, error) {
	s := &stubs{root: root, upper: upper, above: map[string]syscall.Stat_t{}, lifted: map[string]bool{}}
	var covered []string
	for _, m := range mounts {
		target := path.Clean("/" + m.Destination)
		if isUnder(target, covered) {
			continue // on another mount
		}
		covered = append(covered, target)
		isFile, err := isFileMount(m)
		if err == nil {
			err = s.make(target, isFile)
		}
		if err != nil {
			return s, errors.Join(fmt.Errorf("make the mount point %s: %w", target, noSpace(err)), s.remove())
		}
	}
	return s, s.backdate()
}

// backdate takes back what making stubs has changed of the directories that were there.
func (s *stubs) backdate() error {
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory
	for dir, before := range s.above {
		if err := root.Chtimes(dir, time.Time{}, time.Unix(before.Mtim.Unix())); err != nil {
			return err
		}
	}
	return nil
}

func isUnder(target string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return target == d || strings.HasPrefix(target, strings.TrimSuffix(d, "/")+"/") })
}

func isFileMount(m *configs.Mount) (bool, error) {
	if m.Device != "bind" {
		return false, nil
	}
	info, err := os.Stat(m.Source)
	return err == nil && !info.IsDir(), err
}

// make makes a mount point, with the directories above. Symlinks on the way lead inside of the root.
func (s *stubs) make(target string, isFile bool) error {
	real, err := securejoin.SecureJoin(s.root, target)
	if err != nil {
		return err
	}
	relative, err := filepath.Rel(s.root, real)
	if err != nil || relative == "." {
		return err
	}
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory
	names := strings.Split(relative, "/")
	for i := range names {
		name := path.Join(names[:i+1]...)
		if err := s.makeOne(root, name, isFile && i == len(names)-1); err != nil {
			return err
		}
	}
	return nil
}

func (s *stubs) makeOne(root *os.Root, name string, isFile bool) error {
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.note(root, path.Dir(name)); err != nil {
		return err
	}
	s.made = append(s.made, name)
	if !isFile {
		return root.Mkdir(name, 0o755)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// note remembers what a directory, and those above it, are like before something is made in it.
func (s *stubs) note(root *os.Root, dir string) error {
	for ; !slices.Contains(s.made, dir); dir = path.Dir(dir) {
		if _, known := s.above[dir]; known {
			return nil
		}
		info, err := root.Lstat(dir)
		if err != nil {
			return err
		}
		s.above[dir] = *info.Sys().(*syscall.Stat_t)
		_, err = os.Lstat(filepath.Join(s.upper, dir))
		s.lifted[dir] = err == nil
		if dir == "." {
			return nil
		}
	}
	return nil
}

// remove removes the stubs that nothing else has come into. The container's own mounts are gone.
func (s *stubs) remove() error {
	if s == nil || len(s.made) == 0 {
		return nil
	}
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return fmt.Errorf("remove mount points: %w", err)
	}
	defer root.Close() //nolint:errcheck // a directory
	for _, name := range slices.Backward(s.made) {
		if err := removeStub(root, name); err != nil {
			return fmt.Errorf("remove mount points: %w", err)
		}
	}
	s.made = nil
	return nil
}

// removeStub removes a stub if it is what was made. The directory around keeps its time.
func removeStub(root *os.Root, name string) error {
	around, err := root.Lstat(path.Dir(name))
	if err == nil {
		var info fs.FileInfo
		info, err = root.Lstat(name)
		if err == nil && (info.IsDir() || info.Mode().IsRegular() && info.Size() == 0) {
			err = root.Remove(name)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.ENOTDIR):
		return nil // the program has used the place for something of its own
	case err != nil:
		return err
	}
	return root.Chtimes(path.Dir(name), time.Time{}, around.ModTime())
}

// forget takes the copies of directories out of the upper directory that are there because of stubs alone. The root is not
// mounted any more.
func (s *stubs) forget() error {
	if s == nil || len(s.above) == 0 {
		return nil
	}
	upper, err := os.OpenRoot(s.upper)
	if err != nil {
		return fmt.Errorf("remove mount points: %w", err)
	}
	defer upper.Close() //nolint:errcheck // a directory
	var copies []string // found before the first is removed, which changes the one around
	for dir, before := range s.above {
		info, err := upper.Lstat(dir)
		if err == nil && isSameDirectory(*info.Sys().(*syscall.Stat_t), before) && dir != "." && !s.lifted[dir] {
			copies = append(copies, dir)
		}
	}
	slices.SortFunc(copies, func(a, b string) int { return len(b) - len(a) })
	for _, dir := range copies {
		if err := upper.Remove(dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("remove mount points: %w", err)
		}
	}
	return nil
}

func isSameDirectory(a, b syscall.Stat_t) bool {
	return a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Mtim == b.Mtim
}
