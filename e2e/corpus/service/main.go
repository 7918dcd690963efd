// Service is the program of the image go: a static HTTP server on TCP port 8080 and on a unix socket, with a child process
// and, if told so, a heap of random bytes. README.md of the corpus says what it answers.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

const (
	address  = ":8080"
	socket   = "/run/service.sock"
	childArg = "child"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run() error {
	megabytes := flag.Int("heap", 0, "hold this many `MB` of random bytes")
	flag.Parse()
	if flag.Arg(0) == childArg {
		return beChild(os.Stdin, os.Stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	c, err := startChild()
	if err != nil {
		return fmt.Errorf("start a child: %w", err)
	}
	s := &service{child: c, ballast: newBallast(*megabytes)}
	return errors.Join(serve(ctx, &http.Server{Handler: s.routes()}), c.end())
}

// serve answers on both sockets until ctx ends.
func serve(ctx context.Context, server *http.Server) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var group errgroup.Group
	for network, where := range map[string]string{"tcp": address, "unix": socket} {
		listener, err := net.Listen(network, where)
		if err != nil {
			return err
		}
		group.Go(func() error { return server.Serve(listener) })
	}
	fmt.Println("ready")
	<-ctx.Done()
	err := server.Close()
	if served := group.Wait(); !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// ballast is memory that the program holds, with the sum of its bytes as they were in the beginning.
type ballast struct {
	bytes []byte
	sum   uint64
}

func newBallast(megabytes int) ballast {
	b := ballast{bytes: make([]byte, megabytes<<20)}
	_, _ = rand.Read(b.bytes) // never fails
	b.sum = b.add()
	return b
}

func (b ballast) add() (sum uint64) {
	for _, x := range b.bytes {
		sum += uint64(x)
	}
	return sum
}

// check says how much memory there is, and whether it still is what it was.
func (b ballast) check() (string, error) {
	if b.add() != b.sum {
		return "", errors.New("the heap has changed")
	}
	return fmt.Sprintf("%d MB", len(b.bytes)>>20), nil
}
