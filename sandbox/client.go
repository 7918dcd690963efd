package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// Version is the module's version, which client and keeper tell each other.
var Version = "0.1.0-dev"

// Options says how a keeper is started. The zero value finds it by $BIVOUAC, then `go tool`, then $PATH.
type Options struct {
	// Keeper is the path of the bivouac executable; empty means to look for it.
	Keeper string
	// Env adds to the keeper's environment, which is otherwise the calling process's.
	Env []string
	// Running is a keeper to take over instead of starting one.
	Running *RunningKeeper
}

// Client is a connection to a keeper of its own. It is safe for concurrent use.
type Client struct {
	conn   *wire.Conn
	keeper *exec.Cmd
	stderr *tail
	words  chan struct{} // closed when an adopted keeper's stderr has ended; otherwise nil
	wait   func() error  // for the keeper's end, once

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*call
	ended   error         // why there will be no more answers
	done    chan struct{} // closed with ended
}

// Start starts a keeper. It does not wait for it: a keeper that cannot work fails the first request.
//
// Errors: CodeProtocol if no keeper is found or it cannot be started.
func Start(ctx context.Context, o Options) (*Client, error) {
	c := &Client{waiting: map[uint64]*call{}, done: make(chan struct{}), stderr: &tail{}}
	c.wait = sync.OnceValue(c.waitKeeper)
	open := c.openKeeper
	if o.Running != nil {
		open = c.adoptKeeper
	}
	if err := open(ctx, o); err != nil {
		return nil, err
	}
	if err := c.conn.Send(0, KindHello, Hello{Protocol: ProtocolVersion, Version: Version}); err != nil {
		return nil, errors.Join(c.lost(err), c.Close())
	}
	go c.receive()
	return c, nil
}

func (c *Client) openKeeper(ctx context.Context, o Options) error {
	path, err := findKeeper(ctx, o.Keeper)
	if err != nil {
		return err
	}
	conn, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	c.conn = conn
	if err := c.startKeeper(path, o.Env, theirs); err != nil {
		return errors.Join(err, conn.Close())
	}
	return nil
}

func (c *Client) startKeeper(path string, env []string, socket *os.File) error {
	c.keeper = exec.Command(path, "keeper")
	c.keeper.Env = append(os.Environ(), env...)
	c.keeper.ExtraFiles = []*os.File{socket}
	c.keeper.Stderr = c.stderr
	c.keeper.WaitDelay = time.Second // for who else may hold its stderr
	// A group of its own, so that the terminal's Ctrl-C reaches the caller alone.
	c.keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.keeper.Start(); err != nil {
		return Errorf(CodeProtocol, "start the keeper %s: %v", path, err).WithRemedy("set $BIVOUAC to the bivouac executable")
	}
	return nil
}

// Close ends the keeper and with it every container of this client, and waits until the keeper is gone. It is
// idempotent.
func (c *Client) Close() error {
	err := c.conn.Close()
	return errors.Join(ignoreClosed(err), c.wait())
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// endGrace is how long a keeper may take to end once its socket is closed.
const endGrace = 10 * time.Second

func (c *Client) waitKeeper() error {
	kill := time.AfterFunc(endGrace, func() { _ = syscall.Kill(-c.keeper.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	err := c.keeper.Wait()
	c.awaitWords()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		return nil // how it ended matters to nobody who closes it
	}
	return fmt.Errorf("wait for the keeper: %w", err)
}

// Abandon closes the connection without waiting for the keeper, which ends by itself at once.
func (c *Client) Abandon() { _ = c.conn.Close() }

// receive hands every answer to the request that waits for it.
func (c *Client) receive() {
	err := c.receiveHello()
	for err == nil {
		var m *wire.Message
		if m, err = c.conn.Receive(); err == nil {
			c.deliver(m)
		}
	}
	c.mu.Lock()
	c.ended = c.lost(err)
	c.mu.Unlock()
	close(c.done)
}

func (c *Client) receiveHello() error {
	m, err := c.conn.Receive()
	if err != nil {
		return err
	}
	var h Hello
	if m.Kind != KindHello || m.Decode(&h) != nil {
		return Errorf(CodeProtocol, "the keeper %s answered %q instead of a greeting", c.keeper.Path, m.Kind)
	}
	if h.Protocol != ProtocolVersion {
		return Errorf(CodeProtocol, "the keeper %s (version %s) speaks protocol %d, this program %d", c.keeper.Path, h.Version, h.Protocol, ProtocolVersion).
			WithRemedy("install the bivouac command of version %s, or set $BIVOUAC to it", Version)
	}
	return nil
}

func (c *Client) deliver(m *wire.Message) {
	c.mu.Lock()
	call := c.waiting[m.ID]
	if m.Kind == KindDone || m.Kind == KindFailed {
		delete(c.waiting, m.ID)
	}
	c.mu.Unlock()
	if call == nil {
		m.CloseFiles()
		return
	}
	select {
	case call.answers <- m:
	case <-call.gone:
		m.CloseFiles()
	}
}

// lost makes one error of the end of the connection and what the keeper last said.
func (c *Client) lost(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if !errors.Is(err, io.EOF) {
		return Errorf(CodeProtocol, "talk to the keeper: %v", err)
	}
	_ = c.wait() // so that all of its last words are there
	if words := c.stderr.String(); words != "" {
		return &Error{Code: CodeUnsupported, Message: words}
	}
	return Errorf(CodeProtocol, "the keeper ended (%v)", c.keeper.ProcessState)
}

// call is a request that is not finished.
type call struct {
	id      uint64
	answers chan *wire.Message
	gone    chan struct{} // closed when nobody reads the answers any more
}

// request sends a request; [Client.next] gives its answers.
func (c *Client) request(kind string, body any, files ...*os.File) (*call, error) {
	r := &call{answers: make(chan *wire.Message, 16), gone: make(chan struct{})}
	c.mu.Lock()
	c.last++
	r.id = c.last
	c.waiting[r.id] = r
	c.mu.Unlock()
	if err := c.conn.Send(r.id, kind, body, files...); err != nil {
		if !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			return nil, err
		}
		<-c.done // the reader knows better why
		return nil, c.ended
	}
	return r, nil
}

// next waits for a request's next answer; KindFailed becomes the error. When ctx ends, the request is cancelled: what it
// started is ended.
func (c *Client) next(ctx context.Context, r *call) (*wire.Message, error) {
	select {
	case m := <-r.answers:
		return m, failure(m)
	default:
	}
	select {
	case m := <-r.answers:
		return m, failure(m)
	case <-ctx.Done():
		c.cancel(r)
		return nil, ctx.Err()
	case <-c.done:
		return c.lastAnswer(r)
	}
}

// lastAnswer returns what came before the connection ended, or why it ended.
func (c *Client) lastAnswer(r *call) (*wire.Message, error) {
	select {
	case m := <-r.answers:
		return m, failure(m)
	default:
		return nil, c.ended
	}
}

func (c *Client) cancel(r *call) {
	c.mu.Lock()
	delete(c.waiting, r.id)
	c.mu.Unlock()
	close(r.gone)
	_ = c.conn.Send(r.id, KindCancel, nil) // fails only where the keeper is gone anyway
}

func failure(m *wire.Message) error {
	if m.Kind != KindFailed {
		return nil
	}
	e := &Error{}
	if err := json.Unmarshal(m.Body, e); err != nil {
		return fmt.Errorf("decode the keeper's error: %w", err)
	}
	return e
}
