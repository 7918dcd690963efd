package rootfs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// removal takes things out of the store that nobody needs: by a rename while nobody can begin to use them. What was taken
// out is deleted afterwards, if need be by the sweep of another process.
type removal struct {
	store *Store
	notes *os.File // the lock of all notes
	noted map[string]bool
	needs Needs

	trash  string // below layers/MAP/tmp
	lock   *filelock.Lock
	layers []digest.Digest // taken out
	blobs  int
	bytes  int64 // on the disk, of what was taken out
	weigh  bool  // count bytes
}

// beginRemoval finds out what is needed. End ends it.
func (s *Store) beginRemoval(ctx context.Context, needs NeedsFunc) (_ *removal, err error) {
	if s.ids.Key == "" {
		return nil, fmt.Errorf("bug: store %s was opened for reading only", s.dir)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.closeLayers(); err != nil {
		return nil, err
	}
	r := &removal{store: s}
	if r.notes, err = s.lockNotes(ctx, unix.LOCK_EX); err != nil {
		return nil, err
	}
	if r.noted, err = s.noted(); err == nil {
		r.needs, err = needs()
	}
	if err != nil {
		return nil, errors.Join(err, r.end())
	}
	return r, nil
}

// end lets others go on, and deletes what was taken out.
func (r *removal) end() error {
	r.release()
	if r.trash == "" {
		return nil
	}
	defer r.lock.Unlock()
	err := unpack.Remove(r.trash)
	r.trash = ""
	return err
}

// release lets others go on.
func (r *removal) release() {
	if r.notes != nil {
		_ = r.notes.Close()
		r.notes = nil
	}
}

// usersOf are those of an image, by its id or that of its manifest.
func (r *removal) usersOf(id, manifest digest.Digest) (users []User) {
	for _, u := range r.needs.Users {
		if u.Image == id || u.Manifest == manifest && manifest != "" {
			users = append(users, u)
		}
	}
	prefix := "use " + id.String() + " "
	for key := range r.noted {
		if container, ok := strings.CutPrefix(key, prefix); ok && !r.onRecord(container) {
			users = append(users, User{Name: "container " + container[:min(12, len(container))], Container: container, Running: true, Image: id})
		}
	}
	return users
}

// onRecord tells whether the users name the container: they know whether it runs, while its note stays for as long as its files
// are mounted.
func (r *removal) onRecord(container string) bool {
	return slices.ContainsFunc(r.needs.Users, func(u User) bool { return u.Container == container })
}

// collect takes out all blobs and layers that nobody needs.
func (r *removal) collect() error {
	index, err := r.store.index()
	if err != nil {
		return err
	}
	live := r.live(index)
	var errs []error
	for d := range r.store.allBlobs() {
		if !live[blobKey(d)] {
			r.blobs++
			errs = append(errs, r.take(r.store.blobPath(d), "blob-"+fileName(d)))
		}
	}
	for l := range r.store.allLayers() {
		if !live[layerKey(l.diffID)] {
			r.layers = append(r.layers, l.diffID)
			errs = append(errs, r.take(l.dir, "layer-"+l.key+"-"+fileName(l.diffID)))
		}
	}
	return errors.Join(errs...)
}

// live are the keys of all that is needed: by images, containers, snapshots, caches, and processes at work.
func (r *removal) live(index ocispec.Index) map[string]bool {
	live := map[string]bool{}
	for key := range r.noted {
		live[key] = true
	}
	add := func(keys ...string) {
		for _, key := range keys {
			live[key] = true
		}
	}
	for _, entry := range index.Manifests {
		add(r.store.partsOf(entry)...)
	}
	for _, u := range r.needs.Users {
		add(stackKeys(u.DiffIDs)...)
		if u.Manifest != "" {
			add(r.store.partsOf(ocispec.Descriptor{Digest: u.Manifest})...)
		}
	}
	for _, d := range r.needs.Blobs {
		add(blobKey(d))
	}
	for _, id := range r.needs.DiffIDs {
		add(layerKey(id))
	}
	return live
}

func stackKeys(diffIDs []digest.Digest) []string {
	keys := []string{layerKey(parentsID(diffIDs))}
	for _, id := range diffIDs {
		keys = append(keys, layerKey(id))
	}
	return keys
}

// partsOf are the keys of an entry's parts, as far as they can be known.
func (s *Store) partsOf(entry ocispec.Descriptor) []string {
	keys := s.indexParts(digest.Digest(rootOf(entry)), 0)
	keys = append(keys, blobKey(entry.Digest))
	content, err := s.readBlob(entry)
	if err != nil {
		return keys
	}
	manifest, err := parseManifest(content)
	if err != nil {
		return keys
	}
	keys = append(keys, imageKeys(entry, manifest, nil)...)
	if content, err = s.readBlob(manifest.Config); err != nil {
		return keys
	}
	if config, err := parseConfig(content, len(manifest.Layers)); err == nil {
		keys = append(keys, stackKeys(config.RootFS.DiffIDs)...)
	}
	return keys
}

// indexParts are the keys of an image index and those in it.
func (s *Store) indexParts(d digest.Digest, depth int) []string {
	if d.Validate() != nil || depth > maxNesting {
		return nil
	}
	keys := []string{blobKey(d)}
	info, err := os.Lstat(s.blobPath(d))
	if err != nil || info.Size() > maxManifest {
		return keys
	}
	content, err := s.readBlob(ocispec.Descriptor{Digest: d})
	if err != nil {
		return keys
	}
	if media, err := sniff(content, ""); err != nil || !isIndex(media) {
		return keys
	}
	if index, err := parseIndex(content); err == nil {
		for _, child := range index.Manifests {
			keys = append(keys, s.indexParts(child.Digest, depth+1)...)
		}
	}
	return keys
}

// take moves a file or directory into the trash.
func (r *removal) take(path, as string) error {
	if err := r.makeTrash(); err != nil {
		return err
	}
	if r.weigh {
		r.bytes += diskUsage(path)
	}
	step("about to be taken out")
	err := os.Rename(path, filepath.Join(r.trash, as))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	step("taken out")
	return err
}

func (r *removal) makeTrash() error {
	if r.trash != "" {
		return nil
	}
	name := "old-" + rand.Text()
	lock, err := r.store.lock(context.Background(), r.store.layerLock(name), nil)
	if err != nil {
		return err
	}
	r.lock, r.trash = lock, r.store.path("layers", r.store.ids.Key, "tmp", name)
	return os.MkdirAll(r.trash, 0o700)
}
