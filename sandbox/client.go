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
	"strings"
	"sync"
	"sync/atomic"
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
	// detached tells that the keeper goes on without this client.
	detached atomic.Bool

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*call
	starts  chan struct{} // see [Client.requestStart]
	ended   error         // why there will be no more answers
	done    chan struct{} // closed with ended
}

// Start starts a keeper. It does not wait for it: a keeper that cannot work fails the first request.
//
// Errors: CodeProtocol if no keeper is found or it cannot be started.
func Start(ctx context.Context, o Options) (*Client, error) {
	c := &Client{waiting: map[uint64]*call{}, starts: make(chan struct{}, maxStarts), done: make(chan struct{}), stderr: &tail{}}
	c.wait = sync.OnceValue(c.waitKeeper)
	open := c.openKeeper
	if o.Running != nil {
		open = c.adoptKeeper
	}
	if err := open(ctx, o); err != nil {
		return nil, err
	}
	if err := c.conn.Send(0, KindHello, newHello()); err != nil {
		return nil, errors.Join(c.lost(err), c.Close())
	}
	go c.receive()
	return c, nil
}

// openKeeper finds a keeper's executable and starts it.
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
	// A session of its own, so that the terminal's Ctrl-C and hang-up reach the caller alone.
	c.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.keeper.Start(); err != nil {
		return Errorf(CodeProtocol, "start the keeper %s: %v", path, err).WithRemedy("set $BIVOUAC to the bivouac executable")
	}
	return nil
}

// Close ends the keeper and with it every container of this client, and waits until the keeper is gone, unless it goes on
// for a detached container. It is idempotent.
func (c *Client) Close() error {
	err := c.conn.Close()
	if c.endsWithout() {
		return ignoreClosed(err)
	}
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
	if err := failure(m); err != nil {
		return err
	}
	var h Hello
	if m.Kind != KindHello || m.Decode(&h) != nil {
		return Errorf(CodeProtocol, "the keeper %s answered %q instead of a greeting", c.keeperName(), m.Kind)
	}
	if h.Protocol != ProtocolVersion {
		return Errorf(CodeProtocol, "the keeper %s (version %s) speaks protocol %d, this program %d", c.keeperName(), h.Version, h.Protocol, ProtocolVersion).
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
	if !errors.Is(err, io.EOF) && !isGone(err) {
		return Errorf(CodeProtocol, "talk to the keeper: %v", err)
	}
	if c.endsWithout() {
		return Errorf(CodeAlreadyFinished, "the container, or the connection with it, has ended")
	}
	_ = c.wait() // so that all of its last words are there
	words := c.stderr.String()
	switch {
	case strings.Contains(words, "\ngoroutine "): // what the Go runtime says of a crash is not about this machine
		return Errorf(CodeInternal, "the keeper has crashed: %s", words)
	case words != "":
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
		if !errors.Is(err, net.ErrClosed) && !isGone(err) {
			c.mu.Lock()
			delete(c.waiting, r.id)
			c.mu.Unlock()
			return nil, err
		}
		<-c.done // the reader knows better why
		return nil, c.ended
	}
	return r, nil
}

// maxStarts is how many programs are being started at once, of containers that are there. Each request takes open files
// with it, of which the keeper can have only so many.
const maxStarts = 32

// requestStart is request, and next for the answer that the program has started. It waits for its turn.
func (c *Client) requestStart(ctx context.Context, kind string, body any, files []*os.File) (*call, *wire.Message, error) {
	select {
	case c.starts <- struct{}{}:
		defer func() { <-c.starts }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	r, err := c.request(kind, body, files...)
	if err != nil {
		return nil, nil, err
	}
	m, err := c.next(ctx, r)
	return r, m, err
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

// ask sends a request that is answered once and decodes the answer into result, unless that is nil.
func (c *Client) ask(ctx context.Context, kind string, body, result any, files ...*os.File) error {
	m, err := c.askMessage(ctx, kind, body, files...)
	if err != nil {
		return err
	}
	m.CloseFiles()
	if result == nil {
		return nil
	}
	return m.Decode(result)
}

// askMessage is ask for answers with files, which the caller then owns.
func (c *Client) askMessage(ctx context.Context, kind string, body any, files ...*os.File) (*wire.Message, error) {
	r, err := c.request(kind, body, files...)
	if err != nil {
		return nil, err
	}
	return c.next(ctx, r)
}

func (c *Client) cancel(r *call) {
	c.mu.Lock()
	delete(c.waiting, r.id)
	c.mu.Unlock()
	close(r.gone)
	_ = c.conn.Send(r.id, KindCancel, nil) // fails only where the keeper is gone anyway
}

func failure(m *wire.Message) error {
	if m.FilesLost {
		return FilesLost("this process")
	}
	if m.Kind != KindFailed {
		return nil
	}
	e := &Error{}
	if err := json.Unmarshal(m.Body, e); err != nil {
		return fmt.Errorf("decode the keeper's error: %w", err)
	}
	return e
}
