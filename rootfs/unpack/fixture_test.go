package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
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

// options are those that fit the namespace a test runs in.
func options(t testing.TB, mode nstest.Mode) Options {
	t.Helper()
	if mode == nstest.Single {
		return Options{Single: true}
	}
	all := IDRanges{{Size: uint32(min(nstest.MaxID(t), math.MaxUint32-1)) + 1}}
	return Options{UIDs: all, GIDs: all}
}

// eachWalk runs a test with openat2 and without.
func eachWalk(t *testing.T, name string, mode nstest.Mode, test func(t *testing.T, o Options)) {
	t.Helper()
	for _, without := range []bool{false, true} {
		t.Run(name+map[bool]string{true: " without openat2"}[without], func(t *testing.T) {
			o := options(t, mode)
			o.noOpenat2 = without
			test(t, o)
		})
	}
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
