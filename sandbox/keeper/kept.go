package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// makeRecord makes the directory of a container that is to be kept, which is none before [container.saveRecord].
func (c *container) makeRecord() error {
	if c.image.Host {
		return sandbox.Errorf(sandbox.CodeUnsupported, "keep container %s: what it changes of host: cannot lie on the disk that it lies above", firstOf(c.spec.Name, c.id[:12])).
			WithRemedy("have it discarded at its end: --rm")
	}
	dir := filepath.Join(c.k.containersDir(), c.id)
	return c.k.alone(func() error {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("create container directory: %w", noSpace(err))
		}
		lock, err := lockDirectory(dir)
		if err != nil || lock == nil {
			return errors.Join(fmt.Errorf("create container directory: %w", noSpace(err)), os.RemoveAll(dir))
		}
		c.record = &record{dir: dir, lock: lock, state: sandbox.RecordState{State: sandbox.StateCreated}}
		if c.spec.Name == "" {
			return nil
		}
		return c.k.linkName(c.spec.Name, c.id)
	})
}

// saveRecord writes down that there is a container, as the last step of its creation.
func (c *container) saveRecord() error {
	if c.record == nil || c.opened {
		return nil
	}
	layers := make([]string, len(c.image.Config.RootFS.DiffIDs))
	for i, d := range c.image.Config.RootFS.DiffIDs {
		layers[i] = d.String()
	}
	info := c.info()
	info.Warnings = nil // are told by each start
	c.record.fixed = sandbox.RecordFixed{
		Version: sandbox.RecordVersion, Info: info, Spec: *c.spec, Created: c.created, IDMap: c.k.idMap, Layers: layers, Volumes: c.volumeMounts(),
	}
	return c.record.save()
}

// open answers with a container that is kept.
func (s *server) open(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.OpenRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := k.openKept(ctx, r.ID, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: err}
	}
	s.remember(m.ID, c)
	if ctx.Err() != nil { // cancelled before it could be found
		return outcome{err: ctx.Err(), clean: func() { _ = s.discard(m.ID) }}
	}
	st, err := c.status()
	return outcome{body: st, err: err}
}

// openKept takes a container over that is kept, with its root file system mounted.
func (k *keeper) openKept(ctx context.Context, id string, a *asker) (*container, error) {
	r, err := k.takeRecord(ctx, id)
	if err != nil {
		return nil, err
	}
	c, err := k.reopened(ctx, r, a)
	if err != nil {
		r.close()
		return nil, err
	}
	return c.built()
}

func (k *keeper) reopened(ctx context.Context, r *record, a *asker) (*container, error) {
	if err := k.checkOwner(r); err != nil {
		return nil, err
	}
	image, err := k.imageOfRecord(ctx, r, a)
	if err != nil {
		return nil, err
	}
	spec := r.fixed.Spec
	c := k.newContainer(&spec, image)
	c.id, c.record, c.opened, c.created, c.setHost = r.fixed.Info.ID, r, true, r.fixed.Created, r.fixed.Info.Hostname
	c.volumes.recorded = r.fixed.Volumes
	return c, nil
}

