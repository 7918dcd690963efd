package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxTarEntries bounds the memory for the names in an archive of images: it has some files for each layer.
const maxTarEntries = 1 << 20

// tarFiles are the files in a tar archive, read in place: nothing is extracted, so no name can do harm.
type tarFiles struct {
	file  *os.File
	parts map[string]tarPart
}

type tarPart struct {
	offset, size int64
	link         string // of a symlink or hard link, resolved to a name in the archive
}

// openTar reads the names in an archive. A compressed one is decompressed to a file that has no name.
func (s *Store) openTar(ctx context.Context, ref Reference) (*tarFiles, error) {
	file, err := openRegular(ref.Path)
	if err != nil {
		return nil, unreadable(ref, err)
	}
	if file, err = s.plain(ctx, file); err != nil {
		return nil, about(err, "read "+ref.Path)
	}
	t := &tarFiles{file: file, parts: map[string]tarPart{}}
	if err := t.scan(); err != nil {
		return nil, errors.Join(unreadable(ref, err), file.Close())
	}
	return t, nil
}

// plain returns file itself if it is not compressed, else a new one; at its beginning.
func (s *Store) plain(ctx context.Context, file *os.File) (*os.File, error) {
	head, err := magic(file, len(xzMagic))
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil || !isCompressed(head) {
		return file, closeIf(err, file)
	}
	defer file.Close()
	unpacked, err := s.nameless()
	if err != nil {
		return nil, err
	}
	if err := decompressTo(ctx, unpacked, file); err != nil {
		return nil, s.full(closeIf(err, unpacked))
	}
	return unpacked, nil
}

// nameless makes a temporary file that goes with its last user.
func (s *Store) nameless() (*os.File, error) {
	file, err := s.create(filepath.Join("tmp", "archive-"+rand.Text()), os.O_RDWR|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// magic returns the first bytes of a file, none if it has fewer.
func magic(file io.ReaderAt, size int) ([]byte, error) {
	head := make([]byte, size)
	if n, err := file.ReadAt(head, 0); n < len(head) {
		return nil, ignore(err, io.EOF)
	}
	return head, nil
}

func isCompressed(head []byte) bool {
	return isGzip(head) || bytes.HasPrefix(head, []byte(bzip2Magic)) || bytes.Equal(head, []byte(xzMagic)) ||
		len(head) >= len(zstdMagic) && isZstd(head[:len(zstdMagic)])
}

func decompressTo(ctx context.Context, to io.WriteSeeker, from io.Reader) error {
	r, err := Decompress(cancellable{ctx, from})
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, r); err != nil {
		return errors.Join(err, r.Close())
	}
	_, err = to.Seek(0, io.SeekStart)
	return errors.Join(err, r.Close())
}

func closeIf(err error, c io.Closer) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, c.Close())
}

// scan notes where each file lies. archive/tar reads whole blocks, so the file is at the content after a header.
func (t *tarFiles) scan() error {
	r := tar.NewReader(t.file)
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.add(header); err != nil {
			return err
		}
	}
}

func (t *tarFiles) add(header *tar.Header) error {
	if len(t.parts) == maxTarEntries {
		return fmt.Errorf("more than %d files", maxTarEntries)
	}
	name := inside(header.Name)
	switch header.Typeflag {
	case tar.TypeReg:
		offset, err := t.file.Seek(0, io.SeekCurrent)
		t.parts[name] = tarPart{offset: offset, size: header.Size}
		return err
	case tar.TypeSymlink:
		t.parts[name] = tarPart{link: inside(path.Join(path.Dir(name), header.Linkname))}
	case tar.TypeLink:
		t.parts[name] = tarPart{link: inside(header.Linkname)}
	}
	return nil
}

// inside is a name without leading slash or dots.
func inside(name string) string {
	return strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(name)), "/")
}

// maxLinks is how many links may lead to each other.
const maxLinks = 8

func (t *tarFiles) open(name string) (part, error) {
	name = inside(name)
	for range maxLinks {
		found, ok := t.parts[name]
		if !ok {
			break
		}
		if found.link == "" {
			return section{io.NewSectionReader(t.file, found.offset, found.size)}, nil
		}
		name = found.link
	}
	return nil, &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

func (t *tarFiles) Close() error { return t.file.Close() }
