package redis

import (
	"context"

	"github.com/bivouac-run/bivouac/testkit"
)

// Prepared is a server that was started, filled and checkpointed once, for any number of tests that each get a clone of it:
// see [testkit.Prepared].
type Prepared struct {
	*testkit.Prepared
	password string
}

// Checkpoint says what to start and prepare once, and does nothing yet. It is meant for a package's variable:
//
//	var ready = redis.Checkpoint(redis.Prepare("users-v1", func(ctx context.Context, s *redis.Server) error { ... }))
//
// The keys are saved before the checkpoint, so that clones have them also where it cannot hold the server's memory.
func Checkpoint(opts ...Option) *Prepared {
	s := collect(opts)
	save := testkit.Quiesce(func(ctx context.Context, c *testkit.Container) error {
		_, err := (&Server{c, s.password}).CLI(ctx, "SAVE")
		return err
	}, nil)
	return &Prepared{testkit.Checkpoint(s.image, append(s.container, save)...), s.password}
}

// Prepare adds a step for [Checkpoint], such as keys: see [testkit.Prepare] for its key and files.
func Prepare(key string, do func(ctx context.Context, server *Server) error, files ...string) Option {
	return func(s *settings) {
		With(testkit.Prepare(key, func(ctx context.Context, c *testkit.Container) error {
			return do(ctx, &Server{c, s.password})
		}, files...))(s)
	}
}

// Start starts a clone and returns when it answers. It is discarded after the test.
func (p *Prepared) Start(tb testkit.TB, opts ...testkit.Option) *Server {
	tb.Helper()
	return &Server{p.Prepared.Start(tb, opts...), p.password}
}

// New is [Prepared.Start] for TestMain and for programs that are no tests. The caller closes the server.
//
// Errors: those of [testkit.Prepared.New].
func (p *Prepared) New(ctx context.Context, opts ...testkit.Option) (*Server, error) {
	c, err := p.Prepared.New(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &Server{c, p.password}, nil
}
