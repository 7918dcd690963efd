package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// LoadOptions say what to take of an archive.
type LoadOptions struct {
	Name     string      // what the archive is called in errors
	Platform string      // os/arch[/variant] of the images to take; empty for all that are there
	Progress func(Event) // called by one goroutine at a time; nil for none
}

// Load takes the images of an archive into the store, by their names: what `docker save` or `podman save` write, or an OCI
// layout, a directory or packed into a tar file, which may be compressed. A file that cannot be read at will, as a pipe, is
// copied into the store first. Images that were complete before an error stay.
//
// Of the forms that an archive may have at once, the layout counts, as it keeps the manifests; names are those of either.
//
// Errors: NotFound if there is no image, or none for the platform; BadArchive, BadImage, DigestMismatch, Truncated, TooLarge,
// NoSpace, UnmappedID, NoXattr.
func (s *Store) Load(ctx context.Context, archive *os.File, o LoadOptions) ([]*Image, error) {
	images, err := s.loadArchive(ctx, archive, o)
	if err != nil {
		return images, about(err, "load "+o.Name)
	}
	return images, nil
}

func (s *Store) loadArchive(ctx context.Context, archive *os.File, o LoadOptions) (_ []*Image, err error) {
	if _, err := parsePlatform(o.Platform); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	s.sweep()
	files, err := s.openLoaded(ctx, archive)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	l := &loading{store: s, o: o, files: files, ref: Reference{Path: o.Name}}
	if err := l.find(ctx); err != nil {
		return nil, err
	}
	return l.run(ctx)
}

// openLoaded takes the file over.
func (s *Store) openLoaded(ctx context.Context, archive *os.File) (files, error) {
	info, err := archive.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return handleFiles{archive}, nil
	}
	if !info.Mode().IsRegular() {
		if archive, err = s.spool(ctx, archive); err != nil {
			return nil, err
		}
	}
	if archive, err = s.plain(ctx, archive); err != nil {
		return nil, err
	}
	t := &tarFiles{file: archive, parts: map[string]tarPart{}}
	if err := t.scan(); err != nil {
		return nil, errors.Join(fail(BadArchive, "", "read archive: %w", err), archive.Close())
	}
	return t, nil
}

// spool copies a stream to a file of the store that has no name.
func (s *Store) spool(ctx context.Context, from *os.File) (*os.File, error) {
	defer from.Close()
	file, err := s.nameless()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(file, cancellable{ctx, from}); err != nil {
		return nil, errors.Join(s.full(fmt.Errorf("copy the archive into the store: %w", err)), file.Close())
	}
	return file, nil
}

// handleFiles is an open directory. Symlinks in it lead nowhere but inside.
type handleFiles struct{ *os.File }

func (h handleFiles) open(name string) (part, error) {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", h.Fd()))
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // a directory that was looked into
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // looked at first: a fifo would wait for its writer
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return filePart{file, info.Size()}, nil
}

// loading is an archive on its way into the store.
type loading struct {
	store *Store
	o     LoadOptions
	files files
	ref   Reference
	found []loaded
}

// loaded is an image of the archive.
type loaded struct {
	source source
	root   ocispec.Descriptor // a manifest
	over   digest.Digest      // the index that the name stands for, if it does for one
	want   string             // the image's platform
	names  []string           // full names, none if it has none
	digest digest.Digest      // of the configuration
}

// run takes what was found, one image after the other.
func (l *loading) run(ctx context.Context) (images []*Image, _ error) {
	report := &reporter{sink: l.o.Progress}
	for _, found := range l.found {
		names := found.names
		if names == nil {
			names = []string{""}
		}
		for _, name := range names {
			img, err := l.take(ctx, found, name, report)
			if err != nil {
				return images, err
			}
			images = append(images, img)
		}
	}
	return images, nil
}

func (l *loading) take(ctx context.Context, found loaded, name string, report *reporter) (*Image, error) {
	annotations := map[string]string{}
	if name != "" {
		ref, err := splitName(name)
		if err != nil {
			return nil, err
		}
		annotations = localName(ref)
	}
	if found.over != "" {
		annotations[annotationRoot] = found.over.String()
	}
	p := &pull{store: l.store, source: found.source, o: PullOptions{Platform: found.want}, report: report,
		found: resolved{found.root, annotations}}
	return p.run(ctx)
}
