package snapshot

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// An archive is a tar stream (PAX) of
//
//	snapshot.json   an [archived]
//	detail
//	layers/0/ ...   the lowest first
//	images/ ...
//	trees/0/ ...
//	digest          the hexadecimal digest of all entries before it
//
// Of a directory first the entry, then everything in it; first what is no directory. Whiteouts are character devices 0/0;
// sockets are fifos with a record; in names of attributes "%" and "=" are escaped as in URLs. Hard links lead to earlier entries of the same layer, tree or images.
const (
	layersName   = "layers"
	digestName   = "digest"
	paxAttribute = "SCHILY.xattr." // starts records that hold extended attributes
	paxSocket    = "BIVOUAC.socket"
)

// archived is what an archive says of a snapshot.
type archived struct {
	Format int  `json:"format"`
	Meta   Meta `json:"meta"`
	Layers int  `json:"layers"`
}

// contents is the digest of an archive's entries: of what they mean, not of how tar writes it.
type contents struct {
	sum     hash.Hash
	entries uint64
}

func newContents() *contents { return &contents{sum: sha256.New()} }

// entry takes up an entry's header; its content is written to sum.
func (c *contents) entry(h *tar.Header) {
	c.entries++
	b := binary.AppendUvarint(nil, c.entries)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	text(h.Name)
	text(h.Linkname)
	for _, n := range []int64{
		int64(h.Typeflag), h.Mode, int64(h.Uid), int64(h.Gid), h.Size, h.ModTime.Unix(), int64(h.ModTime.Nanosecond()),
		h.Devmajor, h.Devminor,
	} {
		b = binary.AppendVarint(b, n)
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if isOurs(key) {
			text(key)
			text(h.PAXRecords[key])
		}
	}
	c.sum.Write(b)
}

// isOurs tells apart the records that say more than tar's header.
func isOurs(key string) bool { return key == paxSocket || strings.HasPrefix(key, paxAttribute) }

func (c *contents) String() string { return hex.EncodeToString(c.sum.Sum(nil)) }

var (
	escaped   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescaped = strings.NewReplacer("%25", "%", "%3D", "=")
)

// kinds are those of files that an archive has, but for sockets.
var kinds = map[byte]uint32{
	tar.TypeReg: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK, tar.TypeFifo: unix.S_IFIFO,
	tar.TypeChar: unix.S_IFCHR,
}
