package rootfs

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// parallelLayers is how many layers are fetched and unpacked at once. Each needs about 10 MB of memory.
const parallelLayers = 3

// Pull returns the image that ref names, its blobs in the store and its layers unpacked. What is there already is not
// fetched again, also of an earlier pull that was killed. Images of layouts and archives are copied into the store, and
// again when the file has changed; directories and the host are used as they are. An id is looked up in the store alone,
// whatever the policy: it never comes to mean another image. The beginning of one is taken for an id, unless the policy is
// Always, if the store has no such name but an image with such an id.
//
// Errors: any Code but BadReference.
func (s *Store) Pull(ctx context.Context, ref Reference, o PullOptions) (*Image, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	switch ref.Transport {
	case Host:
		return hostImage(ref), nil
	case Rootfs:
		return directoryImage(ref)
	}
	if s.ids.Key == "" {
		return nil, fmt.Errorf("bug: store %s was opened for reading only", s.dir)
	}
	img, err := s.pull(ctx, ref, o)
	if err != nil {
		return nil, about(err, "pull "+ref.String())
	}
	return img, nil
}

func (s *Store) pull(ctx context.Context, ref Reference, o PullOptions) (*Image, error) {
	if ref.Transport == Stored {
		return s.pullStored(ctx, ref, o)
	}
	if ref.Transport != Registry {
		return s.importArchive(ctx, ref, o)
	}
	if o.Policy != Always {
		img, err := s.local(ctx, ref, o)
		if err == nil && img == nil && ref.mayBeID() {
			img, err = s.localByID(ctx, ref.familiarName(), o)
		}
		if err != nil || img != nil {
			return img, err
		}
	}
	if o.Policy == Never {
		return nil, fail(NotFound, "get it with `bivouac pull "+ref.String()+"`", "the image is not in the store")
	}
	want, err := o.platform()
	if err != nil {
		return nil, err
	}
	_, known, err := s.find(ref, want)
	if err != nil {
		return nil, err
	}
	report := &reporter{sink: o.Progress}
	src, err := newRegistrySource(ref, o, known, report)
	if err != nil {
		return nil, err
	}
	return s.fetch(ctx, src, o, report)
}

// fetch makes the store have the image of a source, and ends the source.
func (s *Store) fetch(ctx context.Context, src source, o PullOptions, report *reporter) (_ *Image, err error) {
	defer func() { err = closing(src, err) }()
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	s.sweep()
	found, err := src.resolve(ctx)
	if err != nil {
		return nil, err
	}
	p := &pull{store: s, source: src, o: o, report: report, found: found}
	return p.run(ctx)
}

func closing(src source, err error) error {
	if closed := src.Close(); err == nil {
		err = closed
	}
	return err
}

// pull is one image on its way into the store.
type pull struct {
	store  *Store
	source source
	o      PullOptions
	report *reporter
	found  resolved
	want   ocispec.Platform
}

func (p *pull) run(ctx context.Context) (_ *Image, err error) {
	if p.want, err = p.o.platform(); err != nil {
		return nil, err
	}
	d, manifest, err := p.manifest(ctx, p.found.root, 0)
	if err != nil {
		return nil, err
	}
	config, err := p.config(ctx, manifest)
	if err != nil {
		return nil, err
	}
	if err := p.store.hold(imageKeys(d, manifest, config.RootFS.DiffIDs)...); err != nil {
		return nil, err
	}
	if err := p.layers(ctx, manifest, config); err != nil {
		return nil, err
	}
	if err := p.store.ensureParents(ctx, config.RootFS.DiffIDs, p.report); err != nil {
		return nil, err
	}
	entry := p.entry(d, config)
	if err := p.store.register(ctx, entry); err != nil {
		return nil, err
	}
	img, err := p.store.load(entry, p.o.IgnoreChownErrors)
	if img == nil && err == nil {
		err = fmt.Errorf("bug: %s is not complete in store %s, or somebody removes it", d.Digest, p.store.dir)
	}
	return img, err
}

// maxNesting is how deep indexes may lie in each other.
const maxNesting = 4

