package testkit

import (
	"context"

	"github.com/bivouac-run/bivouac/sandbox"
)

// engine is what testkit does with a keeper of package sandbox.
type engine interface {
	create(ctx context.Context, spec sandbox.Spec, progress func(sandbox.Progress)) (box, sandbox.Info, error)
	restore(ctx context.Context, spec sandbox.RestoreSpec) (box, sandbox.Info, error)
	claim(ctx context.Context, spec sandbox.ClaimSpec) (claim, error)
	RemoveSnapshot(ctx context.Context, snapshot string) error
	Build(ctx context.Context, spec sandbox.BuildSpec, events func(sandbox.BuildEvent)) (sandbox.ImageInfo, error)
	CreateVolume(ctx context.Context, r sandbox.CreateVolumeRequest) (sandbox.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
	Ended() <-chan struct{}
	Close() error
}

// claim is the right to make the snapshot of a content key, or the knowledge that it is there.
type claim interface {
	key() string
	snapshot() *sandbox.Snapshot // nil where it is to be made
	Commit(ctx context.Context) (sandbox.Snapshot, error)
	Abandon(ctx context.Context) error
}

// realEngine is an engine that runs as a child of this process.
type realEngine struct{ *sandbox.Client }

func startEngine(ctx context.Context, o sandbox.Options) (engine, error) {
	client, err := sandbox.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return realEngine{client}, nil
}

func (e realEngine) create(ctx context.Context, spec sandbox.Spec, progress func(sandbox.Progress)) (box, sandbox.Info, error) {
	return asBox(e.Create(ctx, spec, progress))
}

func (e realEngine) restore(ctx context.Context, spec sandbox.RestoreSpec) (box, sandbox.Info, error) {
	return asBox(e.Restore(ctx, spec))
}

func asBox(ct *sandbox.Container, err error) (box, sandbox.Info, error) {
	if err != nil {
		return nil, sandbox.Info{}, err
	}
	return realBox{ct}, ct.Info, nil
}

func (e realEngine) claim(ctx context.Context, spec sandbox.ClaimSpec) (claim, error) {
	c, err := e.Claim(ctx, spec, nil)
	if err != nil {
		return nil, err
	}
	return realClaim{c}, nil
}

type realClaim struct{ *sandbox.Claim }

func (c realClaim) key() string                 { return c.ID }
func (c realClaim) snapshot() *sandbox.Snapshot { return c.Snapshot }
