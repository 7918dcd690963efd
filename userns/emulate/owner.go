package emulate

import (
	"encoding/binary"
	"fmt"
)

// XattrName is the extended attribute that keeps a file's owner. umoci and PRoot use the same.
const XattrName = "user.rootlesscontainers"

// NoopID in an Owner leaves that id as the file system has it.
const NoopID = ^uint32(0)

// Owner is the owner a file shows to the programs of a container. The zero value is root:root.
type Owner struct{ UID, GID uint32 }

const (
	tagUID = 1 << 3 // field 1, varint
	tagGID = 2 << 3 // field 2, varint
)

// Marshal encodes the owner as the message Resource of rootlesscontainers.proto. Root:root is the empty value.
func (o Owner) Marshal() []byte {
	return appendID(appendID(nil, tagUID, o.UID), tagGID, o.GID)
}

func appendID(b []byte, tag byte, id uint32) []byte {
	if id == 0 {
		return b // proto3 leaves zero values out
	}
	return binary.AppendUvarint(append(b, tag), uint64(id))
}

// UnmarshalOwner decodes what Marshal and other tools write.
//
// Errors: fields other than the two ids, ids above 32 bits, truncated values.
func UnmarshalOwner(b []byte) (Owner, error) {
	var o Owner
	for len(b) > 0 {
		v, n := binary.Uvarint(b[1:])
		if n <= 0 || v > uint64(NoopID) {
			return Owner{}, fmt.Errorf("decode owner: bad number in %x", b)
		}
		switch b[0] {
		case tagUID:
			o.UID = uint32(v)
		case tagGID:
			o.GID = uint32(v)
		default:
			return Owner{}, fmt.Errorf("decode owner: unknown field %#x", b[0])
		}
		b = b[1+n:]
	}
	return o, nil
}

// over gives the owner with the ids that o leaves open taken from below.
func (o Owner) over(below Owner) Owner {
	if o.UID == NoopID {
		o.UID = below.UID
	}
	if o.GID == NoopID {
		o.GID = below.GID
	}
	return o
}
