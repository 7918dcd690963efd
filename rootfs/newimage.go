package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// NewImage says what an image is made of.
type NewImage struct {
	// Base is an image of the store whose layers come first; nil starts from scratch.
	Base *Image
	// Layers come on top of those, lowest first. Empty ones are left out.
	Layers []Layer
	// Config is the whole configuration but for its rootfs; what OCI does not define is kept. Without os or architecture the
	// image is for this machine.
	Config json.RawMessage
	// Names are those of the image from then on; all of them are names in registries.
	Names []Reference
	// Annotations are the manifest's.
	Annotations map[string]string
}

// CreateImage makes an image of layers of the store. Without names it is in the store by its id alone. What this process
// makes is not removed before the process ends.
//
// Errors: NoSpace; BadImage for a configuration that is none; NotFound if Base was removed, or is a directory; BadReference.
func (s *Store) CreateImage(ctx context.Context, o NewImage) (*Image, error) {
	img, err := s.createImage(ctx, o)
	if err != nil {
		return nil, about(s.full(err), "make an image")
	}
	return img, nil
}

func (s *Store) createImage(ctx context.Context, o NewImage) (*Image, error) {
	for _, name := range o.Names {
		if err := checkNewName(name); err != nil {
			return nil, err
		}
	}
	layers, diffIDs, err := s.stack(o)
	if err != nil {
		return nil, err
	}
	content, err := withRootFS(o.Config, diffIDs)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(content, len(layers))
	if err != nil {
		return nil, err
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: describe(ocispec.MediaTypeImageConfig, content), Layers: layers, Annotations: o.Annotations}
	entry, err := s.storeImage(ctx, manifest, content, diffIDs)
	if err != nil {
		return nil, err
	}
	if err := s.ensureParents(ctx, diffIDs, &reporter{}); err != nil {
		return nil, err
	}
	return s.name(ctx, entry, config, o.Names)
}

// checkNewName takes names that a registry could have.
func checkNewName(r Reference) error {
	if r.Transport != Registry || r.Digest != "" {
		return fail(BadReference, "write NAME[:TAG]", "name an image %q: not a name with a tag", r.String())
	}
	return nil
}

// stack returns the layers of the image, lowest first.
func (s *Store) stack(o NewImage) (layers []ocispec.Descriptor, diffIDs []digest.Digest, err error) {
	if o.Base != nil {
		if layers, err = s.baseLayers(o.Base); err != nil {
			return nil, nil, err
		}
		diffIDs = slices.Clone(o.Base.Config.RootFS.DiffIDs)
	}
	for _, l := range o.Layers {
		if !l.Empty {
			layers, diffIDs = append(layers, l.Descriptor), append(diffIDs, l.DiffID)
		}
	}
	return layers, diffIDs, nil
}

// baseLayers are the layers of a manifest. One without blobs in the store, as of an image that was removed, is none.
func (s *Store) baseLayers(base *Image) ([]ocispec.Descriptor, error) {
	if base.Digest == "" {
		return nil, fail(NotFound, "start from an image", "use %s as base image: it is a directory", base.Name)
	}
	content, err := s.readBlob(ocispec.Descriptor{Digest: base.Digest})
	if err != nil {
		return nil, fail(NotFound, "pull it again", "read base image %s: %w", base.Name, err)
	}
	manifest, err := parseManifest(content)
	if err != nil {
		return nil, err
	}
	layers := slices.Clone(manifest.Layers)
	for i := range layers {
		layers[i].MediaType = ociLayer(layers[i].MediaType)
	}
	return layers, nil
}

// ociLayer is OCI's name for Docker's media types of layers, which differ in nothing else.
func ociLayer(media string) string {
	switch media {
	case "application/vnd.docker.image.rootfs.diff.tar.gzip":
		return ocispec.MediaTypeImageLayerGzip
	case "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return ocispec.MediaTypeImageLayerZstd
	case "application/vnd.docker.image.rootfs.diff.tar":
		return ocispec.MediaTypeImageLayer
	case dockerForeignLayer:
		return "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	}
	return media
}

// withRootFS puts the diff IDs into a configuration, and what it must have besides.
func withRootFS(config json.RawMessage, diffIDs []digest.Digest) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &fields); err != nil {
			return nil, fail(BadImage, "", "read the new image's configuration: %w", err)
		}
	}
	here := hostPlatform()
	defaults := map[string]any{"os": here.OS, "architecture": here.Architecture}
	if here.Variant != "" {
		defaults["variant"] = here.Variant
	}
	if fields["architecture"] != nil {
		delete(defaults, "variant")
	}
	for key, value := range defaults {
		if fields[key] == nil {
			fields[key] = mustMarshal(value)
		}
	}
	if diffIDs == nil {
		diffIDs = []digest.Digest{}
	}
	fields["rootfs"] = mustMarshal(ocispec.RootFS{Type: "layers", DiffIDs: diffIDs})
	return marshal(fields)
}

// marshal is json.Marshal that leaves <, > and & as they are; keys are sorted.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// mustMarshal is for values that can always be encoded.
func mustMarshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("bug: %v", err))
	}
	return b
}

// storeImage stores manifest and configuration, and returns the entry of the image.
func (s *Store) storeImage(ctx context.Context, m ocispec.Manifest, config []byte, diffIDs []digest.Digest) (entry ocispec.Descriptor, err error) {
	if m.Layers == nil {
		m.Layers = []ocispec.Descriptor{}
	}
	content, err := marshal(m)
	if err != nil {
		return entry, err
	}
	entry = describe(m.MediaType, content)
	if err := s.hold(imageKeys(entry, m, diffIDs)...); err != nil {
		return entry, err
	}
	for i, d := range m.Layers {
		if _, ok := s.readLayer(diffIDs[i]); !ok || !s.hasBlob(d) {
			return entry, fail(NotFound, "do it again", "layer %s is not in the store any more", diffIDs[i])
		}
	}
	if err := s.storeBlob(ctx, m.Config, config); err != nil {
		return entry, err
	}
	return entry, s.storeBlob(ctx, entry, content)
}

// name registers the image under its names, or without one.
func (s *Store) name(ctx context.Context, entry ocispec.Descriptor, config ocispec.Image, names []Reference) (*Image, error) {
	platform := platforms.Normalize(config.Platform)
	entry.Platform = &platform
	named := []ocispec.Descriptor{entry}
	for i, name := range names {
		if i > 0 {
			named = append(named, entry)
		}
		named[i].Annotations = localName(name)
	}
	if err := s.registerAll(ctx, named); err != nil {
		return nil, err
	}
	img, err := s.load(named[0], false)
	if img == nil && err == nil {
		err = fmt.Errorf("bug: %s is not complete in store %s", entry.Digest, s.dir)
	}
	return img, err
}

func (s *Store) registerAll(ctx context.Context, named []ocispec.Descriptor) error {
	return s.edit(ctx, func(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		for _, d := range named {
			entries = replace(entries, d)
		}
		return entries, nil
	})
}
