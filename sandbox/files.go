package sandbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// FS returns the container's root file system, through the keeper: while the program runs as that sees it, with its mounts,
// otherwise with its volumes and bind mounts. It is read-only and good for as long as the container and ctx are; every call asks the keeper.
//
// It also is an fs.StatFS, fs.ReadDirFS, fs.ReadFileFS and fs.ReadLinkFS. Symlinks lead below the container's root. Regular
// files and directories can be opened; of others there is Stat. Sys of an fs.FileInfo is a [*FileSys]. Errors are
// *fs.PathError with the system's error number, so that errors.Is knows fs.ErrNotExist and the like, or an [*Error]:
// CodeAlreadyFinished after Discard, CodeUnsupported for what cannot be opened.
func (ct *Container) FS(ctx context.Context) fs.FS { return &containerFS{ctx, ct} }

type containerFS struct {
	ctx context.Context
	ct  *Container
}

var _ interface {
	fs.StatFS
	fs.ReadDirFS
	fs.ReadFileFS
	fs.ReadLinkFS
} = (*containerFS)(nil)

// ask sends one request about a file; the files of the answer are the caller's.
func (f *containerFS) ask(op, kind, name string, follow bool) (*FileAnswer, []*os.File, error) {
	fail := func(err error) (*FileAnswer, []*os.File, error) {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	request := FileRequest{f.ct.request(), []byte(path.Join("/", name)), !follow}
	m, err := f.ct.client.askMessage(f.ctx, kind, request)
	if err != nil {
		return fail(err)
	}
	a := &FileAnswer{}
	if err := m.Decode(a); err != nil {
		m.CloseFiles()
		return fail(err)
	}
	if a.Errno != 0 {
		m.CloseFiles()
		return fail(a.Errno)
	}
	return a, m.Files, nil
}

func (f *containerFS) Open(name string) (fs.File, error) {
	a, files, err := f.ask("open", KindOpenFile, name, true)
	if err != nil {
		return nil, err
	}
	info, err := infoOf("open", name, a.Stat)
	switch {
	case err != nil:
	case len(files) == 1:
		return &openFile{files[0], info}, nil
	case info.IsDir():
		return &openDir{fs: f, name: name, info: info}, nil
	default:
		err = &fs.PathError{Op: "open", Path: name, Err: Errorf(CodeUnsupported, "it is a %s, and only regular files and directories can be opened", kindOf(info.Mode())).
			WithRemedy("use it with Exec, or a socket with Dial")}
	}
	closeAll(files)
	return nil, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	default:
		return "file of another kind"
	}
}

func (f *containerFS) Stat(name string) (fs.FileInfo, error)  { return f.stat("stat", name, true) }
func (f *containerFS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *containerFS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	a, files, err := f.ask(op, KindStatFile, name, follow)
	if err != nil {
		return nil, err
	}
	closeAll(files)
	return infoOf(op, name, a.Stat)
}

func (f *containerFS) ReadDir(name string) ([]fs.DirEntry, error) {
	a, files, err := f.ask("readdir", KindListFiles, name, true)
	if err != nil {
		return nil, err
	}
	closeAll(files)
	entries := make([]fs.DirEntry, len(a.Entries))
	for i := range a.Entries {
		entries[i] = fs.FileInfoToDirEntry(&fileInfo{&a.Entries[i]})
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func (f *containerFS) ReadLink(name string) (string, error) {
	a, files, err := f.ask("readlink", KindReadLink, name, false)
	if err != nil {
		return "", err
	}
	closeAll(files)
	return string(a.Link), nil
}

func (f *containerFS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(file)
	return content, pathError("read", name, err)
}

// pathError names the file in an error of the descriptor, which does not know its name.
func pathError(op, name string, err error) error {
	var e *fs.PathError
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if errors.As(err, &e) {
		err = e.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// fileInfo is an fs.FileInfo.
type fileInfo struct{ stat *FileStat }

func infoOf(op, name string, stat *FileStat) (*fileInfo, error) {
	if stat == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: Errorf(CodeProtocol, "the keeper did not describe it")}
	}
	return &fileInfo{stat}, nil
}

func (i *fileInfo) Name() string       { return string(i.stat.Name) }
func (i *fileInfo) Size() int64        { return i.stat.Size }
func (i *fileInfo) Mode() fs.FileMode  { return i.stat.Mode }
func (i *fileInfo) ModTime() time.Time { return time.Unix(i.stat.ModSeconds, i.stat.ModNanoseconds) }
func (i *fileInfo) IsDir() bool        { return i.stat.Mode.IsDir() }
func (i *fileInfo) Sys() any           { return &i.stat.FileSys }

// String is for messages.
func (i *fileInfo) String() string { return fs.FormatFileInfo(i) }

// openFile is a regular file.
type openFile struct {
	f    *os.File
	info *fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *openFile) Read(b []byte) (int, error) {
	n, err := f.f.Read(b)
	return n, pathError("read", f.info.Name(), err)
}

func (f *openFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(b, off)
	return n, pathError("read", f.info.Name(), err)
}

func (f *openFile) Seek(offset int64, whence int) (int64, error) {
	n, err := f.f.Seek(offset, whence)
	return n, pathError("seek", f.info.Name(), err)
}

// SyscallConn gives access to the open file, as for its attributes ([syscall.Conn]).
func (f *openFile) SyscallConn() (syscall.RawConn, error) { return f.f.SyscallConn() }

func (f *openFile) Close() error { return pathError("close", f.info.Name(), f.f.Close()) }

// openDir is a directory, which is listed when its entries are asked for.
type openDir struct {
	fs      *containerFS
	name    string
	info    *fileInfo
	entries []fs.DirEntry
	listed  bool
	closed  bool
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: syscall.EISDIR}
}

func (d *openDir) Close() error {
	if d.closed {
		return &fs.PathError{Op: "close", Path: d.name, Err: fs.ErrClosed}
	}
	d.closed = true
	return nil
}

func (d *openDir) ReadDir(n int) (entries []fs.DirEntry, err error) {
	if d.closed {
		return nil, &fs.PathError{Op: "readdir", Path: d.name, Err: fs.ErrClosed}
	}
	if !d.listed {
		if d.entries, err = d.fs.ReadDir(d.name); err != nil {
			return nil, err
		}
		d.listed = true
	}
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	entries, d.entries = d.entries[:n:n], d.entries[n:]
	return entries, nil
}
