package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SaveFormat is the form of an archive of images.
type SaveFormat string

// The formats; the zero value is SaveDocker.
const (
	SaveDocker SaveFormat = "docker-archive" // a tar file for `docker load`, which is also an OCI layout
	SaveOCI    SaveFormat = "oci-archive"    // an OCI layout in a tar file
	SaveOCIDir SaveFormat = "oci-dir"        // an OCI layout in a directory
)

// SaveOptions say what to save. The zero value of all but Images will do.
type SaveOptions struct {
	Images   []string // names or ids; what is saved by its id has no name in the archive
	Platform string   // os/arch[/variant] of the manifests to save alone; empty for whole indexes, or the machine's
	Format   SaveFormat
}

// Save writes images to a tar archive: the blobs as they are in the store, so that digests stay. Equal images give equal
// archives. What it has written is no archive if there is an error.
//
// Errors: NotFound, BadReference, NoPlatform, DigestMismatch for a damaged blob; those of w.
func (s *Store) Save(ctx context.Context, w io.Writer, o SaveOptions) error {
	files, err := s.layoutOf(o)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := s.saveFile(ctx, out, f); err != nil {
			return err
		}
	}
	return out.Close()
}

// SaveDir writes images to the directory dir, which must be empty. It is an OCI layout once it has its index.json.
//
// Errors: those of Save, and of writing there.
func (s *Store) SaveDir(ctx context.Context, dir string, o SaveOptions) error {
	files, err := s.layoutOf(o)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory that was looked into
	for _, f := range files {
		if err := s.saveFileIn(ctx, root, f); err != nil {
			return err
		}
	}
	return nil
}

// saved is a file of the layout: text, or a blob of the store.
type saved struct {
	name string
	text []byte
	blob ocispec.Descriptor
}

func (f saved) size() int64 {
	if f.text != nil {
		return int64(len(f.text))
	}
	return f.blob.Size
}

// layoutOf lists the files of the layout, blobs first.
func (s *Store) layoutOf(o SaveOptions) ([]saved, error) {
	if !slices.Contains([]SaveFormat{"", SaveDocker, SaveOCI, SaveOCIDir}, o.Format) {
		return nil, fail(BadReference, "use docker-archive, oci-archive or oci-dir", "save as %q: there is no such format", o.Format)
	}
	l := &savedLayout{docker: []dockerImage{}, blobs: map[digest.Digest]ocispec.Descriptor{},
		index: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}}
	for _, name := range o.Images {
		if err := s.saveImage(l, name, o.Platform); err != nil {
			return nil, about(err, "save "+name)
		}
	}
	return l.files(o.Format)
}

// savedLayout is a layout that is put together.
type savedLayout struct {
	blobs  map[digest.Digest]ocispec.Descriptor
	index  ocispec.Index
	docker []dockerImage
}

func (s *Store) saveImage(l *savedLayout, name, platform string) error {
	want, err := parsePlatform(platform)
	if err != nil {
		return err
	}
	index, err := s.index()
	if err != nil {
		return err
	}
	entry, err := s.lookUp(index, name, want)
	if err == nil && entry == nil && platform == "" {
		entry, err = s.lookUp(index, name, ocispec.Platform{})
	}
	if err != nil {
		return err
	}
	if entry == nil {
		return s.notHere(name)
	}
	c, err := s.contentOf(*entry, platform != "")
	if err != nil {
		return err
	}
	l.add(c, *entry, calledBy(*entry, name))
	return nil
}

// calledBy is the full name of an entry if it was asked for by a name, else empty.
func calledBy(entry ocispec.Descriptor, name string) string {
	ref, err := ParseReference(name)
	if err != nil || !means(entry, ref) {
		return ""
	}
	if named, err := splitName(nameOf(entry)); err != nil || named.Tag == "" {
		return ""
	}
	return nameOf(entry)
}

func (l *savedLayout) add(c *content, entry ocispec.Descriptor, name string) {
	for _, d := range slices.Concat(c.documents, c.blobs) {
		l.blobs[d.Digest] = d
	}
	root := c.root
	if name != "" {
		root.Annotations = map[string]string{annotationRef: name, annotationName: name}
	}
	if isManifest(root.MediaType) {
		root.Platform = entry.Platform
	}
	same := func(d ocispec.Descriptor) bool { return d.Digest == root.Digest && nameOf(d) == name }
	if !slices.ContainsFunc(l.index.Manifests, same) {
		l.index.Manifests = append(l.index.Manifests, root)
	}
	for _, image := range c.images {
		if image.d.Digest == entry.Digest { // the older format knows one platform
			l.addDocker(image, name)
		}
	}
}

// addDocker describes an image for those who read manifest.json.
func (l *savedLayout) addDocker(image imageParts, name string) {
	d := dockerImage{Config: blobName(image.config.ID), RepoTags: []string{}, Layers: []string{}}
	for _, layer := range image.manifest.Layers {
		d.Layers = append(d.Layers, blobName(layer.Digest))
	}
	at := slices.IndexFunc(l.docker, func(o dockerImage) bool { return o.Config == d.Config && slices.Equal(o.Layers, d.Layers) })
	if at < 0 {
		at = len(l.docker)
		l.docker = append(l.docker, d)
	}
	if named, err := splitName(name); err == nil {
		if tag := named.suffixed(named.familiarName()); !slices.Contains(l.docker[at].RepoTags, tag) {
			l.docker[at].RepoTags = append(l.docker[at].RepoTags, tag)
		}
	}
}

func (l *savedLayout) files(format SaveFormat) ([]saved, error) {
	var files []saved
	for _, d := range l.blobs {
		files = append(files, saved{name: blobName(d.Digest), blob: d})
	}
	slices.SortFunc(files, func(a, b saved) int { return strings.Compare(a.name, b.name) })
	texts := []struct {
		name string
		v    any
	}{{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}}, {"manifest.json", l.docker}, {ocispec.ImageIndexFile, l.index}}
	for _, t := range texts {
		if t.name == "manifest.json" && (format == SaveOCI || format == SaveOCIDir) {
			continue
		}
		text, err := json.Marshal(t.v)
		if err != nil {
			return nil, err
		}
		files = append(files, saved{name: t.name, text: text})
	}
	return files, nil
}

// open returns the content of a file, which fails at its end if it is not what its digest says.
func (s *Store) open(f saved) (io.ReadCloser, error) {
	if f.text != nil {
		return io.NopCloser(bytes.NewReader(f.text)), nil
	}
	file, err := os.Open(s.blobPath(f.blob.Digest))
	if err != nil {
		return nil, noBlob(f.blob, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{&checkedReader{Reader: file, d: f.blob, hash: f.blob.Digest.Algorithm().Hash()}, file}, nil
}

func (s *Store) saveFile(ctx context.Context, out *tar.Writer, f saved) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: f.size()}); err != nil {
		return err
	}
	return s.copyFile(ctx, out, f)
}

func (s *Store) saveFileIn(ctx context.Context, root *os.Root, f saved) error {
	if err := root.MkdirAll(path.Dir(f.name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(filepath.FromSlash(f.name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(s.copyFile(ctx, file, f), file.Close())
}

func (s *Store) copyFile(ctx context.Context, to io.Writer, f saved) error {
	from, err := s.open(f)
	if err != nil {
		return err
	}
	n, err := io.Copy(to, cancellable{ctx, from})
	if err == nil && n != f.size() {
		err = fmt.Errorf("bug: %s has %d instead of %d bytes", f.name, n, f.size())
	}
	return errors.Join(err, from.Close())
}
