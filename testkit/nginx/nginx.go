// Package nginx starts nginx for Go tests: as a server of static files, or with a configuration of the test's own.
//
//	func TestFetch(t *testing.T) {
//		site := nginx.Start(t, nginx.Files(os.DirFS("testdata/site")))
//		response, err := http.Get(site.URL() + "/index.html")
//		...
//	}
package nginx

import (
	"context"
	"io/fs"
	"strings"

	"github.com/bivouac-run/bivouac/testkit"
)

// DefaultImage is what [Image] replaces.
const DefaultImage = "nginx:stable"

const (
	port = 80
	root = "/srv/site"
)

// The files may have any owner and mode, so root reads them; the container confines it. An absolute redirect would name the
// container's port, which is not the one that the test knows.
const configuration = `user root;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
	include /etc/nginx/mime.types;
	access_log /dev/stdout;
	absolute_redirect off;
	server {
		listen 80;
		root ` + root + `;
		SNIPPET
	}
}
`

// Server is a running nginx. It is a [testkit.Container] as well.
type Server struct{ *testkit.Container }

// Option says something about a server that is to be started.
type Option func(*settings)

type settings struct {
	image     string
	snippets  []string
	container []testkit.Option
}

// Image sets the image: one that starts nginx in the foreground, with /etc/nginx/nginx.conf and mime.types beside it.
func Image(name string) Option { return func(s *settings) { s.image = name } }

// Files serves a tree of files, such as an embed.FS or os.DirFS("testdata"). Those of more trees than one are merged.
func Files(tree fs.FS) Option { return With(testkit.Files(root, tree)) }

// Config adds directives to the server block, such as "location /old { return 301 /; }". More than one add up.
func Config(directives string) Option {
	return func(s *settings) { s.snippets = append(s.snippets, directives) }
}

// With sets options of the container.
func With(opts ...testkit.Option) Option {
	return func(s *settings) { s.container = append(s.container, opts...) }
}

// Start starts a server and returns when it answers. It is discarded after the test.
func Start(tb testkit.TB, opts ...Option) *Server {
	tb.Helper()
	s := collect(opts)
	return &Server{testkit.Start(tb, s.image, s.container...)}
}

// New is [Start] for TestMain and for programs that are no tests. The caller closes the server.
//
// Errors: those of [testkit.New]; nginx's own complaint about the configuration is in their log lines.
func New(ctx context.Context, opts ...Option) (*Server, error) {
	s := collect(opts)
	c, err := testkit.New(ctx, s.image, s.container...)
	if err != nil {
		return nil, err
	}
	return &Server{c}, nil
}

func collect(opts []Option) *settings {
	s := &settings{image: DefaultImage}
	for _, o := range opts {
		o(s)
	}
	config := strings.Replace(configuration, "SNIPPET", strings.Join(s.snippets, "\n\t\t"), 1)
	s.container = append([]testkit.Option{
		testkit.File("/etc/nginx/nginx.conf", config),
		testkit.Ready(testkit.Port(port)),
	}, s.container...)
	return s
}

// URL returns http://HOST:PORT, without a slash at the end.
func (s *Server) URL() string { return "http://" + s.Addr(port) }
