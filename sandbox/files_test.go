package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

func init() { behaviours["files"] = func() { (&fileServer{conn: greeted()}).serve() } }

// filesVariable names the directory that the keeper "files" shows as every container's root.
const filesVariable = "SANDBOX_TEST_FILES"

// fileServer is a keeper whose containers have files and nothing else. Some paths have a behaviour instead.
type fileServer struct{ conn *wire.Conn }

func (s *fileServer) serve() {
	for {
		m, err := s.conn.Receive()
		if err != nil {
			return
		}
		switch m.Kind {
		case sandbox.KindCreate:
			_ = s.conn.Send(m.ID, sandbox.KindDone, sandbox.Info{ID: "abc"})
		case sandbox.KindCancel:
			fmt.Fprintln(os.Stderr, "cancelled")
		case sandbox.KindCopyTo:
			go s.copyTo(m)
		case sandbox.KindCopyFrom:
			go s.copyFrom(m)
		case sandbox.KindChanges:
			_ = s.conn.Send(m.ID, sandbox.KindDone, sandbox.ChangesAnswer{Changes: []sandbox.WireChange{{Path: []byte("/a\xff"), Kind: "A"}}})
		default:
			s.file(m)
		}
	}
}

func (s *fileServer) file(m *wire.Message) {
	var r sandbox.FileRequest
	if m.Decode(&r) != nil {
		return
	}
	path := filepath.Join(os.Getenv(filesVariable), string(r.Path))
	switch filepath.Base(path) {
	case "odd":
		_ = s.conn.Send(m.ID, sandbox.KindDone, "not an object")
		return
	case "bare":
		_ = s.conn.Send(m.ID, sandbox.KindDone, sandbox.FileAnswer{})
		return
	case "refused":
		_ = s.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeAlreadyFinished, "it is gone"))
		return
	}
	var a sandbox.FileAnswer
	var files []*os.File
	var err error
	switch m.Kind {
	case sandbox.KindReadLink:
		var link string
		link, err = os.Readlink(path)
		a.Link = []byte(link)
	case sandbox.KindListFiles:
		var entries []fs.DirEntry
		entries, err = os.ReadDir(path)
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				a.Entries = append(a.Entries, describe(e.Name(), info))
			}
		}
	default:
		stat := os.Stat
		if r.NoFollow {
			stat = os.Lstat
		}
		var info fs.FileInfo
		if info, err = stat(path); err == nil {
			d := describe(name(r.Path), info)
			a.Stat = &d
		}
		if err == nil && m.Kind == sandbox.KindOpenFile && info.Mode().IsRegular() {
			var f *os.File
			if f, err = os.Open(path); err == nil {
				files = []*os.File{f}
			}
		}
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		a = sandbox.FileAnswer{Errno: errno}
	}
	_ = s.conn.Send(m.ID, sandbox.KindDone, a, files...)
}

func name(path []byte) string {
	if string(path) == "/" {
		return "."
	}
	return filepath.Base(string(path))
}

func describe(name string, info fs.FileInfo) sandbox.FileStat {
	return sandbox.FileStat{
		Name: []byte(name), Mode: info.Mode(), Size: info.Size(), ModSeconds: info.ModTime().Unix(), ModNanoseconds: int64(info.ModTime().Nanosecond()),
		FileSys: sandbox.FileSys{UID: 70, GID: 71},
	}
}

// copyTo reads as much as the path says, and then what it says becomes of it.
func (s *fileServer) copyTo(m *wire.Message) {
	var r sandbox.CopyRequest
	_ = m.Decode(&r)
	if string(r.Path) == "/refused" {
		m.CloseFiles()
		_ = s.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeInvalid, "refused"))
		return
	}
	all, _ := io.ReadAll(m.Files[0])
	m.CloseFiles()
	if !strings.HasSuffix(string(all), "end") {
		_ = s.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeBadArchive, "it ends early"))
		return
	}
	_ = s.conn.Send(m.ID, sandbox.KindDone, nil)
}

func (s *fileServer) copyFrom(m *wire.Message) {
	var r sandbox.CopyRequest
	_ = m.Decode(&r)
	answer := func(kind string, body any) { _ = s.conn.Send(m.ID, kind, body) }
	defer m.CloseFiles()
	switch string(r.Path) {
	case "/none":
		answer(sandbox.KindFailed, sandbox.Errorf(sandbox.CodeNotFound, "none"))
		return
	case "/odd":
		answer(sandbox.KindDone, nil)
		return
	}
	answer(sandbox.KindCopying, nil)
	_, _ = m.Files[0].WriteString("content")
	switch string(r.Path) {
	case "/fails":
		m.CloseFiles()
		answer(sandbox.KindFailed, sandbox.Errorf(sandbox.CodeInvalid, "it shrank"))
	case "/stalls":
		time.Sleep(time.Minute)
	default:
		m.CloseFiles()
		answer(sandbox.KindDone, nil)
	}
}

