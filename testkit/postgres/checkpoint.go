package postgres

import (
	"context"

	"github.com/bivouac-run/bivouac/testkit"
)

// Prepared is a server that was started, filled and checkpointed once, for any number of tests that each get a clone of it:
// see [testkit.Prepared].
type Prepared struct {
	*testkit.Prepared
	account
}

// Checkpoint says what to start and prepare once, and does nothing yet. It is meant for a package's variable:
//
//	var ready = postgres.Checkpoint(postgres.Script("schema.sql", schema), postgres.Prepare("seed-v1", seed))
//
//	func TestA(t *testing.T) {
//		t.Parallel()
//		db, err := sql.Open("pgx", ready.Start(t).DSN()) // a server of its own, with all of that in it
//		...
//	}
//
// The content of scripts is a part of what a checkpoint of an earlier run is found by.
func Checkpoint(opts ...Option) *Prepared {
	s := collect(opts)
	return &Prepared{testkit.Checkpoint(s.image, s.container...), s.account}
}

// Prepare adds a step for [Checkpoint], such as migrations: see [testkit.Prepare] for its key and files.
func Prepare(key string, do func(ctx context.Context, server *Server) error, files ...string) Option {
	return func(s *settings) {
		With(testkit.Prepare(key, func(ctx context.Context, c *testkit.Container) error {
			return do(ctx, &Server{c, s.account})
		}, files...))(s)
	}
}

// Start starts a clone and returns when it takes queries. It is discarded after the test.
func (p *Prepared) Start(tb testkit.TB, opts ...testkit.Option) *Server {
	tb.Helper()
	return &Server{p.Prepared.Start(tb, opts...), p.account}
}

// New is [Prepared.Start] for TestMain and for programs that are no tests. The caller closes the server.
//
// Errors: those of [testkit.Prepared.New].
func (p *Prepared) New(ctx context.Context, opts ...testkit.Option) (*Server, error) {
	c, err := p.Prepared.New(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &Server{c, p.account}, nil
}
