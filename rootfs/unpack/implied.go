package unpack

import (
	"maps"
	"path"
	"slices"
)

// Bounds of what is remembered of directories that a layer uses without
// describing them: one long name in an archive may imply hundreds.
const (
	maxImpliedName  = 2048      // bytes of one name
	maxImpliedNames = 256 << 10 // bytes of all names
)

// implied are the directories of a layer that no entry describes.
type implied struct {
	names map[string]struct{} // from the root, without symlinks
	size  int                 // bytes of names
	more  Omission            // those beyond the bounds
}

func (i *implied) add(name string) {
	name = path.Clean(name)
	if len(name) > maxImpliedName || i.size+len(name) > maxImpliedNames {
		i.more.Add(name)
		return
	}
	if i.names == nil {
		i.names = map[string]struct{}{}
	}
	i.names[name] = struct{}{}
	i.size += len(name)
}

// described takes back what an entry describes after all.
func (i *implied) described(name string) { delete(i.names, name) }

func (i *implied) sorted() []string { return slices.Sorted(maps.Keys(i.names)) }
