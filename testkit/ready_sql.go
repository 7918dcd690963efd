package testkit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
)

// SQLStrategy is reached when a database answers a query.
type SQLStrategy struct {
	driver, query string
	port          int
	dsn           func(address string) string
}

// SQL is reached when a database that listens on a TCP port of the container answers SELECT 1. The driver is the name
// under which the test has registered one with database/sql. dsn makes the data source name of a host:port that leads to
// the database, also while connections to [Container.Addr] still wait.
func SQL(driver string, port int, dsn func(address string) string) SQLStrategy {
	return SQLStrategy{driver: driver, port: port, dsn: dsn, query: "SELECT 1"}
}

// Query asks something else than SELECT 1.
func (s SQLStrategy) Query(query string) SQLStrategy {
	s.query = query
	return s
}

// WaitReady implements [Strategy].
func (s SQLStrategy) WaitReady(ctx context.Context, c *Container) (err error) {
	if err := c.box.AwaitListening(ctx, "tcp", uint16(s.port)); err != nil {
		if ctx.Err() != nil {
			return &seenError{fmt.Errorf("nothing listens on port %d", s.port)}
		}
		return err
	}
	t, err := c.openTunnel(s.port)
	if err != nil {
		return err
	}
	defer t.close()
	db, err := sql.Open(s.driver, s.dsn(t.address()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxIdleConns(0) // a database may close what it accepted while it was not ready
	return pollAttempts(ctx, func(ctx context.Context) error { return s.ask(ctx, db) })
}

func (s SQLStrategy) ask(ctx context.Context, db *sql.DB) (err error) {
	rows, err := db.QueryContext(ctx, s.query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
	}
	return rows.Err()
}

// String implements [Strategy].
func (s SQLStrategy) String() string { return fmt.Sprintf("SQL query %q on port %d", s.query, s.port) }

func (s SQLStrategy) traits() traits {
	t := portTraits(s.port, "tcp")
	if !slices.Contains(sql.Drivers(), s.driver) {
		t.problem = fmt.Sprintf("there is no database/sql driver %q; import one in the test", s.driver)
	}
	return t
}
