package rootfs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// explain turns what go-containerregistry and net/http say into an Error about what we wanted of host. Errors that have
// a code keep it.
func explain(err error, host string) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if coded := explainTLS(err, host); coded != nil {
		return coded
	}
	if answer := (*transport.Error)(nil); errors.As(err, &answer) {
		return explainAnswer(answer, host)
	}
	if coded := (*Error)(nil); errors.As(err, &coded) {
		return coded
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") { // net/http has no type for it
		return fail(Insecure, "use --plain-http if you trust the network in between", "ask registry %s: it talks plain http only", host)
	}
	return fail(Unreachable, "check the name and your network", "ask registry %s: %w", host, innermost(err))
}

// innermost drops the URL that net/http puts before the reason: it can be long, and hold secrets of a redirect.
func innermost(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op
	}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		return dns
	}
	return err
}

// explainTLS returns nil unless certificates are the reason.
func explainTLS(err error, host string) error {
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown):
		return fail(Insecure, "name the authority's certificate with --tls-ca or BIVOUAC_CA_FILE, or put it into "+
			"/etc/containers/certs.d/"+host+"/ca.crt", "trust registry %s: %w", host, unknown)
	case errors.As(err, &wrongName):
		return fail(Insecure, "use the name that its certificate is for", "trust registry %s: %w", host, wrongName)
	case errors.As(err, &invalid):
		return fail(Insecure, "", "trust registry %s: %w", host, invalid)
	case errors.As(err, &alert):
		return fail(Unauthorized, "put the client's certificate into /etc/containers/certs.d/"+host,
			"ask registry %s: %w", host, alert)
	}
	return nil
}

// explainAnswer goes by the status, as the codes inside differ between registries.
func explainAnswer(answer *transport.Error, host string) error {
	why := diagnosis(answer)
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fail(Unauthorized, "log in with `bivouac login "+host+"`; check also that the name is right", "ask registry %s: access refused: %s", host, why)
	case http.StatusNotFound:
		return fail(NotFound, "check name and tag", "ask registry %s: not found: %s", host, why)
	case http.StatusTooManyRequests:
		return fail(RateLimited, "try again later, or log in for a higher limit", "ask registry %s: %s", host, why)
	case http.StatusRequestEntityTooLarge:
		return fail(TooLarge, "have it, or the proxy before it, take more", "ask registry %s: it refuses content of that size: %s", host, why)
	}
	return fail(Unreachable, "", "ask registry %s: %s", host, why)
}

// diagnosis is one line whatever the registry sent.
func diagnosis(answer *transport.Error) string {
	if len(answer.Errors) == 0 {
		return http.StatusText(answer.StatusCode)
	}
	first := answer.Errors[0]
	if text := printable(first.Message); text != "" {
		return text
	}
	return printable(string(first.Code))
}

// printable is one short line without control characters, which a terminal would obey.
func printable(s string) string {
	line := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	line = strings.Join(strings.Fields(line), " ")
	if runes := []rune(line); len(runes) > 200 {
		return string(runes[:200]) + "..."
	}
	return line
}
