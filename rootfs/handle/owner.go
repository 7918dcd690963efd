package handle

import "encoding/binary"

// OwnerAttribute holds the owner that a file has in the container if only one id is mapped: a protobuf message with uid as
// field 1 and gid as field 2, both varints, 0 left out (https://github.com/rootless-containers/proto).
const OwnerAttribute = "user.rootlesscontainers"

// Owner is who a file belongs to in the container.
type Owner struct{ UID, GID uint32 }

// Message is the owner as its attribute holds it; that of root is empty.
func (o Owner) Message() []byte {
	var b []byte
	if o.UID != 0 {
		b = binary.AppendUvarint(append(b, 1<<3), uint64(o.UID))
	}
	if o.GID != 0 {
		b = binary.AppendUvarint(append(b, 2<<3), uint64(o.GID))
	}
	return b
}

// maxID is the highest id: -1 means "no change" to chown.
const maxID = 1<<32 - 2

// ParseOwner reads an owner's message. Root has what it cannot read.
func ParseOwner(message []byte) (o Owner) {
	for len(message) > 0 {
		value, n := binary.Uvarint(message[1:])
		if n <= 0 || value > maxID {
			return Owner{}
		}
		switch message[0] {
		case 1 << 3:
			o.UID = uint32(value)
		case 2 << 3:
			o.GID = uint32(value)
		}
		message = message[1+n:]
	}
	return o
}
