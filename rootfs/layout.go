package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layoutSource is an OCI image layout, a directory or packed into a tar.
type layoutSource struct {
	ref         Reference
	files       files
	annotations map[string]string
}

func (l *layoutSource) resolve(context.Context) (resolved, error) {
	content, err := readPart(l.files, ocispec.ImageIndexFile, maxManifest)
	if err != nil {
		return resolved{}, unreadable(l.ref, err)
	}
	index, err := parseIndex(content)
	if err != nil {
		return resolved{}, err
	}
	root, err := pick(index.Manifests, l.ref.Tag)
	return resolved{root, maps.Clone(l.annotations)}, err
}

// pick returns the image called tag. Without one there must be no choice.
func pick(entries []ocispec.Descriptor, tag string) (ocispec.Descriptor, error) {
	called := func(d ocispec.Descriptor) bool {
		return tag == "" || d.Annotations[ocispec.AnnotationRefName] == tag || d.Annotations[annotationName] == tag
	}
	fitting := slices.DeleteFunc(slices.Clone(entries), func(d ocispec.Descriptor) bool { return !called(d) })
	if len(fitting) == 1 {
		return fitting[0], nil
	}
	var names []string
	for _, d := range entries {
		names = append(names, nameOf(d))
	}
	return ocispec.Descriptor{}, choiceError(len(fitting), tag, names)
}

func choiceError(fitting int, tag string, names []string) error {
	slices.Sort(names)
	list := strings.Join(slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" }), ", ")
	if tag == "" {
		return fail(NotFound, "add one of these names after a colon: "+list, "it has %d images", fitting)
	}
	if fitting > 1 {
		return fail(NotFound, "name another one: "+list, "it has %d images called %q", fitting, tag)
	}
	return fail(NotFound, "", "it has no image %q, only: %s", tag, list)
}

func (l *layoutSource) manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	content, err := readPart(l.files, blobName(d.Digest), maxManifest)
	return content, l.incomplete(d, err)
}

func (l *layoutSource) blob(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	body, err := openAt(l.files, blobName(d.Digest), d, offset)
	return body, l.incomplete(d, err)
}

func (l *layoutSource) incomplete(d ocispec.Descriptor, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fail(BadArchive, "copy the whole image into it", "read %s: blob %s is not in it", l.ref.Path, d.Digest)
	}
	return err
}

func (l *layoutSource) Close() error { return l.files.Close() }

func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// readPart reads a file that must not be large.
func readPart(files files, name string, limit int64) ([]byte, error) {
	file, err := files.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if file.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, file.Size(), limit)
	}
	return io.ReadAll(file)
}

// readJSON reads a small file into to.
func readJSON(files files, name string, limit int64, to any) error {
	content, err := readPart(files, name, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, to); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// openAt opens the file of a blob. A file that ends early would end early again.
func openAt(files files, name string, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	file, err := files.open(name)
	if err != nil {
		return nil, err
	}
	if file.Size() < d.Size {
		err = fail(Truncated, "", "read %s: it has %d instead of %d bytes", name, file.Size(), d.Size)
		return nil, closeIf(err, file)
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, closeIf(err, file)
	}
	return file, nil
}
