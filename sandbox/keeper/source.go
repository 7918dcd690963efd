package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot"
	"github.com/bivouac-run/bivouac/snapshot/criu"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// source is a snapshot that containers are made from.
type source struct {
	snap   *snapshot.Snapshot
	detail *detail
	image  *rootfs.Image
	hold   *snapshot.Hold
	users  int // containers; guarded by sources.mu
	// filtered is set once the images were seen to have the container's own seccomp filter.
	filtered atomic.Bool
}

// detail is what the keeper has to say of a snapshot.
type detail struct {
	// Version is detailVersion.
	Version int `json:"version"`
	// Single tells that it was made by a user with a single id.
	Single bool `json:"single,omitempty"`
	// Snapshot is what clients see, but for what the store knows.
	Snapshot sandbox.Snapshot `json:"snapshot"`
	// Tree is the processes', nil without any.
	Tree *frozenTree `json:"tree,omitempty"`
	// Emulation is what is known of the users of those who have a single id.
	Emulation *emulate.Saved `json:"emulation,omitempty"`
}

// detailVersion is raised when what is in a snapshot changes its meaning.
const detailVersion = 1

// frozenTree is what is known of processes besides CRIU's images. Numbers of processes are the container's.
type frozenTree struct {
	Root    int `json:"root"`
	LastPID int `json:"last_pid"`
	// Streams are what the root's descriptors 0 to 2 were, as /proc/PID/fd has it.
	Streams [3]string `json:"streams"`
	// Clock is what the processes' monotonic clock showed, BootClock the one that counts suspension too, in nanoseconds.
	Clock     int64 `json:"clock"`
	BootClock int64 `json:"boot_clock"`
}

// sources are the snapshots in use.
type sources struct {
	opening singleflight.Group
	mu      sync.Mutex
	open    map[string]*source // by id
}

// use counts a user in. A snapshot that is not in use yet is verified and stays held until [keeper.forget], so that the
// next clone is made without looking at its files again.
func (k *keeper) use(ctx context.Context, sn *snapshot.Snapshot, image imageGetter) (*source, error) {
	id := sn.Meta().ID
	for {
		if s := k.sources.take(id); s != nil {
			return s, nil
		}
		_, err, _ := k.sources.opening.Do(id, func() (any, error) {
			s, err := k.openSource(ctx, sn, image)
			if err == nil {
				k.sources.put(id, s)
			}
			return nil, err
		})
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.Canceled)) { // it may be another's that was cancelled
			return nil, err
		}
	}
}

func (ss *sources) take(id string) *source {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.open[id]
	if s != nil {
		s.users++
	}
	return s
}

func (ss *sources) put(id string, s *source) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.open == nil {
		ss.open = map[string]*source{}
	}
	ss.open[id] = s
}

// imageGetter returns the image that a snapshot lies above.
type imageGetter func(ctx context.Context, s *sandbox.Snapshot) (*rootfs.Image, error)

func (k *keeper) openSource(ctx context.Context, sn *snapshot.Snapshot, image imageGetter) (_ *source, err error) {
	s := &source{snap: sn}
	if s.hold, err = sn.Hold(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.hold.Release()
		}
	}()
	if err := sn.Verify(ctx); err != nil {
		return nil, err
	}
	if s.detail, err = readDetail(sn.Meta()); err != nil {
		return nil, err
	}
	if err := k.checkMachine(sn.Meta()); err != nil {
		return nil, err
	}
	s.image, err = image(ctx, &s.detail.Snapshot)
	return s, err
}

func readDetail(m snapshot.Meta) (*detail, error) {
	d := &detail{}
	if err := json.Unmarshal(m.Detail, d); err != nil {
		return nil, staleError(m.ID, fmt.Sprintf("what it says of itself cannot be read: %v", err))
	}
	if d.Version != detailVersion {
		return nil, staleError(m.ID, "another version of bivouac has made it")
	}
	if m.HasImages != (d.Tree != nil) {
		return nil, staleError(m.ID, "it contradicts itself")
	}
	return d, nil
}

func staleError(id, why string) error {
	return sandbox.Errorf(sandbox.CodeStale, "use snapshot %.12s: %s", id, why).WithRemedy("remove it and make it again")
}

// checkMachine refuses processes of another kernel, processor or CRIU: they may not find what they have seen there.
func (k *keeper) checkMachine(m snapshot.Meta) error {
	if !m.HasImages {
		return nil
	}
	here, err := k.machine()
	if err != nil {
		return err
	}
	for _, c := range []struct{ what, was, is string }{
		{"kernel", m.Kernel, here.kernel}, {"processor", m.CPU, here.cpu}, {"CRIU", m.CRIU, here.criu},
	} {
		if c.was != c.is {
			return staleError(m.ID, fmt.Sprintf("its processes were checkpointed with another %s (%s, here it is %s)", c.what, c.was, c.is))
		}
	}
	return nil
}

// imageBy gets the image by its digest: the name may mean another one by now.
func (k *keeper) imageBy(a *asker) imageGetter {
	return func(ctx context.Context, s *sandbox.Snapshot) (*rootfs.Image, error) { return k.imageOf(ctx, s, a) }
}

func (k *keeper) imageOf(ctx context.Context, s *sandbox.Snapshot, a *asker) (*rootfs.Image, error) {
	image, err := k.pull(ctx, s.Spec.Image, s.Spec.Get, a)
	if err != nil || image.Digest.String() == s.Image.Digest {
		return image, err
	}
	ref, err := rootfs.ParseReference(s.Image.Name)
	if err == nil && ref.Domain != "" {
		image, err = k.pull(ctx, ref.Domain+"/"+ref.Repository+"@"+s.Image.Digest, s.Spec.Get, a)
		if err == nil && image.Digest.String() == s.Image.Digest {
			return image, nil
		}
	}
	return nil, staleError(s.ID, fmt.Sprintf("its image %s is another one by now, and %s cannot be had (%v)", s.Image.Name, s.Image.Digest, err))
}

// checkImages makes sure that the snapshot's processes are given the filter that the container's specification means:
// their images may be somebody else's, or older than this version's filter.
func (c *container) checkImages() error {
	if c.source == nil || c.source.detail.Tree == nil || len(c.plan.filter) == 0 || c.source.filtered.Load() {
		return nil
	}
	err := criu.VerifySeccomp(c.source.snap.Images(), c.plan.filter, uint32(c.plan.filterFlags))
	if err != nil {
		return staleError(c.source.snap.Meta().ID, fmt.Sprintf("the seccomp filter of its processes: %v", err))
	}
	c.source.filtered.Store(true)
	return nil
}

// release counts a user out.
func (k *keeper) release(s *source) {
	k.sources.mu.Lock()
	defer k.sources.mu.Unlock()
	s.users--
}

// forget lets go of a snapshot that is not in use.
func (k *keeper) forget(id string) {
	k.sources.mu.Lock()
	defer k.sources.mu.Unlock()
	if s := k.sources.open[id]; s != nil && s.users == 0 {
		s.hold.Release()
		delete(k.sources.open, id)
	}
}

// layers are the directories below what the container changes, the lowest first.
func (c *container) layers() []string {
	if c.source == nil {
		return c.image.Layers
	}
	return slices.Concat(c.image.Layers, c.source.snap.Layers())
}
