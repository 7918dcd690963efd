package snapshot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
)

// Draft is a snapshot that is being made. Its lock is held until it is published or discarded, or the process ends; what
// is left without a lock is nobody's.
type Draft struct {
	store  *Store
	id     string
	lock   *filelock.Lock
	parent *Hold
	layers []layer // lowest first; those of the parent have a seal already

	mutex sync.Mutex
	ended bool // published or discarded
}

// Draft begins a snapshot. Parent is what the container was made from, nil for an image. Layers of a parent in another
// store are referred to by an ephemeral store, and copied by others. The parent is held as long as needed.
//
// Errors: NoSpace; BadConfig; NotFound if the parent is removed.
func (s *Store) Draft(ctx context.Context, parent *Snapshot) (*Draft, error) {
	s.swept.Do(s.sweep)
	d := &Draft{store: s}
	if err := d.begin(ctx, parent); err != nil {
		return nil, errors.Join(coded(err, "begin a snapshot"), d.Discard())
	}
	return d, nil
}

func (d *Draft) begin(ctx context.Context, parent *Snapshot) (err error) {
	if err := d.name(); err != nil {
		return err
	}
	if err := os.Mkdir(d.dir(), 0o755); err != nil {
		return err
	}
	step("draft made")
	if err := os.WriteFile(filepath.Join(d.dir(), usedName), nil, 0o600); err != nil {
		return err
	}
	step("used made")
	if parent != nil {
		if d.parent, err = parent.Hold(); err != nil {
			return err
		}
		if err := d.inherit(ctx, parent); err != nil {
			return err
		}
	}
	_, err = d.addLayer()
	return err
}

// name finds a name of nobody's, and locks it: a directory without a lock would be nobody's. Somebody who looks for what
// others have left may take a lock for left whose file was just made; then there is another name.
func (d *Draft) name() error {
	for range 100 {
		var random [32]byte
		if _, err := rand.Read(random[:]); err != nil {
			return err
		}
		id := hex.EncodeToString(random[:])
		lock, err := d.store.tryLock(id)
		if err != nil {
			return err
		}
		if lock != nil {
			d.id, d.lock = id, lock
			step("draft locked")
			return d.store.prepare()
		}
	}
	return errors.New("others take every name")
}

func (d *Draft) dir() string { return d.store.snapshotDir(d.id) }

// addLayer makes the directory of one more layer of the draft's own.
func (d *Draft) addLayer() (dir string, err error) {
	own := 0
	for _, l := range d.layers {
		if d.owns(l) {
			own++
		}
	}
	l := layer{ID: d.id + "-" + strconv.Itoa(own)}
	if err := os.Mkdir(d.store.layerDir(l), 0o755); err != nil {
		return "", err
	}
	step("layer made")
	d.layers = append(d.layers, l)
	return d.store.layerDir(l), nil
}

func (d *Draft) owns(l layer) bool { return l.Store == "" && owner(l.ID) == d.id }

// owner is the id of the snapshot that a layer was made with.
func owner(layer string) string { return layer[:min(len(layer), 64)] }

// ID is that of the snapshot to be: 64 hexadecimal digits.
func (d *Draft) ID() string { return d.id }

// Layer is the directory for the files that the container has changed, empty: a lower directory of overlayfs.
func (d *Draft) Layer() string { return d.store.layerDir(d.layers[len(d.layers)-1]) }

// Images makes the directory for CRIU's images, for nobody but the user.
func (d *Draft) Images() (string, error) {
	dir := filepath.Join(d.dir(), imagesName)
	return dir, coded(os.MkdirAll(dir, 0o700), "make directory of images")
}

// Tree makes the directory for the content of a memory file system, whose number is 0 or more.
func (d *Draft) Tree(n int) (string, error) {
	dir := d.store.treeDir(d.id, n)
	return dir, coded(os.MkdirAll(dir, 0o755), "make directory of a tree")
}

// Finish seals what was made, which must not change any more. The snapshot can be used like any other, but it is not
// listed before [Snapshot.Publish], and gone if the process ends before that.
//
// Errors: NoSpace; Invalid for a bad name.
func (d *Draft) Finish(meta Meta) (*Snapshot, error) {
	sn, err := d.finish(meta)
	return sn, coded(err, "complete snapshot %s", short(d.id))
}

func (d *Draft) finish(meta Meta) (*Snapshot, error) {
	if err := meta.check(); err != nil {
		return nil, err
	}
	if err := d.hasTrees(meta.Trees); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(d.dir(), detailName), meta.Detail, 0o600); err != nil {
		return nil, err
	}
	step("detail written")
	r := &record{Meta: meta, Layers: d.layers, Detail: digest(meta.Detail)}
	r.Meta.ID, r.Meta.Created = d.id, time.Now().UTC()
	if err := d.seal(r); err != nil {
		return nil, err
	}
	step("sealed")
	return &Snapshot{store: d.store, id: d.id, record: r, draft: d}, nil
}

// hasTrees finds out whether the trees that were made are those of the description.
func (d *Draft) hasTrees(trees []Tree) error {
	made, err := os.ReadDir(filepath.Join(d.dir(), treesName))
	if err := ignoreMissing(err); err != nil {
		return err
	}
	if len(made) != len(trees) {
		return fmt.Errorf("bug: %d trees are described and %d made", len(trees), len(made))
	}
	for _, t := range trees {
		if _, err := os.Stat(d.store.treeDir(d.id, t.N)); err != nil {
			return fmt.Errorf("bug: a tree is described that was not made: %w", err)
		}
	}
	return nil
}

func (d *Draft) seal(r *record) (err error) {
	ctx := context.Background()
	if r.Own, err = seal(ctx, d.dir(), outside...); err != nil {
		return err
	}
	r.Meta.Size, r.Meta.MemorySize, r.Meta.HasImages = r.Own.Size, 0, false
	images, err := seal(ctx, filepath.Join(d.dir(), imagesName))
	if err == nil {
		r.Meta.HasImages, r.Meta.MemorySize = true, images.Size
	} else if err := ignoreMissing(err); err != nil {
		return err
	}
	for i := range r.Layers {
		if !d.owns(r.Layers[i]) {
			continue
		}
		if r.Layers[i].sealed, err = seal(ctx, d.store.layerDir(r.Layers[i])); err != nil {
			return err
		}
		r.Meta.Size += r.Layers[i].Size
	}
	return nil
}

// end returns false if the draft was published or discarded before.
func (d *Draft) end() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	before := d.ended
	d.ended = true
	return !before
}

// Discard removes what was made, unless it is published or discarded already.
//
// Errors: InUse while somebody holds it: call it again. What is left when the process ends is removed by another one.
func (d *Draft) Discard() error {
	if !d.end() {
		return nil
	}
	return d.abandon()
}

// abandon removes a draft that has ended.
func (d *Draft) abandon() error {
	if d.id == "" {
		return nil
	}
	if f, err := d.store.hold(d.id, unix.LOCK_EX); err == nil {
		defer f.Close()
	} else if errors.Is(err, InUse) { // and so are its parent's layers
		d.mutex.Lock()
		d.ended = false
		d.mutex.Unlock()
		return err
	}
	defer d.release()
	return d.store.discard(d.id)
}

// release gives up what a draft has, but for its files.
func (d *Draft) release() {
	d.parent.Release()
	d.lock.Unlock()
}
