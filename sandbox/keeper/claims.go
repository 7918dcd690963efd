package keeper

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
	"github.com/bivouac-run/bivouac/snapshot"
)

// claims are the content keys whose snapshots this keeper's client is making.
type claims struct {
	mu   sync.Mutex
	held map[string]*claim
	// ended tells that the client is gone.
	ended bool
}

// claim is held until it is committed or abandoned, or the keeper ends.
type claim struct {
	release func()
	draft   *snapshot.Draft    // nil before the checkpoint
	sn      *snapshot.Snapshot // what it has become, not listed
}

// claim answers with the snapshot of a content key, or with the right to make it.
func (s *server) claim(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.ClaimRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	key, err := k.contentKey(ctx, &r.Spec, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: err}
	}
	found, err := k.takeClaim(ctx, key, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: fmt.Errorf("claim snapshot %.12s: %w", key, err)}
	}
	return outcome{body: sandbox.Claim{ID: key, Snapshot: found}}
}

// takeClaim returns a snapshot that can be used, or nil with the claim taken.
func (k *keeper) takeClaim(ctx context.Context, key string, a *asker) (*sandbox.Snapshot, error) {
	if found, err := k.usable(ctx, key, a); found != nil || err != nil {
		return found, err
	}
	release, err := k.snapshots.LockKey(ctx, key)
	if err != nil {
		return nil, err
	}
	found, err := k.usable(ctx, key, a) // made by whoever had the lock
	if found != nil || err != nil {
		release()
		return found, err
	}
	k.claims.mu.Lock()
	defer k.claims.mu.Unlock()
	if k.claims.ended {
		release()
		return nil, context.Canceled
	}
	if k.claims.held == nil {
		k.claims.held = map[string]*claim{}
	}
	k.claims.held[key] = &claim{release: release}
	return nil, nil
}

// usable returns the snapshot of a key, nil if there is none, or only a damaged or stale one, which is removed.
func (k *keeper) usable(ctx context.Context, key string, a *asker) (*sandbox.Snapshot, error) {
	sn, err := k.snapshots.ByKey(key)
	if err != nil || sn == nil {
		return nil, err
	}
	src, err := k.use(ctx, sn, k.imageBy(a))
	if err == nil {
		defer k.release(src)
		s, err := describe(sn)
		return &s, err
	}
	code := toWire(err).Code
	if code != sandbox.CodeStale && code != sandbox.CodeNotFound {
		return nil, err
	}
	return nil, ignoreGone(k.removeSnapshot(sn))
}

// ignoreGone takes what others have removed, or still use, for removed: another is made beside it.
func ignoreGone(err error) error {
	switch toWireCode(err) {
	case sandbox.CodeNotFound, sandbox.CodeInUse:
		return nil
	}
	return err
}

// contentKey is a hash of all that the content of a snapshot depends on.
func (k *keeper) contentKey(ctx context.Context, spec *sandbox.ClaimSpec, a *asker) (string, error) {
	image, err := k.pull(ctx, spec.Spec.Image, spec.Spec.Get, a)
	if err != nil {
		return "", err
	}
	digest := image.Digest.String()
	if digest == "" { // a directory may change: nobody else can know what is in it
		digest = rand.Text()
	}
	parts := []any{detailVersion, digest, ownContent(spec.Spec), spec.Processes, spec.Quality, spec.Parts}
	if spec.Processes != sandbox.ProcessesNever {
		here, _ := k.machine() // without a usable CRIU there are files alone
		parts = append(parts, here.kernel, here.cpu, here.criu)
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("make content key: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// ownContent is the specification without what a clone has of its own.
func ownContent(s sandbox.Spec) sandbox.Spec {
	s.Name, s.Hostname, s.Labels, s.Listed, s.HoldPorts, s.Keep = "", "", nil, false, false, false
	s.Image, s.Get.Pull = "", "" // its digest is there
	publish := make([]sandbox.PortMapping, len(s.Publish))
	for i, p := range s.Publish {
		publish[i] = sandbox.PortMapping{Port: p.Port, Protocol: p.Protocol}
	}
	s.Publish = publish
	return s
}

// check refuses a key that is not held.
func (cs *claims) check(key string) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	_, err := cs.of(key)
	return err
}

// of returns the claim of a key. The caller has the mutex.
//
// Errors: CodeNotFound.
func (cs *claims) of(key string) (*claim, error) {
	if c := cs.held[key]; c != nil {
		return c, nil
	}
	return nil, sandbox.Errorf(sandbox.CodeNotFound, "checkpoint for claim %.12s: it is not held", key).WithRemedy("claim it first")
}

// keep gives the finished draft to the claim that it was made for.
func (cs *claims) keep(key string, d *snapshot.Draft, sn *snapshot.Snapshot) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c, err := cs.of(key)
	if err != nil {
		return err
	}
	if c.draft != nil {
		_ = c.draft.Discard()
	}
	c.draft, c.sn = d, sn
	return nil
}

// pending finds a finished draft by its id.
func (cs *claims) pending(id string) *snapshot.Snapshot {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.held {
		if c.sn != nil && c.sn.Meta().ID == id {
			return c.sn
		}
	}
	return nil
}

func (cs *claims) take(key string) *claim {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.held[key]
	delete(cs.held, key)
	return c
}

// commitClaim lists the snapshot of a claim.
func (s *server) commitClaim(_ context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.ClaimedRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c := k.claims.take(r.ID)
	if c == nil || c.sn == nil {
		if c != nil {
			c.release()
		}
		return outcome{err: sandbox.Errorf(sandbox.CodeNotFound, "commit claim %.12s: no checkpoint was made for it", r.ID)}
	}
	defer c.release()
	sn, err := k.publish(c.sn)
	return outcome{body: sn, err: err}
}

// abandonClaim removes what was made for a claim.
func (s *server) abandonClaim(_ context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.ClaimedRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c := k.claims.take(r.ID)
	if c == nil {
		return outcome{}
	}
	return outcome{err: c.abandon(k)}
}

func (c *claim) abandon(k *keeper) error {
	defer c.release()
	if c.draft == nil {
		return nil
	}
	k.forget(c.sn.Meta().ID)
	return c.draft.Discard()
}

// end gives up what the client has claimed, who is gone while the keeper may go on for a detached container.
func (cs *claims) end(k *keeper) {
	cs.mu.Lock()
	held := cs.held
	cs.held, cs.ended = nil, true
	cs.mu.Unlock()
	for _, c := range held {
		_ = c.abandon(k) // what is left the next draft removes
	}
}
