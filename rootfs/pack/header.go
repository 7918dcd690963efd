package pack

import (
	"archive/tar"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// header has all but type and content.
func (p *packer) header(name string, st *unix.Stat_t, attrs attributes) *tar.Header {
	h := &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: p.clamp(st), Format: tar.FormatPAX, PAXRecords: attrs.records()}
	if h.PAXRecords == nil && attrs.any() {
		p.report.Xattrs.Add(name)
	}
	if p.o.Single {
		h.Uid, h.Gid = parseOwner(attrs[unpack.OwnerXattr])
	}
	return h
}

// clamp is the time of modification as the stream has it.
func (p *packer) clamp(st *unix.Stat_t) time.Time {
	t := time.Unix(st.Mtim.Unix())
	if p.isLate(t) {
		t = p.o.Latest
	}
	return t.Truncate(time.Second)
}

func (p *packer) isLate(t time.Time) bool { return !p.o.Latest.IsZero() && t.After(p.o.Latest) }

func (p *packer) write(h *tar.Header) error {
	p.report.Entries++
	return p.tar.WriteHeader(h)
}

// parseOwner reads the protobuf message that holds an owner: field 1 is the uid and field 2 the gid, both varints. What it
// cannot read is 0.
func parseOwner(message string) (uid, gid int) {
	b := []byte(message)
	for len(b) > 1 {
		tag := b[0]
		value, n := binary.Uvarint(b[1:])
		if n <= 0 || value > maxID {
			return 0, 0
		}
		switch tag {
		case 1 << 3:
			uid = int(value)
		case 2 << 3:
			gid = int(value)
		}
		b = b[1+n:]
	}
	return uid, gid
}

// maxID is the highest id: -1 means "no change" to chown.
const maxID = 1<<32 - 2
