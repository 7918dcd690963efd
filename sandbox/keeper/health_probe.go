package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// probeHealth runs a health check once, as a process of the container's user.
func (c *container) probeHealth(ctx context.Context, check *sandbox.Healthcheck) sandbox.HealthResult {
	r := sandbox.HealthResult{Start: time.Now(), ExitCode: notRun}
	limited, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	exit, output, err := c.execQuietly(limited, c.healthCommand(check))
	switch {
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		r.Output = clipped(fmt.Sprintf("Health check exceeded timeout (%v): %s", check.Timeout, output))
	case err != nil:
		r.Output = clipped(err.Error())
	default:
		r.ExitCode, r.Output = exit.Code, clipped(string(output))
	}
	r.End = time.Now()
	return r
}

// clipped is text that fits into a result.
func clipped(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), healthOutput)], "\uFFFD")
}

// execQuietly executes a program in the container without an input, and returns the first bytes of what it writes. When ctx
// ends before, the program is killed together with what it has started.
func (c *container) execQuietly(ctx context.Context, args []string) (exit sandbox.Exit, output []byte, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return exit, nil, err
	}
	defer null.Close()
	r, w, err := outputPipe()
	if err != nil {
		return exit, nil, err
	}
	defer r.Close()
	x, err := c.exec(&sandbox.ExecSpec{Args: args}, []*os.File{null, w, w})
	w.Close()
	if err != nil {
		return exit, nil, err
	}
	text := make(chan []byte, 1)
	go func() { text <- readFirst(r, healthOutput) }()
	stop := context.AfterFunc(ctx, x.killTree)
	exit, err = x.wait(ctx)
	stop()
	_ = r.SetReadDeadline(time.Now().Add(outputSlack)) // what it has left running may have the pipe
	return exit, <-text, err
}

// outputSlack is how long the output of a check that has ended may take to come.
const outputSlack = time.Second

// readFirst reads to the end, and keeps as much as limit.
func readFirst(f *os.File, limit int) []byte {
	var first []byte
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		first = append(first, buf[:min(n, limit-len(first))]...)
		if err != nil {
			return first
		}
	}
}

// killTree ends the process and its descendants. Of those that are forked meanwhile some may stay.
func (x *session) killTree() {
	pid, err := x.process.Pid()
	if err != nil {
		return
	}
	below, _ := descendants(pid) // where the kernel does not tell, the process alone
	_ = x.process.Signal(syscall.SIGKILL)
	for _, pid := range below {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
