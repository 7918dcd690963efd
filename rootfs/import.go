package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// importArchive returns the image of a layout or archive. It is copied into the store, where its entry has no name but
// says where it came from; as long as the file stays the same that one is used.
func (s *Store) importArchive(ctx context.Context, ref Reference, o PullOptions) (*Image, error) {
	ref, err := absolute(ref)
	if err != nil {
		return nil, err
	}
	stamp, err := stampOf(ref)
	if err != nil {
		return nil, err
	}
	if o.Policy != Always {
		if img, err := s.imported(ref, stamp, o); err != nil || img != nil {
			return img, err
		}
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	src, err := s.openArchive(ctx, ref, stamp)
	if err != nil {
		return nil, err
	}
	return s.fetch(ctx, src, o, &reporter{sink: o.Progress})
}

// imported returns nil unless the file was imported as it is now.
func (s *Store) imported(ref Reference, stamp string, o PullOptions) (*Image, error) {
	want, err := o.platform()
	if err != nil {
		return nil, err
	}
	entry, ok, err := s.find(ref, want)
	if err != nil || !ok || entry.Annotations[annotationStamp] != stamp {
		return nil, err
	}
	return s.load(entry, o.IgnoreChownErrors)
}

// stampOf tells one state of a file from the next. A layout changes with its index.json.
func stampOf(ref Reference) (string, error) {
	path := ref.Path
	if ref.Transport == OCI {
		path = filepath.Join(path, ocispec.ImageIndexFile)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", unreadable(ref, &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return fmt.Sprintf("%d:%d:%d:%d.%09d:%d.%09d", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec), nil
}

func unreadable(ref Reference, err error) error {
	if _, ok := codeOf(err); ok {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return fail(NotFound, "check the path", "read %s: %w", ref.Path, err)
	}
	return fail(BadArchive, "", "read %s: %w", ref.Path, err)
}

func (s *Store) openArchive(ctx context.Context, ref Reference, stamp string) (source, error) {
	annotations := map[string]string{annotationFrom: ref.String(), annotationStamp: stamp}
	if ref.Transport == OCI {
		return &layoutSource{ref: ref, files: dirFiles(ref.Path), annotations: annotations}, nil
	}
	files, err := s.openTar(ctx, ref)
	if err != nil {
		return nil, err
	}
	if ref.Transport == OCIArchive {
		return &layoutSource{ref: ref, files: files, annotations: annotations}, nil
	}
	return &dockerSource{ref: ref, files: files, annotations: annotations}, nil
}

// files is a directory or archive, read by names relative to it.
type files interface {
	open(name string) (part, error)
	Close() error
}

// part is one regular file.
type part interface {
	io.ReadCloser
	io.ReaderAt
	io.Seeker
	Size() int64
}

// dirFiles is a directory. What is read from it is checked by digest, so it may contain symlinks.
type dirFiles string

type filePart struct {
	*os.File
	size int64
}

func (f filePart) Size() int64 { return f.size }

func (d dirFiles) open(name string) (part, error) {
	file, err := openRegular(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return filePart{file, info.Size()}, nil
}

// openRegular opens a file for reading, and does not wait for the writer of a fifo.
func openRegular(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	return file, closeIf(err, file)
}

func (d dirFiles) Close() error { return nil }
