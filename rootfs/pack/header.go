package pack

import (
	"archive/tar"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// header has all but type and content.
func (p *packer) header(name string, st *unix.Stat_t, attrs attributes) *tar.Header {
	h := &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: p.clamp(st), Format: tar.FormatPAX, PAXRecords: attrs.records()}
	if h.PAXRecords == nil && attrs.any() {
		p.report.Xattrs.Add(name)
	}
	if p.o.Single {
		owner := handle.ParseOwner([]byte(attrs[handle.OwnerAttribute]))
		h.Uid, h.Gid = int(owner.UID), int(owner.GID)
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
