package testkit

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
)

// HTTPStrategy is reached when an HTTP server in the container answers as it should.
type HTTPStrategy struct {
	port           int
	path           string
	method         string
	header         http.Header
	body           string
	user, password string
	auth           bool
	tls            func() *tls.Config // nil without TLS

	statuses     []int
	answerHeader map[string]string
	answerBody   func(body []byte) error
}

// HTTP is reached when GET of a path on a TCP port of the container is answered with status 200. Redirects are not
// followed.
func HTTP(port int, path string) HTTPStrategy {
	return HTTPStrategy{port: port, path: path, method: http.MethodGet, statuses: []int{http.StatusOK}}
}

// Method sends another request than GET.
func (h HTTPStrategy) Method(method string) HTTPStrategy {
	h.method = method
	return h
}

// Header sends a header with the request.
func (h HTTPStrategy) Header(name, value string) HTTPStrategy {
	h.header = h.header.Clone()
	if h.header == nil {
		h.header = http.Header{}
	}
	h.header.Add(name, value)
	return h
}

// Body sends a body with the request.
func (h HTTPStrategy) Body(body string) HTTPStrategy {
	h.body = body
	return h
}

// BasicAuth sends a user and a password with the request.
func (h HTTPStrategy) BasicAuth(user, password string) HTTPStrategy {
	h.user, h.password, h.auth = user, password, true
	return h
}

// TLS speaks HTTPS. The server's name is localhost unless the configuration has another. Nil means the system's
// authorities; &tls.Config{InsecureSkipVerify: true} takes any certificate.
func (h HTTPStrategy) TLS(config *tls.Config) HTTPStrategy {
	h.tls = func() *tls.Config { return config }
	return h
}

// Trust speaks HTTPS and trusts a certificate that [TLSCertificate] has waited for before.
func (h HTTPStrategy) Trust(certificate *CertificateStrategy) HTTPStrategy {
	h.tls = certificate.Config
	return h
}

// Status waits for one of other status codes than 200.
func (h HTTPStrategy) Status(codes ...int) HTTPStrategy {
	h.statuses = codes
	return h
}

// AnswerHeader also waits until the answer has a header with a value.
func (h HTTPStrategy) AnswerHeader(name, value string) HTTPStrategy {
	h.answerHeader = maps.Clone(h.answerHeader)
	if h.answerHeader == nil {
		h.answerHeader = map[string]string{}
	}
	h.answerHeader[name] = value
	return h
}

// Answer also waits until the answer's body contains text.
func (h HTTPStrategy) Answer(text string) HTTPStrategy {
	return h.AnswerFunc(func(body []byte) error {
		if !bytes.Contains(body, []byte(text)) {
			return fmt.Errorf("a body of %d bytes without %q", len(body), text)
		}
		return nil
	})
}

// AnswerFunc also waits until check returns nil for the first MiB of the answer's body.
func (h HTTPStrategy) AnswerFunc(check func(body []byte) error) HTTPStrategy {
	h.answerBody = check
	return h
}

// WaitReady implements [Strategy].
func (h HTTPStrategy) WaitReady(ctx context.Context, c *Container) error {
	if err := c.box.AwaitListening(ctx, "tcp", uint16(h.port)); err != nil {
		if ctx.Err() != nil {
			return &seenError{fmt.Errorf("nothing listens on port %d%s", h.port, c.listeningText())}
		}
		return err
	}
	client := h.client(c)
	defer client.CloseIdleConnections()
	return pollAttempts(ctx, func(ctx context.Context) error { return h.ask(ctx, client) })
}

// client connects from inside of the container, whatever the request's address.
func (h HTTPStrategy) client(c *Container) *http.Client {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.box.Dial(ctx, "tcp", inside(h.port))
		},
	}
	if h.tls != nil {
		transport.TLSClientConfig = h.tls().Clone()
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func (h HTTPStrategy) ask(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, h.method, h.url(), strings.NewReader(h.body))
	if err != nil {
		return Permanent(err)
	}
	maps.Copy(request.Header, h.header)
	if host := h.header.Get("Host"); host != "" {
		request.Host = host
	}
	if h.auth {
		request.SetBasicAuth(h.user, h.password)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return h.check(answer)
}

// maxAnswer is how much of an answer's body is looked at.
const maxAnswer = 1 << 20

func (h HTTPStrategy) check(answer *http.Response) error {
	if !slices.Contains(h.statuses, answer.StatusCode) {
		return fmt.Errorf("status %s", answer.Status)
	}
	for name, want := range h.answerHeader {
		if got := answer.Header.Get(name); got != want {
			return fmt.Errorf("header %s: %q", name, got)
		}
	}
	if h.answerBody == nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	return h.answerBody(body)
}

func (h HTTPStrategy) url() string {
	scheme := "http"
	if h.tls != nil {
		scheme = "https"
	}
	return fmt.Sprintf("%s://localhost:%d/%s", scheme, h.port, strings.TrimPrefix(h.path, "/"))
}

// String implements [Strategy].
func (h HTTPStrategy) String() string { return h.method + " " + h.url() }

func (h HTTPStrategy) traits() traits {
	t := portTraits(h.port, "tcp")
	if len(h.statuses) == 0 {
		t.problem = "Status needs at least one code"
	}
	return t
}
