package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A service is the state that requests see.
type service struct {
	count   atomic.Int64
	child   *child
	ballast ballast
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	for path, answer := range map[string]func() (string, error){
		"/{$}":    func() (string, error) { return "hello from go", nil },
		"/count":  func() (string, error) { return fmt.Sprint(s.count.Add(1)), nil },
		"/time":   clocks,
		"/random": random,
		"/pseudo": func() (string, error) { return fmt.Sprint(mathrand.Float64()), nil },
		"/child":  s.child.ask,
		"/heap":   s.ballast.check,
		"/unix":   askItself,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			text, err := answer()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintln(w, text)
		})
	}
	return mux
}

// clocks tells the monotonic clock, which time namespaces shift, and the time of day.
func clocks() (string, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return fmt.Sprintf(`{"monotonic_ns": %d, "wall_ms": %d}`, t.Nano(), time.Now().UnixMilli()), err
}

func random() (string, error) {
	bytes := make([]byte, 16)
	_, err := rand.Read(bytes)
	return hex.EncodeToString(bytes), err
}

// askItself asks for /count by way of the unix socket.
func askItself() (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	response, err := client.Get("http://service/count")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var n int64
	if _, err := fmt.Fscan(response.Body, &n); err != nil {
		return "", err
	}
	return fmt.Sprint(n), nil
}
