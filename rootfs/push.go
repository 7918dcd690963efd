package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// PushOptions say how to push. The zero value pushes all that the store has of what the name stands for.
type PushOptions struct {
	Platform string // os/arch[/variant] of the manifest to push alone; empty for the whole index or the machine's

	PlainHTTP bool   // also talk http to registries that are not on this machine
	CAFile    string // as in PullOptions

	Helper func(program, action string, input []byte) ([]byte, error) // as in PullOptions

	Progress func(Event) // called by one goroutine at a time; nil for none
}

// Pushed is what a name means in its registry after a push.
type Pushed struct {
	Reference Reference     // the full name
	Digest    digest.Digest // of the index or manifest
	Size      int64         // of that, in bytes
	ID        digest.Digest // of the configuration; of an index that of the machine's image
	Platform  string        // set if the image is one of an index of which not all was pushed
}

// Push sends the image that ref names to its registry, as it is in the store: with the same digests. Blobs that are there are
// not sent again. The manifest with the tag comes last, so whatever ends a push leaves the tag with its old meaning.
//
// Errors: BadReference, NotFound if the store has no such name, Unauthorized, Unreachable, RateLimited, Insecure, Blocked,
// TooLarge if the registry refuses a blob's size, DigestMismatch, BadConfig.
func (s *Store) Push(ctx context.Context, ref Reference, o PushOptions) (Pushed, error) {
	pushed, err := s.push(ctx, ref, o)
	if err != nil {
		return pushed, about(err, "push "+ref.String())
	}
	return pushed, nil
}

func (s *Store) push(ctx context.Context, ref Reference, o PushOptions) (Pushed, error) {
	ref, entry, err := s.pushable(ref, o.Platform)
	if err != nil {
		return Pushed{}, err
	}
	pushed, err := s.send(ctx, ref, entry, o.Platform != "", o)
	if err != nil {
		return Pushed{}, err
	}
	return pushed, s.markPushed(ctx, entry, pushed.Digest)
}

// send pushes what an entry of the index means, or with single its own manifest alone.
func (s *Store) send(ctx context.Context, ref Reference, entry ocispec.Descriptor, single bool, o PushOptions) (Pushed, error) {
	c, err := s.contentOf(entry, single)
	if err != nil {
		return Pushed{}, err
	}
	p, err := newPusher(s, ref, o)
	if err != nil {
		return Pushed{}, err
	}
	defer p.net.close()
	if err := p.push(ctx, c); err != nil {
		return Pushed{}, err
	}
	return p.pushed(c, entry), nil
}

// Names lists the names that the store has of a repository, which is what ref says before its tag: by what it is called there.
//
// Errors: BadReference, NotFound if there are none.
func (s *Store) Names(ref Reference) ([]Reference, error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	var names []Reference
	for _, d := range index.Manifests {
		named, err := splitName(nameOf(d))
		if err == nil && named.Tag != "" && named.Domain == ref.Domain && named.Repository == ref.Repository && !slices.Contains(names, named) {
			names = append(names, named)
		}
	}
	if names == nil {
		return nil, fail(NotFound, "", "find images of %s: the store has none", ref.familiarName())
	}
	return names, nil
}

// pushable returns the image of a name, and the full name.
func (s *Store) pushable(ref Reference, platform string) (Reference, ocispec.Descriptor, error) {
	if ref.Transport != Registry || ref.Digest != "" {
		return ref, ocispec.Descriptor{}, fail(BadReference, "write NAME[:TAG]", "only an image that has a name and a tag can be pushed")
	}
	want, err := parsePlatform(platform)
	if err != nil {
		return ref, ocispec.Descriptor{}, err
	}
	entry, ok, err := s.find(ref, want)
	if err == nil && !ok && platform == "" {
		entry, ok, err = s.find(ref, ocispec.Platform{})
	}
	if err != nil {
		return ref, entry, err
	}
	if !ok {
		return ref, entry, fail(NotFound, "give an image that name with `bivouac tag IMAGE "+ref.String()+"`", "the store has no image of that name")
	}
	full, err := splitName(nameOf(entry))
	return full, entry, err
}

// pusher is one image on its way to a registry.
type pusher struct {
	store   *Store
	ref     Reference
	home    *endpoint
	net     *network
	report  *reporter
	client  *http.Client
	origins map[digest.Digest]name.Repository // repositories of the same registry that have a blob
}

// answerTime is how long a registry may take to put a blob away after its last byte.
const answerTime = 10 * time.Minute

