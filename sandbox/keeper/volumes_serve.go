package keeper

import (
	"context"
	"errors"
	"sync"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/volume"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// ownVolumes are the volumes that go with this keeper, by name.
type ownVolumes struct {
	mu   sync.Mutex
	uses map[string]*volume.Use
}

func (s *server) createVolume(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.CreateVolumeRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	o := volume.Options{Name: r.Name, Labels: r.Labels, Ephemeral: r.Ephemeral}
	if r.Ephemeral {
		o.User = &volume.User{ID: newID(), Name: "the program that made it"}
	}
	v, use, made, err := k.volumes.Create(ctx, o)
	if err != nil {
		return outcome{err: err}
	}
	if use != nil {
		k.ownVolumes.put(v.Name, use)
		k.volumesUsed.Store(true)
	}
	if made {
		k.emitVolume("create", v.Name, nil)
	}
	return outcome{body: sandbox.Volume{
		Name: v.Name, Path: v.Data(), Created: v.Created, Labels: v.Labels, Anonymous: v.Anonymous, Ephemeral: v.Ephemeral,
	}}
}

func (s *server) removeVolume(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.RemoveVolumeRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	removed := sandbox.RemovedVolume{}
	if v, err := k.volumes.Get(r.Name); err == nil && r.Measure {
		removed.Bytes = rootfs.DiskUsage(v.Data())
	}
	if err := k.removeVolume(ctx, r.Name); err != nil {
		return outcome{err: err}
	}
	k.emitVolume("destroy", r.Name, nil)
	return outcome{body: removed}
}

// removeVolume removes a volume that no container has, if it is one of this keeper's own with the keeper's use.
func (k *keeper) removeVolume(ctx context.Context, name string) error {
	own := k.ownVolumes.take(name)
	if own == nil {
		return k.volumes.Remove(ctx, name)
	}
	v := own.Volume()
	if users, err := v.Users(); err != nil || len(users) > 1 {
		k.ownVolumes.put(name, own)
		return errors.Join(err, k.volumes.Remove(ctx, name)) // which says who has it
	}
	return own.Release(ctx)
}

// discardVolumes removes the volumes that go with this keeper, but for those that others have: they go with these.
func (k *keeper) discardVolumes() {
	for name, use := range k.ownVolumes.takeAll() {
		_ = use.Release(context.Background())
		if _, err := k.volumes.Get(name); errors.Is(err, rootfs.NotFound) {
			k.emitVolume("destroy", name, nil)
		}
	}
}

func (o *ownVolumes) put(name string, use *volume.Use) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.uses == nil {
		o.uses = map[string]*volume.Use{}
	}
	o.uses[name] = use
}

func (o *ownVolumes) take(name string) *volume.Use {
	o.mu.Lock()
	defer o.mu.Unlock()
	use := o.uses[name]
	delete(o.uses, name)
	return use
}

func (o *ownVolumes) takeAll() map[string]*volume.Use {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.uses
	o.uses = nil
	return all
}
