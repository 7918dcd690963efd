package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker/go-units"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
	"github.com/bivouac-run/bivouac/snapshot"
)

// SnapshotLimitVariable names the environment variable with the size that all snapshots together may have, such as 20GB.
const SnapshotLimitVariable = "BIVOUAC_SNAPSHOT_LIMIT"

// openSnapshots finds the places of snapshots: the store's, and one in memory that ends with the keeper.
func (k *keeper) openSnapshots(mapID string) (err error) {
	if k.snapshots, err = snapshot.Open(filepath.Join(k.home, "snapshots", mapID)); err != nil {
		return err
	}
	k.ephemeral, err = snapshot.OpenEphemeral(filepath.Join(k.scratch.dir, "snapshots"))
	return err
}

func (k *keeper) storeFor(spec *sandbox.CheckpointSpec) *snapshot.Store {
	if spec.Ephemeral {
		return k.ephemeral
	}
	return k.snapshots
}

// mayKeep refuses before any work is done what keepSnapshot would refuse after it.
func (k *keeper) mayKeep(spec *sandbox.CheckpointSpec) error {
	if spec.Claim != "" {
		return k.claims.check(spec.Claim)
	}
	_, err := snapshotLimit()
	return err
}

// keepSnapshot does with a finished draft what was asked for.
func (k *keeper) keepSnapshot(spec *sandbox.CheckpointSpec, d *snapshot.Draft, sn *snapshot.Snapshot) (sandbox.Snapshot, error) {
	if spec.Claim != "" {
		if err := k.claims.keep(spec.Claim, d, sn); err != nil {
			return sandbox.Snapshot{}, err
		}
		return describe(sn)
	}
	return k.publish(sn)
}

// publish lists a snapshot, and makes room for it.
func (k *keeper) publish(sn *snapshot.Snapshot) (sandbox.Snapshot, error) {
	limit, err := snapshotLimit()
	if err != nil {
		return sandbox.Snapshot{}, err
	}
	if err := sn.Publish(); err != nil {
		return sandbox.Snapshot{}, err
	}
	if _, err := k.snapshots.Evict(limit); err != nil {
		fmt.Fprintf(os.Stderr, "bivouac: remove old snapshots: %v\n", err)
	}
	return describe(sn)
}

func snapshotLimit() (int64, error) {
	text := os.Getenv(SnapshotLimitVariable)
	if text == "" {
		return snapshot.DefaultLimit, nil
	}
	limit, err := units.RAMInBytes(text)
	if err != nil || limit <= 0 {
		return 0, sandbox.Errorf(sandbox.CodeInvalid, "read $%s: %q is no size", SnapshotLimitVariable, text).WithRemedy("use a size such as 20GB")
	}
	return limit, nil
}

// findSnapshot looks among the client's own, then in the store.
func (k *keeper) findSnapshot(ref string) (*snapshot.Snapshot, error) {
	if sn := k.claims.pending(ref); sn != nil {
		return sn, nil
	}
	sn, err := k.ephemeral.Find(ref)
	if err == nil {
		return sn, nil
	}
	return k.snapshots.Find(ref)
}

func (s *server) snapshotList(_ context.Context, k *keeper, _ *wire.Message) outcome {
	stored, err := k.snapshots.List()
	own, err2 := k.ephemeral.List()
	if err := errors.Join(err, err2); err != nil {
		return outcome{err: err}
	}
	list := []sandbox.Snapshot{}
	for _, sn := range slices.Concat(own, stored) {
		d, _ := describe(sn) // a damaged one is listed with what is known of it
		list = append(list, d)
	}
	return outcome{body: list}
}

func (s *server) snapshot(_ context.Context, k *keeper, m *wire.Message) outcome {
	sn, err := k.namedSnapshot(m)
	if err != nil {
		return outcome{err: err}
	}
	d, err := describe(sn)
	return outcome{body: d, err: err}
}

func (k *keeper) namedSnapshot(m *wire.Message) (*snapshot.Snapshot, error) {
	var r sandbox.SnapshotRequest
	if err := m.Decode(&r); err != nil {
		return nil, err
	}
	return k.findSnapshot(r.Snapshot)
}

func (s *server) snapshotRemove(_ context.Context, k *keeper, m *wire.Message) outcome {
	sn, err := k.namedSnapshot(m)
	if err != nil {
		return outcome{err: err}
	}
	return outcome{err: k.removeSnapshot(sn)}
}

// removeSnapshot removes one that no container is made from.
func (k *keeper) removeSnapshot(sn *snapshot.Snapshot) error {
	id := sn.Meta().ID
	k.forget(id)
	err := k.ephemeral.Remove(id)
	if toWireCode(err) == sandbox.CodeNotFound {
		err = k.snapshots.Remove(id)
	}
	return err
}

// snapshotExport writes to the message's pipe.
func (s *server) snapshotExport(ctx context.Context, k *keeper, m *wire.Message) outcome {
	sn, err := k.namedSnapshot(m)
	if err != nil {
		return outcome{err: err}
	}
	if len(m.Files) != 1 {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "export a snapshot: %d files instead of a pipe", len(m.Files))}
	}
	hold, err := sn.Hold()
	if err != nil {
		return outcome{err: err}
	}
	defer hold.Release()
	if err := s.conn.Send(m.ID, sandbox.KindCopying, nil); err != nil {
		return outcome{err: err}
	}
	return outcome{err: sn.Export(ctx, m.Files[0])}
}

// snapshotImport reads from the message's pipe. What an archive says about its maker's keys means nothing here.
func (s *server) snapshotImport(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.ImportSnapshotRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	if len(m.Files) != 1 {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "import a snapshot: %d files instead of a pipe", len(m.Files))}
	}
	if r.Name != "" && !validName(r.Name) {
		return outcome{err: sandbox.Errorf(sandbox.CodeInvalid, "import a snapshot as %q: not a valid name", r.Name)}
	}
	sn, err := k.snapshots.Import(ctx, m.Files[0], snapshot.ImportOptions{Name: r.Name, Check: k.checkImport})
	if err != nil {
		return outcome{err: err}
	}
	d, err := describe(sn)
	return outcome{body: d, err: err}
}

// checkImport refuses what cannot be used here.
func (k *keeper) checkImport(m *snapshot.Meta) error {
	m.Key = ""
	d, err := readDetail(*m)
	if err != nil {
		return err
	}
	if _, err := rootfs.ParseReference(d.Snapshot.Spec.Image); err != nil {
		return err
	}
	if d.Single != k.single() {
		return sandbox.Errorf(sandbox.CodeStale, "import a snapshot: it was made with another map of ids").WithRemedy("make it anew here")
	}
	return k.checkMachine(*m)
}

func toWireCode(err error) sandbox.Code {
	if err == nil {
		return ""
	}
	return toWire(err).Code
}
