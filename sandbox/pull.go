package sandbox

import (
	"context"
	"fmt"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// Pull makes sure that an image is in the store with its layers unpacked. Progress, if not nil, is called for each step
// in order, from the goroutine that called Pull; it must not call the client.
//
// Errors: those of references, registries and the store (see [Code]).
func (c *Client) Pull(ctx context.Context, image string, get ImageOptions, progress func(Progress)) (ImageInfo, error) {
	var info ImageInfo
	r, err := c.request(KindPull, PullRequest{Image: image, Get: get})
	if err != nil {
		return info, err
	}
	m, err := c.skipProgress(ctx, r, progress)
	if err != nil {
		return info, err
	}
	return info, m.Decode(&info)
}

// skipProgress reports progress, and helps with credentials, until an answer of another kind comes.
func (c *Client) skipProgress(ctx context.Context, r *call, progress func(Progress)) (*wire.Message, error) {
	for {
		m, err := c.next(ctx, r)
		if err == nil && m.Kind == KindHelper {
			if err = c.help(r, m); err == nil {
				continue
			}
		}
		if err != nil || m.Kind != KindProgress {
			return m, err
		}
		var p Progress
		if err := m.Decode(&p); err != nil {
			c.cancel(r)
			return nil, fmt.Errorf("read progress: %w", err)
		}
		if progress != nil {
			progress(p)
		}
	}
}
