package testkit_test

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

// redisDriver makes database/sql talk with Redis: a query is one of its commands.
type redisDriver struct{}

func init() { sql.Register("redis-for-tests", redisDriver{}) }

func (redisDriver) Open(address string) (driver.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &redisConn{conn, bufio.NewReader(conn)}, nil
}

type redisConn struct {
	net.Conn
	answers *bufio.Reader
}

func (c *redisConn) Prepare(query string) (driver.Stmt, error) { return redisQuery{c, query}, nil }
func (c *redisConn) Begin() (driver.Tx, error)                 { return nil, errors.New("no transactions") }

type redisQuery struct {
	conn  *redisConn
	query string
}

func (q redisQuery) Close() error  { return nil }
func (q redisQuery) NumInput() int { return 0 }
func (q redisQuery) Exec([]driver.Value) (driver.Result, error) {
	return nil, errors.New("queries only")
}

func (q redisQuery) Query([]driver.Value) (driver.Rows, error) {
	if _, err := fmt.Fprintf(q.conn, "%s\r\n", q.query); err != nil {
		return nil, err
	}
	line, err := q.conn.answers.ReadString('\n')
	if err == nil && strings.HasPrefix(line, "-") {
		err = errors.New(strings.TrimSpace(line))
	}
	return noRows{}, err
}

type noRows struct{}

func (noRows) Columns() []string         { return nil }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

func TestSQLIsAwaited(t *testing.T) {
	early := make(chan error, 1)
	strategy := testkit.SQL("redis-for-tests", 6379, func(address string) string { return address }).Query("PING")
	testkit.Start(t, image(t, "redis:7"), testkit.Ready(strategy), testkit.BeforeStart(func(_ context.Context, c *testkit.Container) error {
		conn, err := net.Dial("tcp", c.Addr(6379)) // it waits, which the query does not
		if err == nil {
			go func() {
				defer conn.Close()
				_, err := fmt.Fprintf(conn, "PING\r\n")
				if err == nil {
					_, err = bufio.NewReader(conn).ReadString('\n')
				}
				early <- err
			}()
		}
		return err
	}))
	if err := <-early; err != nil {
		t.Error(err)
	}
	_, err := testkit.New(t.Context(), image(t, "redis:7"), testkit.Ready(strategy.Query("NOSUCHCOMMAND")), testkit.StartTimeout(time.Second))
	if err == nil || !strings.Contains(err.Error(), "unknown command 'NOSUCHCOMMAND'") {
		t.Errorf("got %v", err)
	}
}
