package unpack

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// listing describes a tree in the words of archive, sorted by name. It tells
// modes other than 755 and 644, and owners other than 0:0, whether they are set
// or recorded. Whiteouts are called so, and a second name of a file is a link.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	inodes := map[uint64]string{}
	check(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if line := describe(t, p, name, inodes); line != "dir ." {
			fmt.Fprintln(&b, line)
		}
		return nil
	}))
	return b.String()
}

func describe(t testing.TB, p, name string, inodes map[uint64]string) string {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Lstat(p, &st))
	f := []string{"", word(name)}
	if first, ok := inodes[st.Ino]; ok {
		return "link " + word(name) + " " + word(first)
	}
	mode := uint32(0o644)
	switch kind(&st) {
	case unix.S_IFDIR:
		f[0], mode = "dir", 0o755
	case unix.S_IFREG:
		inodes[st.Ino] = name
		f[0] = "file"
	case unix.S_IFLNK:
		target, err := os.Readlink(p)
		check(t, err)
		f[0], mode = "symlink", st.Mode&0o7777
		f = append(f, word(target))
	case unix.S_IFIFO:
		f[0] = "fifo"
	case unix.S_IFCHR:
		f[0], mode = "char", st.Mode&0o7777
		if isWhiteout(&st) {
			f[0] = "whiteout"
		}
	}
	if m := st.Mode & 0o7777; m != mode {
		f = append(f, fmt.Sprintf("mode=%o", m))
	}
	if f[0] == "file" && st.Size > 0 {
		f = append(f, "data="+word(head(t, p)))
	}
	return strings.Join(append(f, attributes(t, p, st)...), " ")
}

// head is the start of a file.
func head(t testing.TB, p string) string {
	t.Helper()
	f, err := os.Open(p)
	check(t, err)
	defer f.Close()
	buf := make([]byte, 100)
	n, err := f.Read(buf)
	check(t, err)
	return string(buf[:n])
}

// attributes are the owner and the extended attributes.
func attributes(t testing.TB, p string, st unix.Stat_t) (f []string) {
	t.Helper()
	attrs := attrsOf(t, p)
	uid, gid := int(st.Uid), int(st.Gid)
	if v, ok := attrs[handle.OwnerAttribute]; ok {
		uid, gid = recorded(t, []byte(v))
		delete(attrs, handle.OwnerAttribute)
	}
	if uid != 0 || gid != 0 {
		f = append(f, fmt.Sprintf("owner=%d:%d", uid, gid))
	}
	for attr, value := range attrs {
		f = append(f, attr+"="+word(value))
	}
	slices.Sort(f)
	return f
}

func attrsOf(t testing.TB, p string) map[string]string {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(p, buf)
	check(t, err)
	attrs := map[string]string{}
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if attr == "" || attr == "security.selinux" {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(p, attr, value)
		check(t, err)
		attrs[attr] = string(value[:n])
	}
	return attrs
}

func recorded(t testing.TB, b []byte) (uid, gid int) {
	t.Helper()
	for len(b) > 0 {
		v, n := binary.Uvarint(b[1:])
		switch {
		case n <= 0:
			t.Fatalf("bad owner %q", b)
		case b[0] == 8:
			uid = int(v)
		case b[0] == 16:
			gid = int(v)
		}
		b = b[1+n:]
	}
	return uid, gid
}

// word quotes what would not be one word of a line.
func word(s string) string {
	if s == "" || strings.ContainsAny(s, " #") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}
