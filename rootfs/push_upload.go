package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// upload is one blob on its way to a registry, by the requests of the OCI distribution specification, sections "Pushing blobs"
// and "Mounting a blob from another repository": one that is there is left alone, one that another repository of the registry
// has is taken from there, and any other one is sent in one piece, whose end is put with the digest.
type upload struct {
	*pusher
	d ocispec.Descriptor
}

// ensure makes the registry have the blob. What breaks off begins again, as far as that may help.
func (u *upload) ensure(ctx context.Context) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.Multiplier = firstPause, 2
	try := func() (struct{}, error) {
		err := u.once(ctx)
		if err != nil && !mayHelp(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	_, err := backoff.Retry(ctx, try, backoff.WithBackOff(pauses), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, pause time.Duration) {
			u.report.send(Event{Layer: u.d.Digest, Kind: Retry,
				Text: fmt.Sprintf("%v, again in %s", explain(err, u.home.host()), pause.Round(10*time.Millisecond))})
		}))
	return err
}

// mayHelp is true for failures that another try may not meet: a busy registry, a lost connection, an upload that the
// registry has forgotten or got into disorder.
func mayHelp(err error) bool {
	if answer := (*transport.Error)(nil); errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable, http.StatusConflict:
			return answer.Request != nil && answer.Request.Method != http.MethodPost // an upload cannot begin in no repository
		}
		return busy(answer.StatusCode)
	}
	return broken(err)
}

func (u *upload) once(ctx context.Context) error {
	there, err := u.exists(ctx)
	if err != nil || there {
		return err
	}
	location, err := u.begin(ctx)
	if err != nil || location == nil {
		return err
	}
	u.report.send(Event{Layer: u.d.Digest, Kind: Start, Total: u.d.Size})
	if location, err = u.send(ctx, location); err != nil {
		return err
	}
	if err := u.commit(ctx, location); err != nil {
		return err
	}
	u.report.send(Event{Layer: u.d.Digest, Kind: Done, Current: u.d.Size, Total: u.d.Size})
	return nil
}

func (u *upload) exists(ctx context.Context) (bool, error) {
	resp, err := u.request(ctx, http.MethodHead, u.address("/blobs/"+u.d.Digest.String(), nil), nil, http.StatusOK, http.StatusNotFound)
	if err != nil || resp.StatusCode != http.StatusOK {
		return false, err
	}
	u.report.send(Event{Layer: u.d.Digest, Kind: Exists, Current: u.d.Size, Total: u.d.Size})
	return true, nil
}

// begin opens an upload and returns where it is to be sent, or nil if the registry took the blob from another repository.
func (u *upload) begin(ctx context.Context) (*url.URL, error) {
	if origin, ok := u.origins[u.d.Digest]; ok {
		query := url.Values{"mount": {u.d.Digest.String()}, "from": {origin.RepositoryStr()}}
		resp, err := u.request(ctx, http.MethodPost, u.address("/blobs/uploads/", query), nil, http.StatusCreated, http.StatusAccepted)
		switch {
		case err == nil && resp.StatusCode == http.StatusCreated:
			u.report.send(Event{Layer: u.d.Digest, Kind: Exists, Current: u.d.Size, Total: u.d.Size, Text: "Mounted from " + origin.RepositoryStr()})
			return nil, nil
		case err == nil:
			return next(resp)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		} // some registries refuse to take what they may not read, instead of opening an upload
	}
	resp, err := u.request(ctx, http.MethodPost, u.address("/blobs/uploads/", nil), nil, http.StatusAccepted)
	if err != nil {
		return nil, err
	}
	return next(resp)
}

// send sends all of the blob.
func (u *upload) send(ctx context.Context, to *url.URL) (*url.URL, error) {
	body := func() (io.ReadCloser, error) {
		file, err := u.open(u.d)
		if err != nil {
			return nil, err
		}
		checked := &checkedReader{Reader: file, d: u.d, hash: u.d.Digest.Algorithm().Hash()}
		at := Event{Layer: u.d.Digest, Kind: Progress, Total: u.d.Size}
		return struct {
			io.Reader
			io.Closer
		}{&progressReader{Reader: checked, report: u.report, at: at, last: time.Now()}, file}, nil
	}
	resp, err := u.request(ctx, http.MethodPatch, to, body, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	return next(resp)
}

func (u *upload) commit(ctx context.Context, to *url.URL) error {
	query := to.Query()
	query.Set("digest", u.d.Digest.String())
	to.RawQuery = query.Encode()
	_, err := u.request(ctx, http.MethodPut, to, nil, http.StatusCreated, http.StatusNoContent)
	return err
}

// expectFrom is the size from which a body waits for the registry's consent, so that a refusal comes before all is sent.
const expectFrom = 1 << 20

// request sends the blob, or nothing, and returns an answer whose body is read.
func (u *upload) request(ctx context.Context, method string, to *url.URL, body func() (io.ReadCloser, error), want ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), nil)
	if err != nil {
		return nil, err
	}
	if body != nil && u.d.Size > 0 {
		if req.Body, err = body(); err != nil {
			return nil, err
		}
		req.GetBody, req.ContentLength = body, u.d.Size
		req.Header.Set("Content-Type", "application/octet-stream")
		if u.d.Size >= expectFrom {
			req.Header.Set("Expect", "100-continue")
		}
	}
	return u.do(req, want...)
}

func (p *pusher) do(req *http.Request, want ...int) (*http.Response, error) {
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	return resp, transport.CheckError(resp, want...)
}

func (p *pusher) address(path string, query url.Values) *url.URL {
	return &url.URL{Scheme: p.home.repo.Scheme(), Host: p.home.repo.RegistryStr(), Path: "/v2/" + p.home.repo.RepositoryStr() + path, RawQuery: query.Encode()}
}

// next is where an answer wants an upload to go on.
func next(resp *http.Response) (*url.URL, error) {
	to, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("the answer does not say where to send a blob: %w", err)
	}
	return to, mayLead(resp.Request.URL.Host, to.Host)
}

// document puts an index or manifest under a tag or its digest.
func (p *pusher) document(ctx context.Context, d ocispec.Descriptor, target string) error {
	content, err := p.store.readBlob(d)
	if err != nil {
		return noBlob(d, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.address("/manifests/"+target, nil).String(), bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", d.MediaType)
	resp, err := p.do(req, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return err
	}
	got := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if got != "" && got.Validate() == nil && got.Algorithm() == d.Digest.Algorithm() && got != d.Digest {
		return fail(DigestMismatch, "the registry changes what it is given", "push manifest %s: the registry calls it %s", d.Digest, got)
	}
	return nil
}

// checkedReader fails at the end of content that is not what its digest says: nobody else is to find out.
type checkedReader struct {
	io.Reader
	d    ocispec.Descriptor
	hash hash.Hash
}

func (c *checkedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.hash.Write(b[:n])
	if err == io.EOF {
		if got := digest.NewDigest(c.d.Digest.Algorithm(), c.hash); got != c.d.Digest {
			return n, fail(DigestMismatch, "pull the image again", "read blob %s of the store: its content has the digest %s", c.d.Digest, got)
		}
	}
	return n, err
}
