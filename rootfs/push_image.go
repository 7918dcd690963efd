package rootfs

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PushImage is [Store.Push] for an image that the store need not have under the name that it gets in the registry.
//
// Errors: those of Push.
func (s *Store) PushImage(ctx context.Context, image *Image, ref Reference, o PushOptions) (Pushed, error) {
	pushed, err := s.pushImage(ctx, image, ref, o)
	if err != nil {
		return pushed, about(err, "push "+ref.String())
	}
	return pushed, nil
}

func (s *Store) pushImage(ctx context.Context, image *Image, ref Reference, o PushOptions) (Pushed, error) {
	if ref.Transport != Registry || ref.Digest != "" {
		return Pushed{}, fail(BadReference, "write NAME[:TAG]", "an image is pushed to a name and a tag")
	}
	return s.send(ctx, ref, ocispec.Descriptor{Digest: image.Digest}, true, o)
}
