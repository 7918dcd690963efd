package rootfs

import (
	"context"
	"maps"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tag gives the image source, a name or an id, the further name target. What target meant before keeps its files, but loses
// the name. Of a name with several platforms all get it.
//
// Errors: NotFound; BadReference for the beginning of several ids, or a target that is no name.
func (s *Store) Tag(ctx context.Context, source string, target Reference) error {
	if target.Transport != Registry || target.Digest != "" {
		return fail(BadReference, "write NAME[:TAG]", "tag %s as %s: an image's name has no digest and no transport", source, target)
	}
	return s.edit(ctx, func(entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := s.named(entries, source)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			if !slices.ContainsFunc(entries, func(o ocispec.Descriptor) bool { return nameOf(o) == target.stored() && o.Digest == d.Digest }) {
				entries = replace(entries, renamed(d, target))
			}
		}
		return entries, nil
	})
}

// named returns the entries of a name, one for each platform, or of an id the one.
func (s *Store) named(entries []ocispec.Descriptor, source string) (found []ocispec.Descriptor, _ error) {
	if ref, err := ParseReference(source); err == nil {
		for _, d := range entries {
			if means(d, ref) {
				found = append(found, d)
			}
		}
	}
	if found != nil {
		return found, nil
	}
	d, err := s.byID(ocispec.Index{Manifests: entries}, source, ocispec.Platform{})
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, s.notHere(source)
	}
	return []ocispec.Descriptor{*d}, nil
}

// renamed is an entry under a name that no registry is known to have it by.
func renamed(d ocispec.Descriptor, target Reference) ocispec.Descriptor {
	return annotated(d, localName(target), annotationShort, annotationFrom, annotationStamp)
}

// localName has the annotations of a name that was given here.
func localName(ref Reference) map[string]string {
	return map[string]string{
		annotationRef: ref.stored(), annotationName: ref.stored(),
		annotationRepo: ref.Domain + "/" + ref.Repository, annotationLocal: "true",
	}
}

// annotated is an entry with more annotations and without some.
func annotated(d ocispec.Descriptor, more map[string]string, without ...string) ocispec.Descriptor {
	annotations := maps.Clone(d.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	for _, key := range without {
		delete(annotations, key)
	}
	maps.Copy(annotations, more)
	d.Annotations = annotations
	return d
}