// manifest descends to the manifest for the platform that is wanted, and stores it and each index on the way.
func (p *pull) manifest(ctx context.Context, d ocispec.Descriptor, depth int) (ocispec.Descriptor, ocispec.Manifest, error) {
	if err := p.store.hold(blobKey(d.Digest)); err != nil {
		return d, ocispec.Manifest{}, err
	}
	content, err := p.document(ctx, d)
	if err != nil {
		return d, ocispec.Manifest{}, err
	}
	d.Size = int64(len(content))
	if d.MediaType, err = sniff(content, d.MediaType); err != nil {
		return d, ocispec.Manifest{}, err
	}
	switch {
	case isManifest(d.MediaType):
		m, err := parseManifest(content)
		return d, m, err
	case !isIndex(d.MediaType):
		return d, ocispec.Manifest{}, unknownKind(d.MediaType)
	case depth == maxNesting:
		return d, ocispec.Manifest{}, fail(BadImage, "", "read image index: more than %d indexes in each other", maxNesting)
	}
	index, err := parseIndex(content)
	if err != nil {
		return d, ocispec.Manifest{}, err
	}
	chosen, err := choose(index, p.want)
	if err != nil {
		return d, ocispec.Manifest{}, err
	}
	return p.manifest(ctx, chosen, depth+1)
}

func unknownKind(mediaType string) error {
	if mediaType == dockerSchema1 || mediaType == dockerSchema1JWS {
		return fail(BadImage, "have it pushed again by any Docker since 2017, or copy it with `skopeo copy --format oci`",
			"its manifest is of Docker's schema 1, which is out of use")
	}
	return fail(BadImage, "only container images can be used", "it is of type %q", mediaType)
}

// document returns a manifest or index, from the store if it is there.
func (p *pull) document(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxManifest {
		return nil, fail(TooLarge, "", "manifest %s has %d bytes, more than %d", d.Digest, d.Size, maxManifest)
	}
	if content, err := p.store.readBlob(d); err == nil {
		return content, nil
	}
	content, err := p.source.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := verify(content, d); err != nil {
		return nil, err
	}
	return content, p.store.storeBlob(ctx, d, content)
}

// config returns the configuration, from the store if it is there.
func (p *pull) config(ctx context.Context, m ocispec.Manifest) (config ocispec.Image, err error) {
	if m.Config.Size > maxConfig {
		return config, fail(TooLarge, "", "configuration %s has %d bytes, more than %d", m.Config.Digest, m.Config.Size, maxConfig)
	}
	if err := p.store.hold(blobKey(m.Config.Digest)); err != nil {
		return config, err
	}
	content, err := p.store.readBlob(m.Config)
	if err != nil {
		if content, err = p.fetchConfig(ctx, m.Config); err != nil {
			return config, err
		}
	}
	if config, err = parseConfig(content, len(m.Layers)); err != nil {
		return config, err
	}
	return config, checkPlatform(config.Platform, p.want)
}

func (p *pull) fetchConfig(ctx context.Context, d ocispec.Descriptor) (content []byte, _ error) {
	err := p.store.receive(ctx, p.source, d, &reporter{}, func(r io.Reader) (err error) {
		content, err = io.ReadAll(r)
		return err
	})
	return content, err
}

// layers fetches and unpacks all layers. One that occurs twice, as empty ones do, is done once.
func (p *pull) layers(ctx context.Context, m ocispec.Manifest, config ocispec.Image) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	options := p.unpackOptions()
	seen := map[string]bool{}
	for i, d := range m.Layers {
		diffID := config.RootFS.DiffIDs[i]
		if key := d.Digest.String() + diffID.String(); !seen[key] {
			seen[key] = true
			l := &layer{store: p.store, source: p.source, d: d, diffID: diffID, report: p.report, o: options}
			group.Go(func() error { return l.ensure(ctx) })
		}
	}
	return group.Wait()
}

func (p *pull) unpackOptions() unpack.Options {
	o := p.store.unpackOptions()
	o.IgnoreChownErrors, o.Budget = p.o.IgnoreChownErrors, unpack.NewBudget(p.o.MaxUnpackedSize)
	return o
}

// unpackOptions are those that the id mapping decides.
func (s *Store) unpackOptions() unpack.Options {
	ids := s.ids
	o := unpack.Options{Single: ids.Single}
	if !ids.Single && ids.MaxUID > 0 && ids.MaxGID > 0 {
		o.UIDs = unpack.IDRanges{{Size: ids.MaxUID + 1}}
		o.GIDs = unpack.IDRanges{{Size: ids.MaxGID + 1}}
	}
	return o
}

// entry describes the image in index.json.
func (p *pull) entry(d ocispec.Descriptor, config ocispec.Image) ocispec.Descriptor {
	platform := platforms.Normalize(config.Platform)
	entry := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Annotations: p.found.annotations}
	if config.Architecture != "" {
		entry.Platform = &platform
	}
	if p.found.root.Digest != d.Digest {
		entry.Annotations[annotationRoot] = p.found.root.Digest.String()
	}
	if asked := platforms.Normalize(p.want); entry.Platform == nil || !platforms.OnlyStrict(asked).Match(platform) {
		entry.Annotations[annotationAsked] = platforms.FormatAll(asked)
	}
	return entry
}
