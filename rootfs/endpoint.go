package rootfs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// endpoint is a repository of one registry, with the credentials for it.
type endpoint struct {
	place
	net    *network
	auth   authn.Keychain
	scopes []string // of a bearer's token; none means to pull from repo

	mu sync.Mutex
	rt http.RoundTripper // nil until the first login
}

// host is how people call the registry.
func (e *endpoint) host() string {
	if host := e.repo.RegistryStr(); host != legacyDomain {
		return host
	}
	return defaultDomain
}

// login finds out how the registry wants to be talked to, once.
func (e *endpoint) login(ctx context.Context) (http.RoundTripper, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rt != nil {
		return e.rt, nil
	}
	auth, err := authn.Resolve(ctx, e.auth, e.repo)
	if err != nil {
		return nil, err
	}
	scopes := e.scopes
	if scopes == nil {
		scopes = []string{e.repo.Scope(transport.PullScope)}
	}
	e.rt, err = transport.NewWithContext(ctx, e.repo.Registry, auth, e.net, scopes)
	return e.rt, err
}

func (e *endpoint) options(ctx context.Context) ([]remote.Option, error) {
	rt, err := e.login(ctx)
	return []remote.Option{remote.WithTransport(rt), remote.WithContext(ctx)}, err
}

// head asks what a tag or digest means at the moment.
func (e *endpoint) head(ctx context.Context, ref Reference) (ocispec.Descriptor, error) {
	options, err := e.options(ctx)
	if err != nil {
		return ocispec.Descriptor{}, explain(err, e.host())
	}
	found, err := remote.Head(e.reference(ref), options...)
	if err != nil {
		return ocispec.Descriptor{}, explain(err, e.host())
	}
	return ocispec.Descriptor{MediaType: string(found.MediaType), Digest: digest.Digest(found.Digest.String()), Size: found.Size}, nil
}

// get fetches an index or manifest.
func (e *endpoint) get(ctx context.Context, ref Reference) (ocispec.Descriptor, []byte, error) {
	options, err := e.options(ctx)
	if err != nil {
		return ocispec.Descriptor{}, nil, explain(err, e.host())
	}
	found, err := remote.Get(e.reference(ref), options...)
	if err != nil {
		return ocispec.Descriptor{}, nil, explain(err, e.host())
	}
	if len(found.Manifest) > maxManifest {
		return ocispec.Descriptor{}, nil, fail(TooLarge, "", "ask registry %s: a manifest of %d bytes", e.host(), len(found.Manifest))
	}
	d := ocispec.Descriptor{MediaType: string(found.MediaType), Size: int64(len(found.Manifest)),
		Digest: digest.Canonical.FromBytes(found.Manifest)}
	if ref.Digest != "" {
		d.Digest = ref.Digest
	}
	return d, found.Manifest, nil
}

func (e *endpoint) reference(ref Reference) name.Reference {
	if ref.Digest != "" {
		return e.repo.Digest(ref.Digest.String())
	}
	return e.repo.Tag(ref.Tag)
}

// blob opens a layer or configuration at an offset.
func (e *endpoint) blob(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	rt, err := e.login(ctx)
	if err != nil {
		return nil, explain(err, e.host())
	}
	address := url.URL{Scheme: e.repo.Scheme(), Host: e.repo.RegistryStr(), Path: "/v2/" + e.repo.RepositoryStr() + "/blobs/" + d.Digest.String()}
	body, err := getFrom(ctx, rt, address.String(), offset, d.Size)
	return body, explain(err, e.host())
}

// getFrom opens what an address gives, from offset on. Servers that know no ranges send all, and we skip.
func getFrom(ctx context.Context, rt http.RoundTripper, address string, offset, size int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, size-1)) // some take no open range
	}
	resp, err := (&http.Client{Transport: rt, CheckRedirect: checkRedirect}).Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return skipTo(resp, offset)
}

// maxRedirects is net/http's own limit.
const maxRedirects = 10

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return mayLead(via[0].URL.Host, req.URL.Host)
}

// mayLead keeps other machines from making us ask servers that only this one reaches.
func mayLead(from, to string) error {
	if isLoopback(to) && !isLoopback(from) {
		return fail(Blocked, "", "ask %s: %s sends us there", to, from)
	}
	return nil
}

func skipTo(resp *http.Response, offset int64) (io.ReadCloser, error) {
	var at int64
	if resp.StatusCode == http.StatusPartialContent {
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &at); err != nil || at > offset {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("the answer has the range %q instead of the one from %d on", resp.Header.Get("Content-Range"), offset)
		}
	}
	return &skipper{resp.Body, offset - at}, nil
}

// skipper drops the first bytes of a body. A Read that drops some returns none.
type skipper struct {
	io.ReadCloser
	left int64
}

func (s *skipper) Read(b []byte) (int, error) {
	if s.left == 0 {
		return s.ReadCloser.Read(b)
	}
	n, err := s.ReadCloser.Read(b[:min(s.left, int64(len(b)))])
	s.left -= int64(n)
	return 0, err
}
