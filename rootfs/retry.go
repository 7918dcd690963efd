package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// How patient we are with a registry.
const (
	maxTries   = 6
	maxPatient = 2 * time.Minute // a Retry-After beyond it ends the pull
)

// firstPause is the first pause between two tries; they double. Tests have less time.
var firstPause = 250 * time.Millisecond

// roundTripPatiently repeats requests that a registry was too busy for or that the network swallowed. The answer of the
// last try is the answer.
func roundTripPatiently(t http.RoundTripper, req *http.Request, report *reporter) (resp *http.Response, err error) {
	if !repeatable(req) {
		return sendAnew(t, req)
	}
	try := func() (struct{}, error) {
		if resp != nil {
			drain(resp)
		}
		resp, err = sendAnew(t, req)
		return struct{}{}, again(resp, err)
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.Multiplier = firstPause, 2
	_, _ = backoff.Retry(req.Context(), try, backoff.WithBackOff(pauses), backoff.WithMaxTries(maxTries),
		backoff.WithMaxElapsedTime(maxPatient), backoff.WithNotify(func(_ error, pause time.Duration) {
			report.retry(fmt.Sprintf("%s: %s, again in %s", req.URL.Host, reason(resp, err), pause.Round(10*time.Millisecond)))
		}))
	if gone := req.Context().Err(); gone != nil && resp != nil {
		drain(resp)
		return nil, gone
	}
	return resp, err
}

// repeatable is false for a part of an upload: some of it may have arrived.
func repeatable(req *http.Request) bool {
	return req.Method != http.MethodPatch && (req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
}

// sendAnew sends a body from its beginning, also in a request that was sent before: whoever logs in again after a refusal
// repeats the request as it is.
func sendAnew(t http.RoundTripper, req *http.Request) (*http.Response, error) {
	if req.GetBody == nil || req.Body == nil || req.Body == http.NoBody {
		return t.RoundTrip(req)
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	_ = req.Body.Close() // nothing of it is read
	anew := *req
	anew.Body = body
	return t.RoundTrip(&anew)
}

// again is an error if the request is worth another try.
func again(resp *http.Response, err error) error {
	switch {
	case err != nil && broken(err):
		return err
	case err != nil:
		return backoff.Permanent(err)
	case !busy(resp.StatusCode):
		return nil
	}
	if seconds, ok := retryAfter(resp.Header.Get("Retry-After")); ok {
		return backoff.RetryAfter(seconds)
	}
	return errors.New(resp.Status)
}

func busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// broken is true for connections that were made and then lost, which says nothing about the next one.
func broken(err error) bool {
	return !errors.Is(err, context.Canceled) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// retryAfter reads the header of RFC 9110 section 10.2.3, seconds or a date.
func retryAfter(header string) (seconds int, ok bool) {
	if n, err := strconv.Atoi(header); err == nil && n >= 0 {
		return min(n, int(maxPatient/time.Second)+1), true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, int(time.Until(at)/time.Second)+1), true
	}
	return 0, false
}

func reason(resp *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return resp.Status
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}
