package rootfs

import (
	"encoding/json"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image whose layers lie unpacked on this machine.
type Image struct {
	Name      string          // what the store calls it; the reference itself for directories and the host
	Digest    digest.Digest   // of the manifest; empty for directories and the host
	ID        digest.Digest   // of the configuration, Docker's image id; empty likewise
	Config    ocispec.Image   // never without a PATH for directories and the host
	RawConfig json.RawMessage // the whole configuration, with what OCI does not define (health checks); empty likewise
	Layers    []string        // unpacked directories, lowest first; of a directory that one; of the host none
	Notes     []string        // what a user should know, as device nodes that were left out
	Host      bool            // the machine's own root is meant
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func plainImage(ref Reference) *Image {
	return &Image{
		Name: ref.String(),
		Config: ocispec.Image{
			Platform: hostPlatform(),
			Config:   ocispec.ImageConfig{Env: []string{defaultPath}},
		},
	}
}

func hostImage(ref Reference) *Image {
	img := plainImage(ref)
	img.Host = true
	return img
}

func directoryImage(ref Reference) (*Image, error) {
	ref, err := absolute(ref)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(ref.Path)
	if err != nil {
		return nil, fail(NotFound, "name a directory that holds a root file system", "use %s: %w", ref, err)
	}
	if !info.IsDir() {
		return nil, fail(NotFound, "name a directory that holds a root file system", "use %s: it is not a directory", ref)
	}
	img := plainImage(ref)
	img.Layers = []string{ref.Path}
	return img, nil
}

// absolute resolves a path from the working directory, without symlinks: the name stays what the user wrote.
func absolute(ref Reference) (Reference, error) {
	dir, err := os.Getwd()
	if err != nil {
		return ref, err
	}
	return ref.WithDir(dir), nil
}
