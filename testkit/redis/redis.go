// Package redis starts Redis for Go tests.
//
//	func TestCache(t *testing.T) {
//		server := redis.Start(t)
//		client := dial(server.Addr())
//		...
//	}
package redis

import (
	"context"
	"fmt"
	"net/url"

	"github.com/bivouac-run/bivouac/testkit"
)

// DefaultImage is what [Image] replaces.
const DefaultImage = "redis:7"

const port = 6379

// Server is a running Redis. It is a [testkit.Container] as well.
type Server struct {
	*testkit.Container
	password string
}

// Option says something about a server that is to be started.
type Option func(*settings)

type settings struct {
	image, password string
	container       []testkit.Option
}

// Image sets the image: one whose entrypoint runs redis-server and that has redis-cli.
func Image(name string) Option { return func(s *settings) { s.image = name } }

// Password sets what clients have to know. The default is none.
func Password(password string) Option { return func(s *settings) { s.password = password } }

// With sets options of the container. Those of testkit.Args replace the command, redis-server with nothing saved to disk.
func With(opts ...testkit.Option) Option {
	return func(s *settings) { s.container = append(s.container, opts...) }
}

// Start starts a server and returns when it answers. It is discarded after the test.
func Start(tb testkit.TB, opts ...Option) *Server {
	tb.Helper()
	s := collect(opts)
	return &Server{testkit.Start(tb, s.image, s.container...), s.password}
}

// New is [Start] for TestMain and for programs that are no tests. The caller closes the server.
//
// Errors: those of [testkit.New].
func New(ctx context.Context, opts ...Option) (*Server, error) {
	s := collect(opts)
	c, err := testkit.New(ctx, s.image, s.container...)
	if err != nil {
		return nil, err
	}
	return &Server{c, s.password}, nil
}

func collect(opts []Option) *settings {
	s := &settings{image: DefaultImage}
	for _, o := range opts {
		o(s)
	}
	args := []string{"redis-server", "--save", "", "--appendonly", "no"}
	if s.password != "" {
		args = append(args, "--requirepass", s.password)
	}
	s.container = append([]testkit.Option{testkit.Args(args...), testkit.Ready(testkit.Port(port))}, s.container...)
	return s
}

// Addr returns the server's address on this machine, host:port.
func (s *Server) Addr() string { return s.Container.Addr(port) }

// URL returns redis://[:PASSWORD@]HOST:PORT/0.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr(), Path: "/0"}
	if s.password != "" {
		u.User = url.UserPassword("", s.password)
	}
	return u.String()
}

// CLI runs a command by the container's redis-cli and returns what it answers.
//
// Errors: an answer that is an error is one.
func (s *Server) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := testkit.Command{Args: append([]string{"redis-cli", "-e", "--raw"}, args...)}
	if s.password != "" {
		cmd.Env = []string{"REDISCLI_AUTH=" + s.password}
	}
	result, err := s.ExecWith(ctx, cmd)
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		return "", fmt.Errorf("redis-cli: %w", err)
	}
	return result.String(), nil
}

// Flush removes all keys of all databases, for tests that share a server.
func (s *Server) Flush(ctx context.Context) error {
	_, err := s.CLI(ctx, "FLUSHALL", "SYNC")
	return err
}
