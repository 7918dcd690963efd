// Package httpd starts a small web server for Go tests. It is the example of a module in docs/testkit.md.
package httpd

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/bivouac-run/bivouac/testkit"
)

const (
	image = "busybox:latest"
	port  = 8080
)

// Server is a running web server, and a container with all that one can do.
type Server struct{ *testkit.Container }

// Start serves a tree of files until the end of the test. Options of the caller win over those of the module.
func Start(tb testkit.TB, site fs.FS, opts ...testkit.Option) *Server {
	tb.Helper()
	return &Server{testkit.Start(tb, image, options(site, opts)...)}
}

// New is Start for TestMain and for programs that are no tests. The caller closes the server.
func New(ctx context.Context, site fs.FS, opts ...testkit.Option) (*Server, error) {
	c, err := testkit.New(ctx, image, options(site, opts)...)
	if err != nil {
		return nil, err
	}
	return &Server{c}, nil
}

func options(site fs.FS, opts []testkit.Option) []testkit.Option {
	return append([]testkit.Option{
		testkit.Args("httpd", "-f", "-p", fmt.Sprint(port), "-h", "/site"),
		testkit.Files("/site", site),
		testkit.Ready(testkit.Port(port)),
	}, opts...)
}

// URL returns http://HOST:PORT.
func (s *Server) URL() string { return "http://" + s.Addr(port) }