// takeRecord locks a container for this keeper. Who has it for a moment, as to copy a file, is waited for.
//
// Errors: CodeNotFound, CodeInUse, CodeInvalid if the record cannot be read.
func (k *keeper) takeRecord(ctx context.Context, id string) (*record, error) {
	r, err := k.lockRecord(ctx, id)
	if err != nil {
		return nil, err
	}
	rec, err := sandbox.ReadRecord(id)
	if err == nil && rec.IDMap == "" {
		err = sandbox.Errorf(sandbox.CodeInvalid, "open container %.12s: %s", id, rec.Failure).WithRemedy("remove it: bivouac rm %s", rec.Name)
	}
	if err == nil {
		err = r.load(rec)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// load takes over what the record says, and puts it right if that is no longer so.
func (r *record) load(rec sandbox.Record) error {
	info := rec.Info
	info.Ports = nil
	r.fixed = sandbox.RecordFixed{
		Version: sandbox.RecordVersion, Info: info, Spec: rec.Spec, Created: rec.Created, IDMap: rec.IDMap, Layers: rec.Layers, Volumes: rec.Volumes,
	}
	was, at, err := sandbox.ReadState(r.dir)
	r.state, r.complete = was, true
	switch {
	case err != nil:
		return r.change(func(s *sandbox.RecordState) {
			s.Lost(fmt.Sprintf("what has become of its program is not on record: %v", err), at)
		})
	case was.State.Running(): // nobody has the lock, so nothing runs
		return r.change(func(s *sandbox.RecordState) { s.Lost(sandbox.KeeperGone, at) })
	}
	return nil
}

const (
	// lockPatience is how long another keeper may have a container whose program does not run.
	lockPatience = 10 * time.Second
	lockPoll     = 10 * time.Millisecond
)

// lockRecord locks the directory of a container, or of what is left of one.
//
// Errors: CodeNotFound, CodeInUse.
func (k *keeper) lockRecord(ctx context.Context, id string) (*record, error) {
	missing := sandbox.Errorf(sandbox.CodeNotFound, "find container %.64q: none has that id", id).WithRemedy("see bivouac ps -a")
	if !sandbox.IsContainerID(id) {
		return nil, missing
	}
	dir := filepath.Join(k.containersDir(), id)
	for late := time.Now().Add(lockPatience); ; {
		if _, err := os.Lstat(filepath.Join(dir, sandbox.RecordFile)); err != nil {
			return nil, missing
		}
		lock, err := lockDirectory(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, missing
		case err != nil:
			return nil, err
		case lock != nil:
			return &record{dir: dir, lock: lock}, nil
		}
		st, _, err := sandbox.ReadState(dir)
		if err == nil && st.State.Running() || time.Now().After(late) {
			return nil, sandbox.Errorf(sandbox.CodeInUse, "open container %.12s: another command has it", id).WithRemedy("try again, or see bivouac ps -a")
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// checkOwner refuses files that belong to ids of another mapping.
func (k *keeper) checkOwner(r *record) error {
	if r.fixed.IDMap == k.idMap {
		return nil
	}
	return sandbox.Errorf(sandbox.CodeUnsupported, "open container %s: its files belong to the id mapping %s, and yours is %s", r.fixed.Info.Name, r.fixed.IDMap, k.idMap).
		WithRemedy("restore your lines of /etc/subuid and /etc/subgid, or remove the container: bivouac rm %s", r.fixed.Info.Name)
}

// imageOfRecord gets the image that the container was made from, of which the store may have lost the name. A registry is asked
// only for what the store does not have.
func (k *keeper) imageOfRecord(ctx context.Context, r *record, a *asker) (*rootfs.Image, error) {
	was, spec := r.fixed.Info.Image, r.fixed.Spec
	if was.Digest == "" {
		return k.pull(ctx, was.Name, spec.Get, a)
	}
	image, err := k.store.ByDigest(digest.Digest(was.Digest), spec.Get.IgnoreChownErrors)
	if err != nil {
		return nil, err
	}
	if image == nil {
		if image, err = k.pullAgain(ctx, was, spec.Get, a); err != nil {
			return nil, sandbox.Errorf(toWire(err).Code, "open container %s: its image is not in the store any more, and cannot be had again: %v", r.fixed.Info.Name, err).
				WithRemedy("get the image of digest %s, or remove the container: bivouac rm %s", was.Digest, r.fixed.Info.Name)
		}
	}
	image.Name = was.Name
	return image, nil
}

func (k *keeper) pullAgain(ctx context.Context, was sandbox.ImageInfo, get sandbox.ImageOptions, a *asker) (*rootfs.Image, error) {
	name := was.Name
	if ref, err := rootfs.ParseReference(was.Name); err == nil && ref.Domain != "" {
		name = ref.Domain + "/" + ref.Repository + "@" + was.Digest
	}
	get.Pull = sandbox.PullMissing
	image, err := k.pull(ctx, name, get, a)
	if err == nil && image.Digest.String() != was.Digest {
		err = sandbox.Errorf(sandbox.CodeNotFound, "%s is another one by now", was.Name)
	}
	return image, err
}

// storeBack leaves the container to the store, or removes it from there. Nothing of it runs or is mounted any more.
func (c *container) storeBack(remove bool) error {
	defer c.record.close()
	if !remove {
		c.leaveVolumes()
		return c.record.change(func(s *sandbox.RecordState) {
			if s.State.Running() { // its end could not be put on record
				s.Lost(sandbox.KeeperGone, time.Now())
			}
		})
	}
	err := c.k.erase(c.record)
	return errors.Join(err, c.dropVolumes(c.dropAnonymous.Load() || !c.record.complete))
}
