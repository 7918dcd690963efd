package testkit

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// tunnel is a listener of this process through which a port of the container can be reached while connections to its
// published port still wait.
type tunnel struct {
	c        *Container
	port     int
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	conns    sync.WaitGroup
}

func (c *Container) openTunnel(port int) (*tunnel, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for connections to port %d: %w", port, err)
	}
	t := &tunnel{c: c, port: port, listener: listener}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.conns.Go(t.accept)
	return t, nil
}

func (t *tunnel) address() string { return t.listener.Addr().String() }

// close ends all connections and returns when they are gone.
func (t *tunnel) close() {
	t.cancel()
	_ = t.listener.Close()
	t.conns.Wait()
}

func (t *tunnel) accept() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.conns.Go(func() { t.forward(conn) })
	}
}

func (t *tunnel) forward(outer net.Conn) {
	defer outer.Close()
	inner, err := t.c.box.Dial(t.ctx, "tcp", inside(t.port))
	if err != nil {
		return
	}
	defer inner.Close()
	done := make(chan struct{}, 2)
	go pipe(inner, outer, done)
	go pipe(outer, inner, done)
	for range 2 {
		select {
		case <-done:
		case <-t.ctx.Done():
			return
		}
	}
}

// pipe copies what one side says to the other, and that it has said all.
func pipe(to, from net.Conn, done chan<- struct{}) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	done <- struct{}{}
}

func inside(port int) string { return fmt.Sprintf("localhost:%d", port) }
