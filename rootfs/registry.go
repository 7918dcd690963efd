package rootfs

import (
	"context"
	"errors"
	"io"
	"net/url"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registrySource is an image in a registry, its mirrors included.
type registrySource struct {
	net   *network
	ref   Reference // its name; of several meanings of a short name the first that exists
	known bool      // the store has an image of that name: its digest is likely all we need

	meanings  []Reference
	auth      keychain
	plainHTTP bool
	endpoints []*endpoint // where the image is, the one that answered first
	root      []byte      // what the name stands for, if it was fetched
	rootDesc  ocispec.Descriptor
}

func newRegistrySource(ref Reference, o PullOptions, known bool, report *reporter) (*registrySource, error) {
	net, err := newNetwork(o, report)
	if err != nil {
		return nil, err
	}
	meanings, err := net.conf.meanings(ref)
	if err != nil {
		return nil, err
	}
	return &registrySource{net: net, ref: ref, known: known, meanings: meanings, auth: keychain{report, o.Helper},
		plainHTTP: o.PlainHTTP}, nil
}

// resolve asks for each meaning of the name until one exists.
func (r *registrySource) resolve(ctx context.Context) (resolved, error) {
	var missing error
	for _, meaning := range r.meanings {
		err := r.resolveAs(ctx, meaning)
		if err == nil {
			return resolved{r.rootDesc, r.annotations(meaning)}, nil
		}
		missing = errors.Join(missing, err)
		if !errors.Is(err, NotFound) {
			return resolved{}, err
		}
	}
	if len(r.meanings) == 1 {
		return resolved{}, missing
	}
	return resolved{}, fail(NotFound, "write the name with its registry", "find %s in any of the search registries: %w", r.ref, firstOf(missing))
}

// firstOf keeps a joined error on one line.
func firstOf(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()[0]
	}
	return err
}

func (r *registrySource) annotations(meaning Reference) map[string]string {
	annotations := map[string]string{
		annotationRef: meaning.stored(), annotationName: meaning.stored(),
		annotationRepo: meaning.Domain + "/" + meaning.Repository,
	}
	if meaning != r.ref {
		annotations[annotationShort] = r.ref.stored()
	}
	return annotations
}

// resolveAs tries the mirrors of one meaning and then its home, whose answer is the one that counts if all fail.
func (r *registrySource) resolveAs(ctx context.Context, meaning Reference) error {
	places, err := r.net.conf.places(meaning, r.plainHTTP)
	if err != nil {
		return err
	}
	for i := range places {
		e := &endpoint{place: places[i], net: r.net, auth: r.auth}
		if err = r.ask(ctx, e, meaning); err == nil {
			r.choose(e, places[i+1:])
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e.mirror {
			r.net.report.note("mirror: " + err.Error())
		}
	}
	return err
}

// choose keeps the places after the one that answered, in case it fails later.
func (r *registrySource) choose(first *endpoint, rest []place) {
	r.endpoints = []*endpoint{first}
	for _, p := range rest {
		r.endpoints = append(r.endpoints, &endpoint{place: p, net: r.net, auth: r.auth})
	}
}

// ask prefers the few bytes of a HEAD if they are likely enough. Not all registries answer one well.
func (r *registrySource) ask(ctx context.Context, e *endpoint, ref Reference) (err error) {
	if _, err := e.login(ctx); err != nil {
		return explain(err, e.host())
	}
	if r.known {
		if r.rootDesc, err = e.head(ctx, ref); err == nil {
			return nil
		}
	}
	r.rootDesc, r.root, err = e.get(ctx, ref)
	return err
}

func (r *registrySource) manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if r.root != nil && d.Digest == r.rootDesc.Digest {
		return r.root, nil
	}
	return firstAnswer(r, func(e *endpoint) ([]byte, error) {
		_, content, err := e.get(ctx, Reference{Digest: d.Digest})
		return content, err
	})
}

func (r *registrySource) blob(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	body, err := firstAnswer(r, func(e *endpoint) (io.ReadCloser, error) { return e.blob(ctx, d, offset) })
	if err != nil && isForeign(d.MediaType) {
		for _, address := range d.URLs {
			if body, err = r.foreign(ctx, address, d, offset); err == nil {
				break
			}
		}
	}
	return body, err
}

// foreign opens a blob that the image's author may not put into registries. No credentials are sent there.
func (r *registrySource) foreign(ctx context.Context, address string, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	to, err := url.Parse(address)
	if err != nil {
		return nil, fail(BadImage, "", "read image manifest: %w", err)
	}
	if err := mayLead(r.endpoints[0].repo.RegistryStr(), to.Host); err != nil {
		return nil, err
	}
	body, err := getFrom(ctx, r.net, address, offset, d.Size)
	return body, explain(err, to.Host)
}

// firstAnswer asks the endpoints in turn until one has what we want.
func firstAnswer[T any](r *registrySource, ask func(*endpoint) (T, error)) (answer T, err error) {
	for _, e := range r.endpoints {
		if answer, err = ask(e); err == nil || errors.Is(err, context.Canceled) {
			return answer, err
		}
	}
	return answer, err
}

func (r *registrySource) Close() error {
	r.net.close()
	return nil
}
