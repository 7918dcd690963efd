package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// IDs is the mapping of user and group ids in which layers are unpacked. The zero value will do for reading verbs.
type IDs struct {
	Key            string // names the mapping, the same for equal mappings; a directory name, with a tag's grammar
	Single         bool   // only id 0 exists: other owners are kept in the xattr user.rootlesscontainers
	MaxUID, MaxGID uint32 // highest ids that exist; of no meaning if Single
}

// StoreOptions say how to use a store.
type StoreOptions struct {
	IDs IDs
}

// Store is one user's images. Any number of processes may use one at once; its methods may be called concurrently.
type Store struct {
	dir   string
	ids   IDs
	lease lease
	whole *Store // of a scope: the store that it is one of
}

// DefaultDir is $BIVOUAC_HOME, or else bivouac in $XDG_DATA_HOME or ~/.local/share.
func DefaultDir() (string, error) {
	if dir := os.Getenv("BIVOUAC_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // relative ones are invalid by the XDG specification
		return filepath.Join(dir, "bivouac"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fail(BadConfig, "set BIVOUAC_HOME to a directory for the images", "find store: %w", err)
	}
	return filepath.Join(home, ".local", "share", "bivouac"), nil
}

// Open returns the store in dir. The directory is made by the first pull; until then the store is empty.
//
// Errors: BadConfig.
func Open(dir string, o StoreOptions) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fail(BadConfig, "name it by its absolute path", "open store %q: relative path", dir)
	}
	if o.IDs.Key != "" && !isTag(o.IDs.Key) {
		return nil, fail(BadConfig, "", "open store %s: bad key of the id mapping %q", dir, o.IDs.Key)
	}
	return &Store{dir: filepath.Clean(dir), ids: o.IDs}, nil
}

// Dir is the directory of the store, absolute.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *Store) blobPath(d digest.Digest) string {
	return s.path(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func (s *Store) partialPath(d digest.Digest) string { return s.path("partial", fileName(d)) }

func (s *Store) layerPath(diffID digest.Digest) string {
	return s.path("layers", s.ids.Key, diffID.Algorithm().String(), diffID.Encoded())
}

func (s *Store) layerTemp(diffID digest.Digest) string {
	return s.path("layers", s.ids.Key, "tmp", fileName(diffID))
}

func fileName(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() }

// create opens a file below the store for writing, with its directories.
func (s *Store) create(name string, flags int) (*os.File, error) {
	path := s.path(name)
	file, err := os.OpenFile(path, flags|os.O_CREATE, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, s.full(err)
		}
		file, err = os.OpenFile(path, flags|os.O_CREATE, 0o644)
	}
	return file, s.full(err)
}

// prepare makes dir a store, if it is none. The top directory alone keeps other users out: what is below belongs to
// several ids that must reach it.
func (s *Store) prepare(ctx context.Context) error {
	if _, err := os.Stat(s.path(ocispec.ImageLayoutFile)); err == nil {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s.full(err)
	}
	step("store directory made")
	lock, err := s.lock(ctx, "index", nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := os.MkdirAll(s.path(ocispec.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return s.full(err)
	}
	step("blobs directory made")
	if err := s.writeIndexIfNone(); err != nil {
		return err
	}
	return s.writeFile(ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion": "`+ocispec.ImageLayoutVersion+`"}`+"\n"))
}

// writeIndexIfNone keeps what a store without its oci-layout file may hold.
func (s *Store) writeIndexIfNone() error {
	index, err := s.index()
	if err != nil || index.Manifests != nil {
		return err
	}
	return s.writeIndex(index)
}

// full gives errors of a full or unfit file system their code and remedy.
func (s *Store) full(err error) error {
	if _, ok := codeOf(err); ok {
		return err // it was here before
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fail(NoSpace, "make room there, or set BIVOUAC_HOME to a directory on a larger file system",
			"write to store %s: %w", s.dir, err)
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission) && s.isOurs(err):
		return fail(BadConfig, "set BIVOUAC_HOME to a directory of your own", "use store %s: %w", s.dir, err)
	}
	return err
}

// isOurs is true for an error of a file below the store.
func (s *Store) isOurs(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && strings.HasPrefix(path.Path, s.dir)
}

// step marks the points between two changes of the store. Tests end the process there.
var step = func(string) {}
