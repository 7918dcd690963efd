package keeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

// pull returns an image whose layers are unpacked in the store.
func (k *keeper) pull(ctx context.Context, name string, get sandbox.ImageOptions, a *asker) (*rootfs.Image, error) {
	ref, err := rootfs.ParseReference(name)
	if err != nil {
		return nil, err
	}
	return k.store.Pull(ctx, ref, rootfs.PullOptions{
		Policy: rootfs.Policy(get.Pull), Platform: get.Platform, PlainHTTP: get.PlainHTTP, CAFile: get.CAFile,
		IgnoreChownErrors: get.IgnoreChownErrors, MaxUnpackedSize: get.MaxUnpackedSize,
		Helper: a.help, Progress: func(e rootfs.Event) { a.progress(progressOf(e)) },
	})
}

func progressOf(e rootfs.Event) sandbox.Progress {
	return sandbox.Progress{Layer: e.Layer.String(), Kind: string(e.Kind), Current: e.Current, Total: e.Total, Text: e.Text}
}

func imageInfo(i *rootfs.Image) sandbox.ImageInfo {
	return sandbox.ImageInfo{Name: i.Name, Digest: i.Digest.String(), ID: i.ID.String(), Notes: i.Notes}
}

// codes translates the store's errors. A code without an entry is the same word on both sides.
func toWire(err error) *sandbox.Error {
	var s *sandbox.Error
	if errors.As(err, &s) {
		return s
	}
	var r *rootfs.Error
	if errors.As(err, &r) {
		return &sandbox.Error{Code: sandbox.Code(r.Code), Message: fmt.Sprint(r.Err), Remedy: r.Remedy}
	}
	var u *userns.Unsupported
	if errors.As(err, &u) {
		return &sandbox.Error{Code: sandbox.CodeUnsupported, Message: fmt.Sprintf("%s: %v", u.Feature, u.Err), Remedy: u.Remedy}
	}
	code := sandbox.CodeInternal
	if errors.Is(err, errors.ErrUnsupported) {
		code = sandbox.CodeUnsupported
	}
	return &sandbox.Error{Code: code, Message: err.Error()}
}
