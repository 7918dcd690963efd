package rootfs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PruneOptions say which images to remove. The zero value removes none, only what belongs to none.
type PruneOptions struct {
	Nameless bool // images without a name that nobody uses
	All      bool // also those with a name
	// Before, if not zero, spares images that were made later.
	Before time.Time
	// Labels spare what lacks one of them: NAME or NAME=VALUE, or with ! before it what has it.
	Labels []string
}

// Pruned is what was removed.
type Pruned struct {
	Removed []Removed
	Bytes   int64 // on the disk
}

// Prune removes images that nobody uses, and all that belongs to no image and is not in work: blobs, layers, and what killed
// processes have left.
//
// Errors: those of the file system.
func (s *Store) Prune(ctx context.Context, o PruneOptions, needs NeedsFunc) (Pruned, error) {
	c, err := s.beginRemoval(ctx, needs)
	if err != nil {
		return Pruned{}, about(err, "prune store")
	}
	c.weigh = true
	r := &imageRemoval{removal: c}
	if o.Nameless || o.All {
		err = s.edit(ctx, func(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) { return r.prune(entries, o), nil })
	}
	if err == nil {
		err = c.collect()
	}
	c.release()
	c.bytes += s.sweepAll()
	if err = errors.Join(err, c.end()); err != nil {
		err = about(err, "prune store")
	}
	return Pruned{Removed: r.steps(), Bytes: c.bytes}, err
}

// prune returns the entries that are to stay.
func (r *imageRemoval) prune(entries []ocispec.Descriptor, o PruneOptions) []ocispec.Descriptor {
	gone := func(d ocispec.Descriptor) bool { return r.mayPrune(d, entries, o) }
	for _, d := range entries {
		if gone(d) {
			if named(d) {
				r.untagged = append(r.untagged, familiarOf(d))
			}
			if _, img, err := r.store.read(d); err == nil {
				r.deleted = append(r.deleted, img.ID)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(entries), gone)
}

func (r *imageRemoval) mayPrune(d ocispec.Descriptor, entries []ocispec.Descriptor, o PruneOptions) bool {
	if named(d) && !o.All {
		return false
	}
	_, img, err := r.store.read(d)
	if err != nil {
		return missing(err) == nil && !named(d) // damaged: with a name, a pull mends it
	}
	if len(r.usersOf(img.ID, d.Digest)) > 0 || r.noted[blobKey(d.Digest)] {
		return false
	}
	created := img.Config.Created
	if !o.Before.IsZero() && (created == nil || !created.Before(o.Before)) {
		return false
	}
	return labelsFit(img.Config.Config.Labels, o.Labels)
}

// labelsFit is true for labels that have all that is wanted, and nothing of what has a ! before it.
func labelsFit(labels map[string]string, wanted []string) bool {
	for _, text := range wanted {
		text, not := strings.CutPrefix(text, "!")
		name, want, exact := strings.Cut(text, "=")
		value, has := labels[name]
		if (has && (!exact || value == want)) == not {
			return false
		}
	}
	return true
}
