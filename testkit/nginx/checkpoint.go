package nginx

import (
	"context"

	"github.com/bivouac-run/bivouac/testkit"
)

// Prepared is a server that was started and checkpointed once, for any number of tests that each get a clone of it: see
// [testkit.Prepared].
type Prepared struct{ *testkit.Prepared }

// Checkpoint says what to start once, and does nothing yet. It is meant for a package's variable:
//
//	var site = nginx.Checkpoint(nginx.Files(os.DirFS("testdata/site")))
//
// The content of files and the configuration are a part of what a checkpoint of an earlier run is found by.
func Checkpoint(opts ...Option) *Prepared {
	s := collect(opts)
	return &Prepared{testkit.Checkpoint(s.image, s.container...)}
}

// Start starts a clone and returns when it answers. It is discarded after the test.
func (p *Prepared) Start(tb testkit.TB, opts ...testkit.Option) *Server {
	tb.Helper()
	return &Server{p.Prepared.Start(tb, opts...)}
}

// New is [Prepared.Start] for TestMain and for programs that are no tests. The caller closes the server.
//
// Errors: those of [testkit.Prepared.New].
func (p *Prepared) New(ctx context.Context, opts ...testkit.Option) (*Server, error) {
	c, err := p.Prepared.New(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &Server{c}, nil
}
