package userns

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
)

// IDMap maps the ids ContainerID to ContainerID+Size-1 inside a user namespace to those from HostID on outside of it:
// one line of user_namespaces(7)'s uid_map.
type IDMap struct{ ContainerID, HostID, Size uint32 }

// Mapping holds the user and the group ids of a user namespace. The zero value maps nothing.
type Mapping struct{ UIDs, GIDs []IDMap }

// Single tells whether one user id and one group id are all there is, so that no file can belong to anybody else.
func (m Mapping) Single() bool { return isOne(m.UIDs) && isOne(m.GIDs) }

func isOne(maps []IDMap) bool { return len(maps) == 1 && maps[0].Size == 1 }

// Contains tells whether a file may belong to uid and gid, both as seen inside the namespace.
func (m Mapping) Contains(uid, gid uint32) bool {
	_, hasUID := ToHost(m.UIDs, uid)
	_, hasGID := ToHost(m.GIDs, gid)
	return hasUID && hasGID
}

// ToHost returns the id outside of the namespace for one inside; false if it has none.
func ToHost(maps []IDMap, id uint32) (uint32, bool) {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return math.MaxUint32, false
}

// String lists both maps as "u:0,1500,1;1,231072,65536 g:0,1500,1;1,231072,65536", each extent as container id, host id
// and size. Equal mappings have equal texts.
func (m Mapping) String() string {
	return "u:" + joinMaps(m.UIDs) + " g:" + joinMaps(m.GIDs)
}

func joinMaps(maps []IDMap) string {
	texts := make([]string, len(maps))
	for i, m := range maps {
		texts[i] = fmt.Sprintf("%d,%d,%d", m.ContainerID, m.HostID, m.Size)
	}
	return strings.Join(texts, ";")
}

// ID returns 16 hexadecimal digits that stand for the mapping, fit for a file's name: files unpacked under one mapping
// have wrong owners under another.
func (m Mapping) ID() string {
	sum := sha256.Sum256([]byte(m.String()))
	return hex.EncodeToString(sum[:8])
}
