package userns

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/moby/sys/user"
	"github.com/rootless-containers/rootlesskit/v2/pkg/parent/idtools"
	"golang.org/x/sys/unix"
)

// ModeVariable names the environment variable that chooses how ids are mapped: "auto", which is also its meaning when
// empty or unset, or "single".
const ModeVariable = "BIVOUAC_IDMAP"

// maxExtents is the kernel's limit of lines in one map (Linux 4.15; user_namespaces(7)).
const maxExtents = 340

// Detect works out the best mapping that the caller may have, without trying it: id 0 is the caller, and the ids from 1
// on are the caller's subordinate ones. Without those, or without the helpers that map them, or when
// BIVOUAC_IDMAP=single asks for it, id 0 is all there is. Root of an outer user namespace, a rootless container say, keeps
// the ids which that one has.
//
// Errors: [Unsupported] for the machine's real root; another value of BIVOUAC_IDMAP; an unreadable /proc.
func Detect() (Mapping, error) {
	single, err := forcedSingle()
	if err != nil {
		return Mapping{}, err
	}
	if os.Geteuid() == 0 {
		return detectRoot(single)
	}
	if single {
		return own(), nil
	}
	m, reason := subordinate()
	if reason != nil {
		return own(), nil
	}
	return m, nil
}

func forcedSingle() (bool, error) {
	switch mode := os.Getenv(ModeVariable); mode {
	case "", "auto":
		return false, nil
	case "single":
		return true, nil
	default:
		return false, fmt.Errorf("read %s: %q is none of auto, single", ModeVariable, mode)
	}
}

// own maps root to the caller and nothing else.
func own() Mapping {
	return Mapping{
		UIDs: []IDMap{{ContainerID: 0, HostID: uint32(os.Geteuid()), Size: 1}},
		GIDs: []IDMap{{ContainerID: 0, HostID: uint32(os.Getegid()), Size: 1}},
	}
}

// subordinate maps root to the caller and what follows to the caller's subordinate ids, or tells why it cannot.
func subordinate() (Mapping, error) {
	if err := checkHelpers(); err != nil {
		return Mapping{}, err
	}
	return subordinateRanges()
}

// subordinateRanges is [subordinate] without regard to the helpers.
func subordinateRanges() (Mapping, error) {
	uid := os.Geteuid()
	uids, gids, err := idtools.GetSubIDRanges(uid, userName(uid))
	if err != nil {
		return Mapping{}, fmt.Errorf("read subordinate ids: %w", err)
	}
	outer, err := Current()
	if err != nil {
		return Mapping{}, err
	}
	m := own()
	m.UIDs = appendRanges(m.UIDs, uids, outer.UIDs)
	m.GIDs = appendRanges(m.GIDs, gids, outer.GIDs)
	if len(m.UIDs) == 1 || len(m.GIDs) == 1 {
		return Mapping{}, errors.New("read subordinate ids: none of them exists in this user namespace")
	}
	return m, nil
}

// userName looks in /etc/passwd alone: asking a directory server takes longer than starting a container. $USER stands in
// for users who are not there; a wrong one gains nothing, because newuidmap asks again.
func userName(uid int) string {
	u, err := user.LookupUid(uid)
	if err != nil {
		return os.Getenv("USER")
	}
	return u.Name
}

// appendRanges maps the ids after those of maps to the ranges, in order. It leaves out what is mapped already, which the
// kernel would refuse, and what an outer user namespace does not have.
func appendRanges(maps []IDMap, ranges []idtools.SubIDRange, outer []IDMap) []IDMap {
	for _, r := range ranges {
		for _, o := range outer {
			if len(maps) == maxExtents {
				return maps
			}
			start := max(int64(r.Start), int64(o.ContainerID))
			end := min(int64(r.Start)+int64(r.Length), int64(o.ContainerID)+int64(o.Size))
			maps = appendRange(maps, start, end)
		}
	}
	return maps
}

// appendRange maps what follows the last of maps to the host ids from start to before end, unless that is empty, not a
// range of ids, or overlaps what is mapped.
func appendRange(maps []IDMap, start, end int64) []IDMap {
	last := maps[len(maps)-1]
	next := int64(last.ContainerID) + int64(last.Size)
	if start < 0 || start >= end || next+end-start > math.MaxUint32 {
		return maps
	}
	for _, m := range maps {
		if start < int64(m.HostID)+int64(m.Size) && int64(m.HostID) < end {
			return maps
		}
	}
	return append(maps, IDMap{ContainerID: uint32(next), HostID: uint32(start), Size: uint32(end - start)})
}

// detectRoot maps for user 0, who is either a container's root and keeps its ids, or the machine's, who is sent away:
// nothing here is meant to run with real rights.
func detectRoot(single bool) (Mapping, error) {
	initial, err := inInitialNamespace()
	switch {
	case err != nil:
		return Mapping{}, err
	case initial:
		return Mapping{}, &Unsupported{Feature: "running as root", Remedy: "run it as an ordinary user",
			Err: errors.New("bivouac works without root's rights, and refuses to have them")}
	case !hasCapability(unix.CAP_SETFCAP):
		return Mapping{}, &Unsupported{Feature: "running as a container's root",
			Err:    errors.New("it lacks CAP_SETFCAP, without which root cannot be mapped"),
			Remedy: "run it as an ordinary user, or start the outer container with --cap-add SETFCAP"}
	case single || !hasCapability(unix.CAP_SETUID) || !hasCapability(unix.CAP_SETGID):
		return own(), nil
	}
	return identity()
}

// identity maps every id that the current user namespace has to itself.
func identity() (Mapping, error) {
	outer, err := Current()
	if err != nil {
		return Mapping{}, err
	}
	return Mapping{UIDs: sameIDs(outer.UIDs), GIDs: sameIDs(outer.GIDs)}, nil
}

func sameIDs(maps []IDMap) []IDMap {
	same := make([]IDMap, len(maps))
	for i, m := range maps {
		same[i] = IDMap{ContainerID: m.ContainerID, HostID: m.ContainerID, Size: m.Size}
	}
	return same
}

// hasCapability tells whether the calling thread may use a capability.
func hasCapability(number int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[number/32].Effective&(1<<(number%32)) != 0
}
