package testkit

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
)

// copied returns a line for each entry that options put into a container.
func copied(t *testing.T, opts ...Option) string {
	t.Helper()
	b := &fakeBox{}
	launched(t, b, opts...)
	var lines []string
	for r := tar.NewReader(strings.NewReader(b.copied.String())); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(lines, "\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(r)
		lines = append(lines, fmt.Sprintf("%c %s %o %d:%d %s%s", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid, content, h.Linkname))
	}
}

func TestFilesArePutIntoTheContainer(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "script"), []byte("run"), 0o755),
		os.Chmod(filepath.Join(dir, "script"), 0o755),
		os.Symlink("script", filepath.Join(dir, "link")),
		os.Mkdir(filepath.Join(dir, "sub"), 0o750),
	); err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{"a/b": {Data: []byte("deep"), Mode: 0o640}}
	for want, opt := range map[string]Option{
		"0 etc/a 644 0:0 text":                                               File("/etc/a", "text"),
		"0 etc/a 600 7:8 bytes":                                              File("/etc/../etc/a", []byte("bytes"), Mode(0o600), Owner(7, 8)),
		"0 etc/r 644 0:0 read":                                               FileFrom("/etc/r", strings.NewReader("read")),
		"5 srv/a/ 555 0:0 \n0 srv/a/b 640 0:0 deep":                          Files("/srv", tree),
		"5 srv/a/ 750 1:1 \n0 srv/a/b 640 1:1 deep":                          Files("/srv", tree, Mode(0o640), Owner(1, 1)),
		"0 bin/s 755 0:0 run":                                                HostFile(filepath.Join(dir, "script"), "/bin/s"),
		"2 d/link 777 0:0 script\n0 d/script 755 0:0 run\n5 d/sub/ 750 0:0 ": HostFile(dir, "/d"),
	} {
		if got := copied(t, opt); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	socket := fstest.MapFS{"s": {Mode: fs.ModeSocket}}
	for want, opt := range map[string]Option{
		"FileFrom(/x): broken":             FileFrom("/x", iotest.ErrReader(errors.New("broken"))),
		"Files(/x): s is a S":              Files("/x", socket),
		"HostFile(/x): stat /no/such/file": HostFile("/no/such/file", "/x"),
	} {
		expectError(t, made(t, &fakeBox{}, opt).launch(t.Context()), "start image:1", "copy files", want)
	}
}
