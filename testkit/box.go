package testkit

import (
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/bivouac-run/bivouac/sandbox"
)

// box is what testkit does with a container of package sandbox.
type box interface {
	Start(ctx context.Context, s sandbox.Streams) error
	Wait(ctx context.Context) (sandbox.Exit, error)
	Signal(ctx context.Context, s syscall.Signal) error
	Discard(ctx context.Context) error
	Detach(ctx context.Context, outputs ...*os.File) error
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	exec(ctx context.Context, spec sandbox.ExecSpec, s sandbox.Streams) (process, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	AwaitListening(ctx context.Context, network string, port uint16) error
	OpenPorts(ctx context.Context) error
	Listening(ctx context.Context) ([]sandbox.Listener, error)
	Processes(ctx context.Context) ([]sandbox.ProcessInfo, error)
	Stats(ctx context.Context) (sandbox.Stats, error)
	FS(ctx context.Context) fs.FS
	CopyTo(ctx context.Context, dir string, tar io.Reader) error
	CopyFrom(ctx context.Context, path string) (io.ReadCloser, error)
	Changes(ctx context.Context) ([]sandbox.Change, error)
	Checkpoint(ctx context.Context, spec sandbox.CheckpointSpec) (sandbox.Snapshot, error)
	Reset(ctx context.Context, s sandbox.Streams) error
}

// process is a program that was started in a running container.
type process interface {
	Wait(ctx context.Context) (sandbox.Exit, error)
	Signal(ctx context.Context, s syscall.Signal) error
}

// realBox is a box that a keeper has.
type realBox struct{ *sandbox.Container }

func (b realBox) exec(ctx context.Context, spec sandbox.ExecSpec, s sandbox.Streams) (process, error) {
	p, err := b.Exec(ctx, spec, s)
	if err != nil {
		return nil, err
	}
	return p, nil
}