// withFiles creates a container whose root is a directory.
func withFiles(t *testing.T) (*sandbox.Container, string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(filesVariable, dir)
	ct, err := startWith(t, "files").Create(t.Context(), spec("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ct, dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestFSKeepsTheRules(t *testing.T) {
	ct, dir := withFiles(t)
	must(t, os.MkdirAll(filepath.Join(dir, "d/e"), 0o755), os.WriteFile(filepath.Join(dir, "d/f"), []byte("content"), 0o640),
		os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600), os.Symlink("d/f", filepath.Join(dir, "link")))
	must(t, fstest.TestFS(ct.FS(t.Context()), "d/e", "d/f", "empty", "link"))
}

func TestFSAnswers(t *testing.T) {
	ct, dir := withFiles(t)
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o640), os.Symlink("f", filepath.Join(dir, "l")), syscall.Mkfifo(filepath.Join(dir, "p"), 0o600))
	fsys := ct.FS(t.Context())
	if b, err := fs.ReadFile(fsys, "l"); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	if link, err := fs.ReadLink(fsys, "l"); err != nil || link != "f" {
		t.Errorf("%q, %v", link, err)
	}
	info, err := fs.Lstat(fsys, "l")
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("%v, %v", info, err)
	}
	if sys, ok := info.Sys().(*sandbox.FileSys); !ok || sys.UID != 70 || sys.GID != 71 {
		t.Errorf("%+v", info.Sys())
	}
	for name, want := range map[string]error{
		"none": fs.ErrNotExist, "f/x": syscall.ENOTDIR, "../x": fs.ErrInvalid, "p": errors.ErrUnsupported,
		"refused": &sandbox.Error{Code: sandbox.CodeAlreadyFinished}, "bare": &sandbox.Error{Code: sandbox.CodeProtocol},
	} {
		f, err := fsys.Open(name)
		var path *fs.PathError
		if f != nil || !errors.Is(err, want) || !errors.As(err, &path) || path.Path != name || path.Op != "open" {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := fsys.Open("odd"); err == nil {
		t.Error("an odd answer was taken")
	}
}

func TestFSEndsWithItsContext(t *testing.T) {
	ct, _ := withFiles(t)
	ctx, cancel := context.WithCancel(t.Context())
	fsys := ct.FS(ctx)
	if _, err := fs.Stat(fsys, "."); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := fs.ReadDir(fsys, "."); !errors.Is(err, context.Canceled) && err != nil {
		t.Error(err)
	}
}

// source is a reader made of steps.
type source func() (string, error)

func (s source) Read(b []byte) (int, error) {
	text, err := s()
	return copy(b, text), err
}

func TestCopyTo(t *testing.T) {
	ct, _ := withFiles(t)
	large := strings.Repeat("x", 1<<20)
	must(t, ct.CopyTo(t.Context(), "/d", strings.NewReader(large+"end")))
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		dir    string
		stream io.Reader
		want   error
	}{
		"the keeper refuses":              {"/refused", strings.NewReader(large), &sandbox.Error{Code: sandbox.CodeInvalid}},
		"the stream is bad":               {"/d", strings.NewReader(large), &sandbox.Error{Code: sandbox.CodeBadArchive}},
		"the stream breaks":               {"/d", source(func() (string, error) { return "", broken }), broken},
		"the stream breaks after its end": {"/d", io.MultiReader(strings.NewReader("end"), source(func() (string, error) { return "", broken })), broken},
	} {
		if err := ct.CopyTo(t.Context(), c.dir, c.stream); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCopyToDoesNotOutliveItsContext(t *testing.T) {
	ct, _ := withFiles(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, w := io.Pipe() // never written to
	defer w.Close()
	start := time.Now()
	if err := ct.CopyTo(ctx, "/d", r); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestCopyFrom(t *testing.T) {
	ct, _ := withFiles(t)
	for path, c := range map[string]struct{ begin, end sandbox.Code }{
		"/good": {}, "/none": {begin: sandbox.CodeNotFound}, "/odd": {begin: sandbox.CodeProtocol}, "/fails": {end: sandbox.CodeInvalid},
	} {
		s, err := ct.CopyFrom(t.Context(), path)
		if sandbox.CodeOf(err) != c.begin {
			t.Errorf("%s: %v", path, err)
		}
		if err != nil {
			continue
		}
		b, err := io.ReadAll(s)
		if string(b) != "content" || sandbox.CodeOf(err) != c.end {
			t.Errorf("%s: %q, %v", path, b, err)
		}
		must(t, s.Close())
	}
}

func TestCopyFromEndsWithItsContext(t *testing.T) {
	ct, _ := withFiles(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := ct.CopyFrom(ctx, "/stalls")
	must(t, err)
	b := make([]byte, len("content"))
	if _, err := io.ReadFull(s, b); string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	cancel()
	if b, err := io.ReadAll(s); len(b) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", b, err)
	}
	must(t, s.Close())
}

func TestCopyFromMayBeLeft(t *testing.T) {
	ct, _ := withFiles(t)
	s, err := ct.CopyFrom(t.Context(), "/stalls")
	must(t, err)
	must(t, s.Close())
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if _, err := ct.Changes(t.Context()); err != nil { // the connection goes on
		t.Error(err)
	}
}

func TestChangesMayHaveAnyName(t *testing.T) {
	ct, _ := withFiles(t)
	changes, err := ct.Changes(t.Context())
	if err != nil || !slices.Equal(changes, []sandbox.Change{{Path: "/a\xff", Kind: sandbox.ChangeAdded}}) {
		t.Errorf("%q, %v", changes, err)
	}
}
