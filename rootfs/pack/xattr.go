package pack

import (
	"strings"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// attributes are a file's extended attributes that matter here.
type attributes map[string]string

func (a attributes) opaque() bool { return a[handle.Opaque] == "y" }

// holdsWhiteouts tells of whiteouts in the form of attributes (Linux 6.7).
func (a attributes) holdsWhiteouts() bool { return a[handle.Opaque] == "x" }

func (a attributes) whiteout() bool {
	_, ok := a[handle.Whiteout]
	return ok
}

// any tells whether there are attributes that belong into an image.
func (a attributes) any() bool {
	for attr := range a {
		if welcome(attr) {
			return true
		}
	}
	return false
}

// maxRecords bounds a file's attributes: readers take no more than 1 MiB of records.
const maxRecords = 512 << 10

// records are the PAX records of the attributes that belong into an image. Those of a file that has too much are left out.
func (a attributes) records() map[string]string {
	var records map[string]string
	size := 0
	for attr, value := range a {
		if !welcome(attr) {
			continue
		}
		if records == nil {
			records = map[string]string{}
		}
		records["SCHILY.xattr."+attr] = value
		size += len(attr) + len(value)
	}
	if size > maxRecords {
		return nil
	}
	return records
}

// welcome is what package unpack lets an image bring, and a PAX record can hold.
func welcome(attr string) bool { return unpack.Welcome(attr) && !strings.Contains(attr, "=") }

// readAttributes returns those of an open file; a file system without attributes has none.
func readAttributes(fd int) (attributes, error) {
	return handle.Attributes(fd, func(attr string) bool {
		return attr == handle.OwnerAttribute || strings.HasPrefix(attr, handle.OverlayPrefix) || welcome(attr)
	})
}
