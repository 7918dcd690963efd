package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/rootfs/internal/nstest"
	"golang.org/x/sys/unix"
)

// epoch is the time of all entries that name none, a second after 1970-01-01.
var epoch = time.Unix(1, 0)

// archive makes a tar stream of lines such as
//
//	dir etc mode=1777 uid=1 gid=2
//	file etc/x data=hello xattr:user.a=b
//	symlink a /b
//	link c a
//	fifo, char, block, global, type:X NAME
//
// Words with odd characters are quoted as in Go. A line that starts with "#"
// is for the reader.
func archive(t testing.TB, lines string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(lines) {
		f := words(t, line)
		if len(f) == 0 {
			continue
		}
		h, data := header(t, f)
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// words splits a line at spaces outside of quotes, which may start in a word.
func words(t testing.TB, line string) (f []string) {
	t.Helper()
	for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimSpace(line) {
		end := strings.IndexAny(line+" ", ` "`)
		word := line[:end]
		if line = line[end:]; line != "" && line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			s, _ := strconv.Unquote(quoted)
			word, line = word+s, line[len(quoted):]
		}
		f = append(f, word)
	}
	return f
}

var types = map[string]byte{
	"dir": tar.TypeDir, "file": tar.TypeReg, "symlink": tar.TypeSymlink, "link": tar.TypeLink,
	"fifo": tar.TypeFifo, "char": tar.TypeChar, "block": tar.TypeBlock, "global": tar.TypeXGlobalHeader,
}

func header(t testing.TB, f []string) (h *tar.Header, data []byte) {
	t.Helper()
	h = &tar.Header{Typeflag: types[f[0]], Name: f[1], Mode: 0o644, ModTime: epoch, PAXRecords: map[string]string{}}
	if x, ok := strings.CutPrefix(f[0], "type:"); ok {
		h.Typeflag = x[0]
	}
	options := f[2:]
	switch h.Typeflag {
	case tar.TypeDir:
		h.Mode = 0o755
	case tar.TypeSymlink, tar.TypeLink:
		h.Linkname, options = f[2], f[3:]
	case tar.TypeXGlobalHeader:
		h = &tar.Header{Typeflag: h.Typeflag, Name: h.Name, PAXRecords: map[string]string{"comment": "x"}}
	}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		data = append(data, option(t, h, key, value)...)
	}
	h.Size = int64(len(data))
	return h, data
}

func option(t testing.TB, h *tar.Header, key, value string) (data []byte) {
	t.Helper()
	var err error
	switch key {
	case "data":
		return []byte(value)
	case "mode":
		h.Mode, err = strconv.ParseInt(value, 8, 64)
	case "uid":
		h.Uid, err = strconv.Atoi(value)
	case "gid":
		h.Gid, err = strconv.Atoi(value)
	case "major":
		h.Devmajor, err = strconv.ParseInt(value, 10, 64)
	case "time":
		h.ModTime, err = time.Parse(time.RFC3339Nano, value)
		h.Format = tar.FormatPAX
	default:
		attr, ok := strings.CutPrefix(key, "xattr:")
		if !ok {
			t.Fatalf("unknown option %q", key)
		}
		h.PAXRecords[paxXattr+attr] = value
	}
	if err != nil {
		t.Fatal(err)
	}
	return nil
}

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
	if v, ok := attrs[ownerXattr]; ok {
		uid, gid = recorded(t, []byte(v))
		delete(attrs, ownerXattr)
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

// options are those that fit the namespace a test runs in.
func options(t testing.TB, mode nstest.Mode) Options {
	t.Helper()
	if mode == nstest.Single {
		return Options{Single: true}
	}
	all := IDRanges{{Size: uint32(min(nstest.MaxID(t), math.MaxUint32-1)) + 1}}
	return Options{UIDs: all, GIDs: all}
}

// layer unpacks lines into a fresh directory and checks that nothing stays open.
func layer(t testing.TB, lines string, o Options) (dir string, _ Report, _ error) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "layer")
	check(t, os.Mkdir(dir, 0o755))
	before := descriptors(t)
	report, err := Layer(context.Background(), bytes.NewReader(archive(t, lines)), dir, o)
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors open before, %d after", before, after)
	}
	return dir, report, err
}

func descriptors(t testing.TB) int {
	t.Helper()
	_, err := os.ReadFile("/proc/self/status") // the runtime opens its own for the first file
	check(t, err)
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// unindent takes the tabs of the source code off lines.
func unindent(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	if b.String() == "\n" {
		return ""
	}
	return b.String()
}
