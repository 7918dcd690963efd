package testkit

import (
	"context"
	"fmt"

	"github.com/bivouac-run/bivouac/sandbox"
)

// SharedVolume is a directory that several containers of a test have, at the same time or one after the other. It outlives each
// of them, and belongs to the process: nothing is left of it after that, however it ends.
type SharedVolume struct {
	info   sandbox.Volume
	engine engine
}

// Volume makes an empty volume, which [MountVolume] puts into containers. The first container that has it gives it what its
// image has in the mount's place. It is removed after the test, whose containers are gone by then: make it before them.
func Volume(tb TB) *SharedVolume {
	tb.Helper()
	ctx, cancel := limited(tb)
	defer cancel()
	v, err := NewVolume(ctx)
	if err != nil {
		giveUp(tb, err)
		return nil
	}
	tb.Cleanup(func() {
		if err := v.Close(); err != nil {
			tb.Logf("testkit: %v", err)
		}
	})
	return v
}

// NewVolume is [Volume] for programs that are no tests. The caller closes it.
//
// Errors: CodeNoSpace; errors.Is(err, errors.ErrUnsupported) on a machine that cannot run containers.
func NewVolume(ctx context.Context) (*SharedVolume, error) { return newVolume(ctx, shared) }

func newVolume(ctx context.Context, k *keeper) (*SharedVolume, error) {
	v := &SharedVolume{}
	err := k.do(ctx, func(e engine) (err error) {
		v.engine = e
		v.info, err = e.CreateVolume(ctx, sandbox.CreateVolumeRequest{Ephemeral: true})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a volume: %w", err)
	}
	return v, nil
}

// Inspect returns what is known of the volume.
func (v *SharedVolume) Inspect() sandbox.Volume { return v.info }

// Close removes the volume. One that a container has is removed with the last of those. It is idempotent.
func (v *SharedVolume) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), discardTimeout)
	defer cancel()
	err := v.engine.RemoveVolume(ctx, v.info.Name)
	switch {
	case err == nil, hasEnded(v.engine), sandbox.CodeOf(err) == sandbox.CodeNotFound:
		return nil
	case sandbox.CodeOf(err) == sandbox.CodeInUse:
		return nil // it goes with the process
	}
	return fmt.Errorf("remove a volume: %w", err)
}

// MountVolume mounts a volume of [Volume] on a directory of the container.
func MountVolume(v *SharedVolume, target string) Option { return mountVolume(v, target, false) }

// MountVolumeReadOnly is [MountVolume] for a container that may not change what is in the volume.
func MountVolumeReadOnly(v *SharedVolume, target string) Option { return mountVolume(v, target, true) }

func mountVolume(v *SharedVolume, target string, readOnly bool) Option {
	return func(s *settings) {
		if v == nil {
			s.refuse("MountVolume(nil, %s): there is no volume", target)
			return
		}
		s.volumes = append(s.volumes, v)
		s.spec.Mounts = append(s.spec.Mounts, sandbox.Mount{Type: sandbox.MountVolume, Source: v.info.Name, Target: target, ReadOnly: readOnly})
	}
}

// checkVolumes refuses volumes that went with a keeper: mounting one would make another one of its name.
func (s *settings) checkVolumes(e engine) error {
	for _, v := range s.volumes {
		if v.engine != e {
			return sandbox.Errorf(sandbox.CodeNotFound, "mount a volume: it went with the keeper that made it").WithRemedy("make it again")
		}
	}
	return nil
}
