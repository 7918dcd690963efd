package testkit

import (
	"context"
	"fmt"

	"github.com/bivouac-run/bivouac/sandbox"
)

func (e *fakeEngine) CreateVolume(_ context.Context, r sandbox.CreateVolumeRequest) (sandbox.Volume, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := sandbox.Volume{Name: fmt.Sprintf("volume%d", len(e.volumes)), Ephemeral: r.Ephemeral}
	if e.volumes == nil {
		e.volumes = map[string]bool{}
	}
	e.volumes[v.Name] = true
	return v, nil
}

func (e *fakeEngine) RemoveVolume(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.volumes[name] {
		return sandbox.Errorf(sandbox.CodeNotFound, "none")
	}
	e.volumes[name] = false
	return nil
}
