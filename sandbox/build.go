package sandbox

import (
	"context"
	"fmt"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// Build builds an image of a Dockerfile. Events, if not nil, is called for each event in order, from the goroutine that called
// Build; it must not call the client.
//
// Errors: CodeInvalid with line and excerpt for a Dockerfile that cannot be read; CodeBuild for a step that failed, as a RUN or a COPY; those of
// [Client.Pull] and [Client.Create].
func (c *Client) Build(ctx context.Context, spec BuildSpec, events func(BuildEvent)) (ImageInfo, error) {
	var info ImageInfo
	r, err := c.request(KindBuild, BuildRequest{Spec: spec})
	if err != nil {
		return info, err
	}
	for {
		m, err := c.skipProgress(ctx, r, nil)
		switch {
		case err != nil:
			return info, err
		case m.Kind != KindBuildEvent:
			return info, m.Decode(&info)
		}
		if err := tellOf(m, events); err != nil {
			c.cancel(r)
			return info, err
		}
	}
}

func tellOf(m *wire.Message, events func(BuildEvent)) error {
	var e BuildEvent
	if err := m.Decode(&e); err != nil {
		return fmt.Errorf("read the build's progress: %w", err)
	}
	if events != nil {
		events(e)
	}
	return nil
}
