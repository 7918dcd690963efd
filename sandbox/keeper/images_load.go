package keeper

import (
	"context"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// load takes the images of the archive that came with the message.
func (s *server) load(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.LoadRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	if len(m.Files) != 1 {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "load images: %d files instead of an archive", len(m.Files))}
	}
	a := s.asker(ctx, m.ID)
	images, err := k.store.Load(ctx, m.Files[0], rootfs.LoadOptions{
		Name: r.Name, Platform: r.Platform, Progress: func(e rootfs.Event) { a.progress(progressOf(e)) },
	})
	list := []sandbox.ImageInfo{}
	for _, image := range images {
		list = append(list, imageInfo(image))
		k.emitImage("load", image)
	}
	return outcome{body: list, err: err}
}

// emitImage records what was done with an image.
func (k *keeper) emitImage(action string, image *rootfs.Image) {
	k.bulletin.emit(sandbox.Event{Type: sandbox.EventImage, Action: action, ID: image.ID.String(), Attributes: map[string]string{"name": image.Name}})
}
