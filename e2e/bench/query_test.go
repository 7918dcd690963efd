package main

import (
	"bufio"
	"io"
	"net"
	"testing"
)

// askServer has a query ask a server that reads something and then says its lines, one after each reading.
func askServer(t *testing.T, query func(net.Conn) error, says ...string) error {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		buf := make([]byte, 1024)
		for _, text := range says {
			if _, err := server.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(server, text); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, bufio.NewReader(server)) // until the client has gone
	}()
	defer client.Close()
	return query(client)
}

const (
	pgReady = "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"
	pgRow   = "T\x00\x00\x00\x04D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x011"
)

func TestQueries(t *testing.T) {
	hello := askHTTP("/", "hello from go")
	for name, c := range map[string]struct {
		query func(net.Conn) error
		says  []string
		fails bool
	}{
		"redis":              {askRedis, []string{"+PONG\r\n"}, false},
		"a redis that loads": {askRedis, []string{"-LOADING\r\n"}, true},
		"a page":             {hello, []string{"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nhello from go\n"}, false},
		"another page":       {hello, []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"}, true},
		"no page":            {hello, []string{"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nhello from go"}, true},
		"postgres":           {askPostgres, []string{pgReady, pgRow}, false},
		"postgres, starting": {askPostgres, []string{"E\x00\x00\x00\x0cSFATAL\x00\x00"}, true},
		"no postgres":        {askPostgres, []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, true},
		"a broker":           {askAMQP, []string{"\x01\x00\x00\x00\x00\x01\xc6\x00\x0a\x00\x0a"}, false},
		"an older broker":    {askAMQP, []string{"AMQP\x00\x00\x09\x01\x00\x00\x00"}, true},
	} {
		if err := askServer(t, c.query, c.says...); (err != nil) != c.fails {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
