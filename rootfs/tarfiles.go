package rootfs

import (
	"archive/tar"
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
func (s *Store) openTar(ref Reference) (*tarFiles, error) {
	file, err := openRegular(ref.Path)
	if err != nil {
		return nil, unreadable(ref, err)
	}
	if file, err = s.plain(file); err != nil {
		return nil, about(err, "read "+ref.Path)
	}
	t := &tarFiles{file: file, parts: map[string]tarPart{}}
	if err := t.scan(); err != nil {
		return nil, errors.Join(unreadable(ref, err), file.Close())
	}
	return t, nil
}

// plain returns file itself if it is not compressed, else a new one.
func (s *Store) plain(file *os.File) (*os.File, error) {
	head, err := magic(file)
	if err != nil || !isGzip(head) && !isZstd(head) {
		return file, closeIf(err, file)
	}
	defer file.Close()
	unpacked, err := os.CreateTemp(s.path("tmp"), "archive-*")
	if err != nil {
		return nil, s.full(err)
	}
	if err := errors.Join(os.Remove(unpacked.Name()), decompressTo(unpacked, file)); err != nil {
		return nil, s.full(closeIf(err, unpacked))
	}
	return unpacked, nil
}

// magic returns the first bytes of a file, none if it has fewer.
func magic(file io.ReaderAt) ([]byte, error) {
	head := make([]byte, len(zstdMagic))
	if n, err := file.ReadAt(head, 0); n < len(head) {
		return nil, ignore(err, io.EOF)
	}
	return head, nil
}

func decompressTo(to io.WriteSeeker, from io.Reader) error {
	r, err := decompress(from)
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
