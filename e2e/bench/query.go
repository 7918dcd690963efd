package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// askRedis has a redis answer to PING.
func askRedis(c net.Conn) error {
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != "+PONG" {
		return fmt.Errorf("it answers %q", answer)
	}
	return nil
}

// askHTTP gets a page, whose text must be the wanted line unless that is empty.
func askHTTP(path, want string) func(net.Conn) error {
	return func(c net.Conn) error {
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path); err != nil {
			return err
		}
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if text := strings.TrimSpace(string(body)); response.StatusCode != http.StatusOK || want != "" && text != want {
			return fmt.Errorf("it answers %s, %q", response.Status, text)
		}
		return nil
	}
}

// askPostgres has a server that trusts everybody select 1, by its protocol's version 3.
func askPostgres(c net.Conn) error {
	const version = 3 << 16
	hello := "user\x00postgres\x00\x00"
	start := binary.BigEndian.AppendUint32(nil, uint32(8+len(hello)))
	start = append(binary.BigEndian.AppendUint32(start, version), hello...)
	if _, err := c.Write(start); err != nil {
		return err
	}
	answers := bufio.NewReader(c)
	if _, err := awaitPostgres(answers, 'Z'); err != nil { // ready for a query
		return err
	}
	query := "select 1\x00"
	ask := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(query)))
	if _, err := c.Write(append(ask, query...)); err != nil {
		return err
	}
	row, err := awaitPostgres(answers, 'D')
	if err == nil && !strings.HasSuffix(string(row), "1") {
		err = fmt.Errorf("it answers %q", row)
	}
	return errors.Join(err, endPostgres(c))
}

// endPostgres says that the connection ends.
func endPostgres(c net.Conn) error {
	_, err := c.Write([]byte{'X', 0, 0, 0, 4})
	return err
}

// awaitPostgres skips messages up to one of a kind and returns that one's content.
func awaitPostgres(r *bufio.Reader, kind byte) ([]byte, error) {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, err
		}
		length := binary.BigEndian.Uint32(head[1:])
		if length < 4 || length > mebibyte {
			return nil, fmt.Errorf("it sends a message of %d bytes", length)
		}
		body := make([]byte, length-4)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, err
		}
		switch head[0] {
		case kind:
			return body, nil
		case 'E':
			return nil, fmt.Errorf("it refuses: %q", body)
		}
	}
}

// askAMQP has a broker start a connection of AMQP 0-9-1: it answers with a frame of method 10, 10 on channel 0.
func askAMQP(c net.Conn) error {
	if _, err := io.WriteString(c, "AMQP\x00\x00\x09\x01"); err != nil {
		return err
	}
	frame := make([]byte, 11)
	if _, err := io.ReadFull(c, frame); err != nil {
		return err
	}
	if frame[0] != 1 || binary.BigEndian.Uint32(frame[7:]) != 10<<16|10 {
		return fmt.Errorf("it answers %q", frame)
	}
	return nil
}
