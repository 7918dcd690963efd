package testkit

import (
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/bivouac-run/bivouac/sandbox"
)

// FileOption says something about files that are put into a container.
type FileOption func(*fileMeta)

// fileMeta is what a file has besides its content.
type fileMeta struct {
	mode     fs.FileMode // 0 means that of the source
	uid, gid int
}

// Mode sets the permissions of files. Directories get those and the right to enter where there is one to read.
// The default is that of the source, or 0644 where it has none.
func Mode(mode fs.FileMode) FileOption { return func(m *fileMeta) { m.mode = mode.Perm() } }

// Owner sets the owner of files by numbers of the container. The default is root.
func Owner(uid, gid int) FileOption { return func(m *fileMeta) { m.uid, m.gid = uid, gid } }

// source is something to put into the container before its program starts.
type source struct {
	option string // as it was written, for messages
	target string
	meta   fileMeta
	write  func(*tarball, source) error
}

// File puts a file into the container before its program starts. Missing directories above it are made.
func File[T []byte | string](target string, content T, opts ...FileOption) Option {
	return addSource("File", target, opts, func(t *tarball, s source) error {
		return t.content(s.target, s.meta, []byte(content))
	})
}

// FileFrom is [File] with a reader, which is read to its end when the first container with this option is made.
func FileFrom(target string, r io.Reader, opts ...FileOption) Option {
	read := sync.OnceValues(func() ([]byte, error) { return io.ReadAll(r) })
	return addSource("FileFrom", target, opts, func(t *tarball, s source) error {
		content, err := read()
		if err != nil {
			return err
		}
		return t.content(s.target, s.meta, content)
	})
}

// Files puts a tree of files into a directory of the container before its program starts, such as an embed.FS.
func Files(dir string, tree fs.FS, opts ...FileOption) Option {
	return addSource("Files", dir, opts, func(t *tarball, s source) error { return t.tree(s.target, s.meta, tree) })
}

// HostFile copies a file of the host, or a directory with all that is in it, to a path of the container before its program
// starts. The program cannot change the host's.
func HostFile(hostPath, target string, opts ...FileOption) Option {
	return addSource("HostFile", target, opts, func(t *tarball, s source) error { return t.host(s.target, s.meta, hostPath) })
}

func addSource(option, target string, opts []FileOption, write func(*tarball, source) error) Option {
	return func(s *settings) {
		src := source{option: option + "(" + target + ")", target: path.Clean(target), write: write}
		for _, o := range opts {
			o(&src.meta)
		}
		if !path.IsAbs(target) {
			s.refuse("%s: needs an absolute path of the container", src.option)
			return
		}
		s.files = append(s.files, src)
	}
}

// Bind mounts a file or directory of the host. What the program changes there is changed on the host.
func Bind(hostPath, target string) Option { return bind("Bind", hostPath, target, false) }

// BindReadOnly mounts a file or directory of the host so that the program cannot change it.
func BindReadOnly(hostPath, target string) Option {
	return bind("BindReadOnly", hostPath, target, true)
}

func bind(option, hostPath, target string, readOnly bool) Option {
	return func(s *settings) {
		abs, err := absolute(hostPath)
		if err != nil {
			s.refuse("%s(%s): %v", option, hostPath, err)
			return
		}
		s.spec.Mounts = append(s.spec.Mounts, sandbox.Mount{Type: sandbox.MountBind, Source: abs, Target: target, ReadOnly: readOnly})
	}
}

// TmpfsOption says something about a memory file system.
type TmpfsOption func(*sandbox.Mount)

// TmpfsSize limits a memory file system, in bytes. The default is half of the memory.
func TmpfsSize(bytes int64) TmpfsOption { return func(m *sandbox.Mount) { m.Size = bytes } }

// TmpfsMode sets the permissions of a memory file system's root. The default is 01777.
func TmpfsMode(mode fs.FileMode) TmpfsOption {
	return func(m *sandbox.Mount) {
		m.Mode = uint32(mode.Perm())
		if mode&fs.ModeSticky != 0 {
			m.Mode |= 0o1000
		}
	}
}

// TmpfsExec allows programs to be run from a memory file system.
func TmpfsExec() TmpfsOption { return func(m *sandbox.Mount) { m.Exec = true } }

// Tmpfs mounts a memory file system.
func Tmpfs(target string, opts ...TmpfsOption) Option {
	return func(s *settings) {
		m := sandbox.Mount{Type: sandbox.MountTmpfs, Target: target}
		for _, o := range opts {
			o(&m)
		}
		s.spec.Mounts = append(s.spec.Mounts, m)
	}
}

// absolute makes a host path absolute and checks that there is something.
func absolute(hostPath string) (string, error) {
	if _, err := os.Stat(hostPath); err != nil {
		return "", err
	}
	return absPath(hostPath)
}
