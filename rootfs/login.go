package rootfs

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Server is a registry that one can log in to.
type Server struct {
	Host string // with its port if it has one; "docker.io" for Docker Hub

	key string // of its credentials
}

// ParseServer reads HOST[:PORT], also as the beginning of an address; empty is Docker Hub.
//
// Errors: BadReference.
func ParseServer(s string) (Server, error) {
	host := strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	host = strings.TrimSuffix(host, "/")
	switch host {
	case "", defaultDomain, legacyDomain, legacyDomain + "/v1", "registry-1.docker.io":
		return Server{defaultDomain, authn.DefaultAuthKey}, nil
	}
	if _, err := name.NewRegistry(host, name.StrictValidation); err != nil || !isDomain(host) {
		return Server{}, fail(BadReference, "write HOST[:PORT]", "read the registry's name %q: it is no host", s)
	}
	return Server{host, host}, nil
}

// LoginOptions say how a registry is reached. The zero value talks TLS.
type LoginOptions struct {
	PlainHTTP bool   // also talk http to registries that are not on this machine
	CAFile    string // as in PullOptions

	Progress func(Event) // called by one goroutine at a time; nil for none
}

// Verify asks the registry whether it knows user and password. One that asks for none takes any.
//
// Errors: Unauthorized, Unreachable, Insecure, RateLimited, BadConfig.
func (s Server) Verify(ctx context.Context, user, password string, o LoginOptions) error {
	err := s.verify(ctx, authn.FromConfig(authn.AuthConfig{Username: user, Password: password}), o)
	if err = explain(err, s.Host); errors.Is(err, Unauthorized) {
		if coded, ok := codeOf(err); ok {
			return fail(Unauthorized, "check user name and password", "log in: %w", coded.Err)
		}
	}
	return err
}

func (s Server) verify(ctx context.Context, auth authn.Authenticator, o LoginOptions) error {
	net, err := newNetwork(PullOptions{PlainHTTP: o.PlainHTTP, CAFile: o.CAFile}, &reporter{sink: o.Progress})
	if err != nil {
		return err
	}
	defer net.close()
	options := []name.Option{name.StrictValidation}
	if net.mayBePlain(s.Host) {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(s.Host, options...)
	if err != nil {
		return err
	}
	rt, err := transport.NewWithContext(ctx, registry, auth, net, nil)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, registry.Scheme()+"://"+registry.RegistryStr()+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: rt, CheckRedirect: checkRedirect}).Do(req)
	if err != nil {
		return err
	}
	defer drain(resp)
	return transport.CheckError(resp, http.StatusOK)
}
