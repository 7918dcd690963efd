package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

// timeout bounds the making and the removal of a database.
const timeout = time.Minute

// Database makes a database for a test, a copy of the server's own one with all that is in it, and returns its URL, see
// [Server.DSN]. It is dropped after the test, also from under connections that are still open, unless the test has failed
// and BIVOUAC_KEEP=1.
//
// PostgreSQL copies no database that somebody is connected to: close what has used [Server.DSN] before.
func (s *Server) Database(tb testkit.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	name := "test_" + strings.ToLower(rand.Text()[:12])
	_, err := s.psql(ctx, s.maintenance(), fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, quote(s.database)))
	if err != nil && strings.Contains(err.Error(), "is being accessed by other users") {
		err = fmt.Errorf("%w; close the connections to %s before", err, s.database)
	}
	if err != nil {
		tb.Fatalf("postgres: make a database for the test: %v", err)
	}
	tb.Cleanup(func() { s.drop(tb, name) })
	return s.dsn(name)
}

func (s *Server) drop(tb testkit.TB, name string) {
	if s.Context().Err() != nil || tb.Failed() && os.Getenv("BIVOUAC_KEEP") == "1" {
		return // it is gone with the server, or is to be looked at
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if _, err := s.psql(ctx, s.maintenance(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		tb.Logf("postgres: drop the test's database: %v", err)
	}
}

// maintenance is a database to be connected to while the server's own one is copied.
func (s *Server) maintenance() string {
	if s.database == "postgres" {
		return "template1"
	}
	return "postgres"
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
