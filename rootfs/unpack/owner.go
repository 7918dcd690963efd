package unpack

import (
	"archive/tar"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// overflowID is the kernel's id for "somebody else".
const overflowID = 65534

// own gives an open file its owner. A file that we made belongs to 0:0, unless
// the caller knows better and says owned.
func (x *extractor) own(fd int, owned bool, name string, h *tar.Header) error {
	uid, gid, err := x.ids(name, h)
	if err != nil || (uid == 0 && gid == 0 && !owned) {
		return err
	}
	if x.o.Single {
		return recordOwner(fd, uid, gid)
	}
	return x.chownError(name, h, unix.Fchown(fd, uid, gid))
}

// ownAt is own for what cannot carry attributes, a symlink or a fifo.
func (x *extractor) ownAt(parent *dir, base, name string, h *tar.Header) error {
	uid, gid, err := x.ids(name, h)
	if err != nil || (uid == 0 && gid == 0 && !parent.group) {
		return err
	}
	if x.o.Single {
		if uid != 0 || gid != 0 {
			x.report.Unowned.Add(name)
		}
		return nil
	}
	return x.chownError(name, h, unix.Fchownat(parent.fd, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

func recordOwner(fd, uid, gid int) error {
	if uid != 0 || gid != 0 {
		return setOwnXattr(fd, handle.OwnerAttribute, string(handle.Owner{UID: uint32(uid), GID: uint32(gid)}.Message()))
	}
	err := unix.Fremovexattr(fd, handle.OwnerAttribute)
	if errors.Is(err, unix.ENODATA) || noXattrs(err) {
		return nil
	}
	return wrap("remove attribute "+handle.OwnerAttribute, err)
}

// ids are the owner that an entry gets.
func (x *extractor) ids(name string, h *tar.Header) (uid, gid int, err error) {
	uids, gids := x.mapped()
	badUser, badGroup := !uids.Contains(h.Uid), !gids.Contains(h.Gid)
	if !badUser && !badGroup {
		return h.Uid, h.Gid, nil
	}
	if !x.o.IgnoreChownErrors {
		return 0, 0, &UnmappedIDError{Path: name, UID: h.Uid, GID: h.Gid, User: badUser, Group: badGroup, UIDs: uids, GIDs: gids}
	}
	x.report.Reowned.Add(name)
	uid, gid = h.Uid, h.Gid
	if badUser {
		uid = overflow(uids)
	}
	if badGroup {
		gid = overflow(gids)
	}
	return uid, gid, nil
}

func (x *extractor) mapped() (uids, gids IDRanges) {
	uids, gids = x.o.UIDs, x.o.GIDs
	if x.o.Single || len(uids) == 0 {
		uids = anyID
	}
	if x.o.Single || len(gids) == 0 {
		gids = anyID
	}
	return uids, gids
}

func overflow(rs IDRanges) int {
	if rs.Contains(overflowID) {
		return overflowID
	}
	return 0
}

// chownError explains EINVAL, the kernel's word for an id without a mapping.
func (x *extractor) chownError(name string, h *tar.Header, err error) error {
	if errors.Is(err, unix.EINVAL) {
		return &UnmappedIDError{Path: name, UID: h.Uid, GID: h.Gid}
	}
	return wrap("set owner", err)
}
