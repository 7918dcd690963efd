// Package postgres starts PostgreSQL for Go tests, and makes databases of it for each test.
//
//	func TestStore(t *testing.T) {
//		server := postgres.Start(t, postgres.Script("schema.sql", schema))
//		db, err := sql.Open("pgx", server.DSN())
//		...
//	}
//
// Tests that share a server each get a database of their own, a copy of that which the scripts have made:
//
//	var server *postgres.Server // of postgres.New in TestMain
//
//	func TestA(t *testing.T) {
//		t.Parallel()
//		db, err := sql.Open("pgx", server.Database(t))
//		...
//	}
//
// The package needs no driver: it uses the container's own psql. What a server writes is in memory and not synced, as it
// is discarded anyway.
package postgres

import (
	"context"
	"fmt"
	"net/url"

	"github.com/bivouac-run/bivouac/testkit"
)

// DefaultImage is what [Image] replaces.
const DefaultImage = "postgres:16"

const port = 5432

// Server is a running PostgreSQL. It is a [testkit.Container] as well.
type Server struct {
	*testkit.Container
	account
}

// account is who may log in, and the database that the image's entrypoint makes.
type account struct{ user, password, database string }

// Start starts a server and returns when it takes queries, after the scripts. It is discarded after the test.
func Start(tb testkit.TB, opts ...Option) *Server {
	tb.Helper()
	s := collect(opts)
	return &Server{testkit.Start(tb, s.image, s.container...), s.account}
}

// New is [Start] for TestMain and for programs that are no tests. The caller closes the server.
//
// Errors: those of [testkit.New]; a script that failed is in their log lines.
func New(ctx context.Context, opts ...Option) (*Server, error) {
	s := collect(opts)
	c, err := testkit.New(ctx, s.image, s.container...)
	if err != nil {
		return nil, err
	}
	return &Server{c, s.account}, nil
}

// DSN returns the URL of the server's own database, postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=disable.
func (s *Server) DSN() string { return s.dsn(s.database) }

func (s *Server) dsn(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(s.user, s.password), Host: s.Addr(port), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Query runs SQL in the server's own database by the container's psql, as one transaction, and returns the rows without
// headings, a line each, with | between the columns.
func (s *Server) Query(ctx context.Context, sql string) (string, error) {
	return s.psql(ctx, s.database, sql)
}

func (s *Server) psql(ctx context.Context, database, sql string) (string, error) {
	result, err := s.ExecWith(ctx, testkit.Command{
		Args: []string{"psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", s.user, "-d", database, "-c", sql},
		Env:  []string{"PGPASSWORD=" + s.password},
	})
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		return "", fmt.Errorf("psql: %w", err)
	}
	return result.String(), nil
}
