package criu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"
)

// Hooks are called while CRIU waits; nil ones count as successful.
type Hooks struct {
	// PreDump is called before anything is stopped, PostDump when the images are written and all processes are stopped: if it
	// fails, they go on as if nothing had happened, and so does the dump fail.
	PreDump, PostDump func() error
	// PostRestore is called when all processes are there, but their capabilities, seccomp filters and uids; if it fails CRIU
	// kills them. The pid is the root process's, in CRIU's pid namespace.
	PostRestore func(pid int) error
	// PreResume is called when the processes are complete and stopped before their next instruction. After its failure CRIU
	// would let them run all the same; therefore it gets no answer then, and all stay as they are. The caller must kill them
	// before it closes the connection.
	PreResume func() error
}

// Error tells that CRIU said no. What it means is in its log, see [Diagnose].
type Error struct {
	Op string // "dump" or "restore"
	// Errno is what CRIU answered, 0 if it did not. Message is what the first error of its log means, empty where that is a
	// harmless one, as often.
	Errno   unix.Errno
	Message string
}

func (e *Error) Error() string {
	text := e.Op + " by CRIU failed"
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap returns the Errno, nil if it is 0.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// ErrGone tells that CRIU ended without an answer.
var ErrGone = errors.New("CRIU ended without an answer")

// Dump has the CRIU at the other end of conn, a socket of type SOCK_SEQPACKET, write images of the processes. Unless they
// are left running they are dead afterwards. Where it fails they go on running.
//
// When the context ends, the connection is shut down and Dump returns at once; CRIU sees that at its next hook and has the
// processes go on. To kill CRIU before it has ended may kill the processes.
//
// Errors: [*Error], [ErrGone], those of hooks and of the context.
func Dump(ctx context.Context, conn *net.UnixConn, o DumpOptions, h Hooks) error {
	stop := context.AfterFunc(ctx, func() { shutDown(conn) })
	defer stop()
	c := conversation{ctx: ctx, conn: conn, op: "dump", hooks: h}
	_, err := c.ask(rpc.CriuReqType_DUMP, o.options())
	return err
}

// Restore has the CRIU at the other end of conn bring processes back from images, and returns the root process's pid in
// CRIU's pid namespace. Its parent is CRIU until that ends, which it does at once.
//
// When the context ends, Restore returns at once, but the connection stays open, for CRIU would let half-made processes
// run: the caller must kill CRIU and the processes, best all that is in their pid namespace, before it closes the
// connection. The same goes for every other error but [*Error].
//
// Errors: [*Error], [ErrGone], those of hooks and of the context.
func Restore(ctx context.Context, conn *net.UnixConn, o RestoreOptions, h Hooks) (int, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails on a closed one only
	defer stop()
	c := conversation{ctx: ctx, conn: conn, op: "restore", hooks: h}
	resp, err := c.ask(rpc.CriuReqType_RESTORE, o.options())
	if err != nil {
		return 0, err
	}
	return int(resp.GetRestore().GetPid()), nil
}

// shutDown has both ends read the end of the connection.
func shutDown(conn *net.UnixConn) {
	_ = conn.CloseWrite() // fails if it is closed already
	_ = conn.CloseRead()
}

type conversation struct {
	ctx   context.Context
	conn  *net.UnixConn
	op    string
	hooks Hooks
}

// ask sends a request and answers notifications until the response comes.
func (c *conversation) ask(kind rpc.CriuReqType, o *rpc.CriuOpts) (*rpc.CriuResp, error) {
	var hookErr error
	for req := (&rpc.CriuReq{Type: &kind, Opts: o}); ; {
		resp, err := c.exchange(req)
		switch {
		case err != nil:
			return nil, errors.Join(hookErr, c.explain(err))
		case resp.GetType() != rpc.CriuReqType_NOTIFY:
			return c.finish(kind, resp, hookErr)
		case hookErr == nil:
			hookErr = c.call(resp.GetNotify())
		}
		if hookErr != nil && resp.GetNotify().GetScript() == preResume {
			return nil, hookErr
		}
		req = &rpc.CriuReq{Type: new(rpc.CriuReqType_NOTIFY), NotifySuccess: new(hookErr == nil)}
	}
}

// finish judges the last response.
func (c *conversation) finish(kind rpc.CriuReqType, resp *rpc.CriuResp, hookErr error) (*rpc.CriuResp, error) {
	switch {
	case hookErr != nil:
		return nil, hookErr
	case !resp.GetSuccess():
		return nil, &Error{Op: c.op, Errno: unix.Errno(resp.GetCrErrno()), Message: meaning(resp.GetCrErrmsg())}
	case resp.GetType() != kind:
		return nil, fmt.Errorf("%s by CRIU: it answers %s", c.op, resp.GetType())
	}
	return resp, nil
}

// meaning explains the first error of a log.
func meaning(line string) string {
	if f := Diagnose([]byte(line)); f != nil {
		return f.Message
	}
	return ""
}

const preResume = "pre-resume"

func (c *conversation) call(n *rpc.CriuNotify) error {
	var hook func() error
	switch n.GetScript() {
	case "pre-dump":
		hook = c.hooks.PreDump
	case "post-dump":
		hook = c.hooks.PostDump
	case preResume:
		hook = c.hooks.PreResume
	case "post-restore":
		if c.hooks.PostRestore != nil {
			hook = func() error { return c.hooks.PostRestore(int(n.GetPid())) }
		}
	}
	if hook == nil {
		return nil
	}
	return hook()
}

// maxMessage is above what CRIU sends: a response of some 20 bytes and one line of its log.
const maxMessage = 64 << 10

// exchange sends a message and receives the next one.
func (c *conversation) exchange(req *rpc.CriuReq) (*rpc.CriuResp, error) {
	message, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(message); err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	n, _, flags, _, err := c.conn.ReadMsgUnix(buf, nil)
	switch {
	case err != nil:
		return nil, err
	case flags&unix.MSG_TRUNC != 0:
		return nil, fmt.Errorf("a message of CRIU has more than %d bytes", maxMessage)
	}
	resp := &rpc.CriuResp{}
	if err := resp.UnmarshalVT(buf[:n]); err != nil {
		return nil, fmt.Errorf("read message of CRIU: %w", err)
	}
	return resp, nil
}

// explain tells the context's end, and CRIU's, from other errors of the connection.
func (c *conversation) explain(err error) error {
	switch {
	case c.ctx.Err() != nil:
		err = context.Cause(c.ctx)
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		err = ErrGone
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = context.DeadlineExceeded
	}
	return fmt.Errorf("%s by CRIU: %w", c.op, err)
}
