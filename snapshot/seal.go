package snapshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// sealed is a tree that nobody is to change.
type sealed struct {
	// Seal is a digest over everything that the kernel says of the tree's files but for access times: a change of content,
	// owner, mode, name or attribute changes at least the time of the last change, which no program can set.
	Seal string `json:"seal"`
	// Size is the bytes on disk.
	Size int64 `json:"size"`
}

// seal looks at all files of a tree. In the top directory the names in without are left out, and its own times too if
// there are any.
func seal(ctx context.Context, dir string, without ...string) (sealed, error) {
	root, err := handle.OpenDir(dir)
	if err != nil {
		return sealed{}, err
	}
	defer root.Close()
	s := &sealing{without: without, counted: map[[2]uint64]bool{}}
	if err := walk(ctx, int(root.Fd()), s.directory); err != nil {
		return sealed{}, fmt.Errorf("look at %s: %w", dir, err)
	}
	return sealed{s.sum(), s.blocks * 512}, nil
}

// sealing is the state of one call of seal.
type sealing struct {
	without []string

	mutex   sync.Mutex
	digests []directoryDigest
	blocks  int64
	counted map[[2]uint64]bool // device and inode of files with several names
}

type directoryDigest struct {
	name   string
	digest [sha256.Size]byte
}

func (s *sealing) sum() string {
	slices.SortFunc(s.digests, func(a, b directoryDigest) int { return strings.Compare(a.name, b.name) })
	sum := sha256.New()
	for _, d := range s.digests {
		sum.Write(binary.AppendUvarint(nil, uint64(len(d.name))))
		sum.Write([]byte(d.name))
		sum.Write(d.digest[:])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// line is what is said of one file.
type line struct {
	name string
	st   unix.Stat_t
}

// directory takes up everything in one directory.
func (s *sealing) directory(fd int, name string) (below []string, err error) {
	lines, err := s.lines(fd, name)
	if err != nil {
		return nil, err
	}
	var text []byte
	for i := range lines {
		l := &lines[i]
		text = l.append(text)
		switch l.st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			if l.name != "." {
				if l.name != "." {
					below = append(below, l.name)
				}
			}
		case unix.S_IFLNK:
			var target [unix.PathMax]byte
			n, err := unix.Readlinkat(fd, l.name, target[:])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", join(name, l.name), err)
			}
			text = append(text, target[:n]...)
		}
	}
	s.add(name, sha256.Sum256(text), lines)
	return below, nil
}

// lines lists a directory, sorted. The first line is that of the top directory itself.
func (s *sealing) lines(fd int, name string) (lines []line, err error) {
	if name == "." && s.without == nil {
		lines = append(lines, line{name: "."})
		if err := unix.Fstat(fd, &lines[0].st); err != nil {
			return nil, err
		}
	}
	for batch, err := range handle.Names(fd) {
		if err != nil {
			return nil, fmt.Errorf("list %q: %w", name, err)
		}
		for _, base := range batch {
			if name == "." && slices.Contains(s.without, base) {
				continue
			}
			l := line{name: base}
			if err := unix.Fstatat(fd, base, &l.st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return nil, fmt.Errorf("%q: %w", join(name, base), err)
			}
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.name, b.name) })
	return lines, nil
}

func (l *line) append(to []byte) []byte {
	to = binary.AppendUvarint(to, uint64(len(l.name)))
	to = append(to, l.name...)
	for _, n := range [...]int64{
		int64(l.st.Mode), int64(l.st.Uid), int64(l.st.Gid), int64(l.st.Rdev), l.st.Size,
		l.st.Mtim.Sec, l.st.Mtim.Nsec, l.st.Ctim.Sec, l.st.Ctim.Nsec,
	} {
		to = binary.AppendVarint(to, n)
	}
	return to
}

func (s *sealing) add(name string, digest [sha256.Size]byte, lines []line) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.digests = append(s.digests, directoryDigest{name, digest})
	for i := range lines {
		st := &lines[i].st
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			id := [2]uint64{st.Dev, st.Ino}
			if s.counted[id] {
				continue
			}
			s.counted[id] = true
		}
		s.blocks += st.Blocks
	}
}