func newPusher(s *Store, ref Reference, o PushOptions) (*pusher, error) {
	report := &reporter{sink: o.Progress}
	net, err := newNetwork(PullOptions{PlainHTTP: o.PlainHTTP, CAFile: o.CAFile}, report)
	if err != nil {
		return nil, err
	}
	net.answerIn = answerTime
	home, err := net.conf.home(ref, o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	return &pusher{store: s, ref: ref, net: net, report: report,
		home: &endpoint{place: home, net: net, auth: keychain{report, o.Helper}}}, nil
}

// home is where an image is pushed to: no mirror.
func (c *registriesConf) home(ref Reference, plainHTTP bool) (place, error) {
	places, err := c.places(ref, plainHTTP)
	if err != nil {
		return place{}, err
	}
	return places[len(places)-1], nil
}

func (p *pusher) push(ctx context.Context, c *content) error {
	if err := p.findOrigins(c); err != nil {
		return err
	}
	if err := p.login(ctx); err != nil {
		return explain(err, p.home.host())
	}
	if err := p.blobs(ctx, c.blobs); err != nil {
		return err
	}
	for _, d := range c.documents {
		target := d.Digest.String()
		if d.Digest == c.root.Digest {
			target = p.ref.Tag
		}
		if err := p.document(ctx, d, target); err != nil {
			return explain(err, p.home.host())
		}
	}
	return nil
}

// login asks for a token that also lets blobs be taken from the repositories that have them.
func (p *pusher) login(ctx context.Context) error {
	p.home.scopes = []string{p.home.repo.Scope(transport.PushScope)}
	for _, origin := range p.origins {
		if scope := origin.Scope(transport.PullScope); !slices.Contains(p.home.scopes, scope) {
			p.home.scopes = append(p.home.scopes, scope)
		}
	}
	slices.Sort(p.home.scopes[1:])
	rt, err := p.home.login(ctx)
	p.client = &http.Client{Transport: rt, CheckRedirect: checkRedirect}
	return err
}

// findOrigins looks for blobs among the images that came from other repositories of the same registry.
func (p *pusher) findOrigins(c *content) error {
	index, err := p.store.index()
	if err != nil {
		return err
	}
	p.origins = map[digest.Digest]name.Repository{}
	for _, entry := range index.Manifests {
		origin, ok := p.origin(entry)
		if !ok {
			continue
		}
		manifest, _, err := p.store.read(entry)
		if err != nil {
			continue // what cannot be read is sent from here
		}
		for _, d := range append(manifest.Layers, manifest.Config) {
			if _, known := p.origins[d.Digest]; !known && slices.ContainsFunc(c.blobs, func(b ocispec.Descriptor) bool { return b.Digest == d.Digest }) {
				p.origins[d.Digest] = origin
			}
		}
	}
	return nil
}

func (p *pusher) origin(entry ocispec.Descriptor) (name.Repository, bool) {
	ref, err := splitName(entry.Annotations[annotationRepo])
	if err != nil || entry.Annotations[annotationLocal] != "" || ref.Domain != p.ref.Domain {
		return name.Repository{}, false
	}
	from, err := p.net.conf.home(ref, p.net.plainHTTP)
	if err != nil || from.repo.RegistryStr() != p.home.repo.RegistryStr() || from.repo == p.home.repo {
		return name.Repository{}, false
	}
	return from.repo, true
}

func (p *pusher) blobs(ctx context.Context, blobs []ocispec.Descriptor) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	for _, d := range blobs {
		group.Go(func() error { return explain((&upload{pusher: p, d: d}).ensure(ctx), p.home.host()) })
	}
	return group.Wait()
}

func (p *pusher) pushed(c *content, entry ocispec.Descriptor) Pushed {
	done := Pushed{Reference: p.ref, Digest: c.root.Digest, Size: c.root.Size}
	if c.part {
		done.Platform = platformOf(entry)
	}
	for _, image := range c.images {
		if image.d.Digest == entry.Digest {
			done.ID = image.config.ID
		}
	}
	return done
}

// markPushed notes what the registry has under the name, unless that means something else by now.
func (s *Store) markPushed(ctx context.Context, pushed ocispec.Descriptor, root digest.Digest) error {
	return s.edit(ctx, func(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		for i, d := range entries {
			if nameOf(d) != nameOf(pushed) || rootOf(d) != rootOf(pushed) || root == pushed.Digest && d.Digest != root {
				continue
			}
			entries[i] = annotated(d, map[string]string{annotationRoot: root.String()}, annotationLocal)
			if root == d.Digest {
				delete(entries[i].Annotations, annotationRoot)
			}
		}
		return entries, nil
	})
}

// noBlob names a blob that somebody removes while it is pushed.
func noBlob(d ocispec.Descriptor, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fail(NotFound, "pull the image again", "read blob %s: it is not in the store any more", d.Digest)
	}
	return err
}

func (p *pusher) open(d ocispec.Descriptor) (*os.File, error) {
	file, err := os.Open(p.store.blobPath(d.Digest))
	return file, noBlob(d, err)
}
