package unpack

import (
	"fmt"
	"strings"
)

// Options say how a layer is unpacked. The zero value unpacks without limit
// and leaves it to the kernel which ids are mapped.
type Options struct {
	// Single says that only id 0 is mapped: owners are not set but recorded in
	// the attribute user.rootlesscontainers (as umoci and PRoot write it).
	// Symlinks and fifos cannot carry it, see [Report.Unowned].
	Single bool

	// UIDs and GIDs are the ids of the user namespace that have a mapping. An
	// entry of any other owner fails with an [*UnmappedIDError]. Empty: the
	// kernel decides. Ignored with Single, where any id can be recorded.
	UIDs, GIDs IDRanges

	// IgnoreChownErrors gives entries of an unmapped owner to id 65534, or to
	// id 0 if that is not mapped either, see [Report.Reowned].
	IgnoreChownErrors bool

	// Budget limits what is unpacked; layers of one image share one. Nil: no
	// limit.
	Budget *Budget

	// For tests:
	noDevices bool // as if mknod were forbidden
	noOpenat2 bool // as if openat2 were
}

// IDRange is Size consecutive ids from First on.
type IDRange struct {
	First, Size uint32
}

// IDRanges are the user or group ids that a user namespace maps.
type IDRanges []IDRange

// Contains tells whether id is in one of the ranges.
func (rs IDRanges) Contains(id int) bool {
	for _, r := range rs {
		if int64(id) >= int64(r.First) && int64(id) < int64(r.First)+int64(r.Size) {
			return true
		}
	}
	return false
}

// String is like "0-65536", "0, 1000-1999", or "none".
func (rs IDRanges) String() string {
	var s []string
	for _, r := range rs {
		switch r.Size {
		case 0:
		case 1:
			s = append(s, fmt.Sprint(r.First))
		default:
			s = append(s, fmt.Sprintf("%d-%d", r.First, int64(r.First)+int64(r.Size)-1))
		}
	}
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}
