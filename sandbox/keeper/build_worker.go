package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/build"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
)

// buildWorker does for a build what needs registries, mounts and containers.
type buildWorker struct {
	k     *keeper
	spec  *sandbox.BuildSpec
	asker *asker
}

// Pull returns an image with its layers unpacked.
func (w *buildWorker) Pull(ctx context.Context, ref, platform string, events func(rootfs.Event)) (*rootfs.Image, error) {
	parsed, err := rootfs.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	get := w.spec.Get
	return w.k.store.Pull(ctx, parsed, rootfs.PullOptions{
		Policy: rootfs.Policy(get.Pull), Platform: platform, PlainHTTP: get.PlainHTTP, CAFile: get.CAFile,
		IgnoreChownErrors: get.IgnoreChownErrors, MaxUnpackedSize: get.MaxUnpackedSize, Helper: w.asker.help, Progress: events,
	})
}

// Push pushes an image without a name.
func (w *buildWorker) Push(ctx context.Context, image *rootfs.Image, ref string, events func(rootfs.Event)) error {
	parsed, err := rootfs.ParseReference(ref)
	if err != nil {
		return err
	}
	_, err = w.k.store.PushImage(ctx, image, parsed, rootfs.PushOptions{
		PlainHTTP: w.spec.Get.PlainHTTP, CAFile: w.spec.Get.CAFile, Helper: w.asker.help, Progress: events,
	})
	return err
}

// Mount mounts an overlay in the keeper's own mount namespace.
func (w *buildWorker) Mount(_ context.Context, o build.Overlay) (root string, unmount func() error, err error) {
	root = filepath.Join(w.k.scratch.dir, "build-"+newID()[:12])
	if err := os.Mkdir(root, 0o700); err != nil {
		return "", nil, fmt.Errorf("make a mount point: %w", noSpace(err))
	}
	options := overlay.Options{Lower: o.Lowers, Upper: o.Upper, Work: o.Work, Volatile: o.Upper != ""}
	if err := overlay.Mount(root, options); err != nil {
		return "", nil, errors.Join(err, os.Remove(root))
	}
	return root, func() error { return errors.Join(overlay.Unmount(root), os.Remove(root)) }, nil
}
