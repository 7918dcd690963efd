package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func signalOf(number int) syscall.Signal { return syscall.Signal(number) }

// signals are those that the user or the system sends to us and means for the program.
type signals struct{ ch chan os.Signal }

func catchSignals() *signals {
	s := &signals{ch: make(chan os.Signal, 16)}
	signal.Notify(s.ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGIO, syscall.SIGPWR)
	return s
}

func (s *signals) stop() { signal.Stop(s.ch) }

// interruptedError is why a container that was not started yet never will be.
type interruptedError struct{ signal syscall.Signal }

func (e interruptedError) Error() string { return fmt.Sprintf("interrupted by %v", e.signal) }

// startGrace is how long after a signal a program may still begin and get it: it may have begun, and we do not know yet.
const startGrace = 200 * time.Millisecond

// cancelOn cancels by a signal until the returned function is called.
func (s *signals) cancelOn(cancel context.CancelCauseFunc) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case sig := <-s.ch:
			s.cancelSoon(sig, cancel, done)
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}

func (s *signals) cancelSoon(sig os.Signal, cancel context.CancelCauseFunc, done <-chan struct{}) {
	select {
	case <-done:
		s.ch <- sig // for the program
	case <-time.After(startGrace):
		cancel(interruptedError{sig.(syscall.Signal)})
	}
}

// signalled is what can be sent signals: a container, or what was executed in one.
type signalled interface {
	Signal(ctx context.Context, s syscall.Signal) error
}

// forward passes signals on. A second interrupt kills: the program may have no handler for the first, and as process 1 then
// does not get it.
func (s *signals) forward(ctx context.Context, to signalled) {
	interrupts := 0
	for sig := range s.ch {
		if sig == syscall.SIGINT {
			if interrupts++; interrupts > 1 {
				sig = syscall.SIGKILL
			}
		}
		_ = to.Signal(ctx, sig.(syscall.Signal)) // it may have ended
	}
}
