package rootfs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// InUse is the kind of failure to remove what somebody needs.
const InUse Code = "in-use"

// User is somebody who needs an image: a container or a snapshot.
type User struct {
	Name      string // for people, such as "container web"
	Container string // its id, empty for others
	Running   bool
	Image     digest.Digest   // id
	Manifest  digest.Digest   // empty if not known
	DiffIDs   []digest.Digest // of the image's layers, lowest first
}

// Needs is what is needed of the store beside the images that it lists.
type Needs struct {
	Users []User
	// Blobs and DiffIDs are needed by others, such as a cache of builds.
	Blobs, DiffIDs []digest.Digest
}

// NeedsFunc finds out what is needed. It is called while nobody can begin to use an image, so it must not use one.
type NeedsFunc func() (Needs, error)

// Removed is a step of a removal: one of its fields is set.
type Removed struct {
	Untagged string // a name
	Deleted  string // the id of an image, or the diff ID of a layer
}

// RemoveImages removes names, and images that no name is left of with all that nobody else needs. By a name it removes that
// name, by an id, or the beginning of one, all names of the image, which needs force if there are several. An image that
// somebody uses loses its last name by force alone, and not while a container runs; it stays without a name until nobody
// needs it. What was removed before an error is returned with it.
//
// Errors: NotFound, InUse, BadReference for the beginning of several ids.
func (s *Store) RemoveImages(ctx context.Context, names []string, force bool, needs NeedsFunc) (removed []Removed, err error) {
	var errs []error
	for _, name := range names {
		steps, err := s.removeImage(ctx, name, force, needs)
		removed = append(removed, steps...)
		if err != nil {
			errs = append(errs, about(err, "remove image "+name))
		}
	}
	return removed, errors.Join(errs...)
}

func (s *Store) removeImage(ctx context.Context, name string, force bool, needs NeedsFunc) ([]Removed, error) {
	c, err := s.beginRemoval(ctx, needs)
	if err != nil {
		return nil, err
	}
	r := &imageRemoval{removal: c, name: name, force: force}
	if err := s.edit(ctx, r.choose); err != nil {
		return nil, errors.Join(err, c.end())
	}
	err = c.collect()
	return r.steps(), errors.Join(err, c.end())
}

// imageRemoval is the removal of one name or image.
type imageRemoval struct {
	*removal
	name     string
	force    bool
	untagged []string
	deleted  []digest.Digest // ids
}

// choose returns the entries without those to be removed.
func (r *imageRemoval) choose(entries []ocispec.Descriptor) (left []ocispec.Descriptor, _ error) {
	gone, err := r.store.chosen(entries, r.name)
	if err != nil {
		return nil, err
	}
	if byID := gone.byID; byID && !r.force && countNames(gone.entries) > 1 {
		return nil, fail(InUse, "remove its names one by one, or give -f", "it has several names: %s", strings.Join(namesOf(gone.entries), ", "))
	}
	left = slices.DeleteFunc(slices.Clone(entries), gone.has)
	for _, d := range gone.entries {
		kept, err := r.part(d, left)
		if err != nil {
			return nil, err
		}
		if kept {
			left = replace(left, unnamed(nowhere(d)))
		}
	}
	return left, nil
}

// part takes leave of one entry. It tells whether the image stays without a name.
func (r *imageRemoval) part(d ocispec.Descriptor, left []ocispec.Descriptor) (stays bool, err error) {
	_, img, err := r.store.read(d)
	if err := missing(err); err != nil {
		return false, err
	}
	if named(d) {
		r.untagged = append(r.untagged, familiarOf(d))
	}
	if slices.ContainsFunc(left, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest }) {
		return false, nil // it has other names
	}
	if img == nil { // of a damaged one only the name is known
		return false, nil
	}
	users := r.usersOf(img.ID, d.Digest)
	for _, u := range users {
		if !r.force || u.Running {
			return false, inUse(u)
		}
	}
	if len(users) > 0 {
		return true, nil
	}
	if repo := d.Annotations[annotationRepo]; repo != "" && d.Annotations[annotationLocal] == "" {
		if n, err := splitName(repo); err == nil {
			r.untagged = append(r.untagged, n.familiarName()+"@"+rootOf(d))
		}
	}
	r.deleted = append(r.deleted, img.ID)
	return false, nil
}

func inUse(u User) error {
	if u.Running {
		return fail(InUse, "stop it first", "%s is running", u.Name)
	}
	return fail(InUse, "remove that first, or give -f", "%s is made from it", u.Name)
}

func (r *imageRemoval) steps() []Removed {
	var steps []Removed
	seen := map[Removed]bool{}
	add := func(step Removed) {
		if !seen[step] {
			seen[step] = true
			steps = append(steps, step)
		}
	}
	for _, name := range r.untagged {
		add(Removed{Untagged: name})
	}
	for _, id := range r.deleted {
		add(Removed{Deleted: id.String()})
	}
	for _, id := range r.layers {
		add(Removed{Deleted: id.String()})
	}
	return steps
}

// choice is what a name stands for.
type choice struct {
	entries []ocispec.Descriptor
	byID    bool
}

func (c choice) has(d ocispec.Descriptor) bool {
	return slices.ContainsFunc(c.entries, func(o ocispec.Descriptor) bool { return sameEntry(o, d) })
}

// chosen returns the entries of a name, or of an image by its id.
//
// Errors: NotFound, BadReference.
func (s *Store) chosen(entries []ocispec.Descriptor, name string) (c choice, _ error) {
	if ref, err := ParseReference(name); err == nil {
		if ref.Transport != Registry && ref.Transport != Stored {
			if ref, err = absolute(ref); err != nil {
				return c, err
			}
		}
		for _, d := range entries {
			if ref.Transport != Stored && means(d, ref) {
				c.entries = append(c.entries, d)
			}
		}
		if len(c.entries) > 0 {
			return c, nil
		}
	}
	found, err := s.named(entries, name)
	if err != nil {
		return c, err
	}
	c.byID = true
	_, first, err := s.read(found[0])
	for _, d := range entries {
		_, img, e := s.read(d)
		if d.Digest == found[0].Digest || err == nil && e == nil && img.ID == first.ID {
			c.entries = append(c.entries, d)
		}
	}
	return c, nil
}

func named(d ocispec.Descriptor) bool { return nameOf(d) != "" || sourceOf(d) != "" }

func countNames(entries []ocispec.Descriptor) int { return len(namesOf(entries)) }

// namesOf are the different names of entries.
func namesOf(entries []ocispec.Descriptor) []string {
	var names []string
	for _, d := range entries {
		if named(d) {
			names = append(names, familiarOf(d))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// familiarOf is the name of an entry as Docker shows it.
func familiarOf(d ocispec.Descriptor) string {
	name := imageName(d)
	if ref, err := splitName(name); err == nil {
		return ref.suffixed(ref.familiarName())
	}
	return name
}

// nowhere is an entry that no longer says where it came from.
func nowhere(d ocispec.Descriptor) ocispec.Descriptor {
	return annotated(d, nil, annotationFrom, annotationStamp, annotationRepo, annotationLocal)
}
