package emulate

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Saved is what of a [State] a checkpoint of the container's processes needs, as plain data. Their limits (see the package
// comment) are indices into Credentials, which therefore must stay in their order.
//
// Owners that are only in memory are not in it: they belong to inodes, and a clone's files are others.
type Saved struct {
	First       SavedUser          `json:"first"`
	Credentials []SavedCredentials `json:"credentials,omitempty"`
}

// SavedUser is who a container's first process is.
type SavedUser struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// SavedCredentials are those of some process. The ids are the real, the effective, the saved and that of the file system.
type SavedCredentials struct {
	UID       [4]uint32 `json:"uid"`
	GID       [4]uint32 `json:"gid"`
	Groups    []uint32  `json:"groups,omitempty"`
	KeepCaps  bool      `json:"keep_caps,omitempty"`
	NoFixup   bool      `json:"no_fixup,omitempty"` // SECBIT_NO_SETUID_FIXUP
	Permitted uint64    `json:"permitted"`          // bit n for capability number n
	Effective uint64    `json:"effective"`
}

// Save gives what the state is while it is asked: the container's processes are to be stopped.
func (s *State) Save() *Saved {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	v := &Saved{First: SavedUser{s.first.UID, s.first.GID, s.first.Groups}}
	for _, c := range s.table.entries {
		v.Credentials = append(v.Credentials, c.save())
	}
	return v
}

// State gives a state that knows the processes of the container that was saved. The first process of the new one is who the
// saved one's was, whatever Begin says.
//
// Errors: more than a State holds, or what none would: a snapshot may be somebody else's.
func (v *Saved) State() (*State, error) {
	s := NewState()
	if err := checkGroups(v.First.Groups); err != nil {
		return nil, fmt.Errorf("load the first process's user: %w", err)
	}
	s.Begin(Options{UID: v.First.UID, GID: v.First.GID, Groups: slices.Clone(v.First.Groups)})
	for i, saved := range v.Credentials {
		if err := s.table.load(saved); err != nil {
			return nil, fmt.Errorf("load emulated credentials %d of %d: %w", i+1, len(v.Credentials), err)
		}
	}
	return s, nil
}

// load adds an entry at the end, where the numbers that processes keep expect it.
func (t *table) load(saved SavedCredentials) error {
	if err := checkGroups(saved.Groups); err != nil {
		return err
	}
	known := len(t.entries)
	n, e := t.number(saved.load())
	switch {
	case e != 0:
		return e
	case int(n) <= known:
		return fmt.Errorf("they are those of number %d as well", n)
	}
	return nil
}

func checkGroups(groups []uint32) error {
	if len(groups) > maxGroupsPerProcess {
		return fmt.Errorf("%d groups: %w", len(groups), unix.EINVAL)
	}
	return nil
}

func (c credentials) save() SavedCredentials {
	return SavedCredentials{
		UID: c.uid.save(), GID: c.gid.save(), Groups: slices.Clone(c.groups), KeepCaps: c.keepCaps, NoFixup: c.noFixup,
		Permitted: uint64(c.permitted), Effective: uint64(c.effective),
	}
}

func (v SavedCredentials) load() credentials {
	return credentials{
		uid: loadIDs(v.UID), gid: loadIDs(v.GID), groups: slices.Clone(v.Groups), keepCaps: v.KeepCaps, noFixup: v.NoFixup,
		permitted: capabilities(v.Permitted), effective: capabilities(v.Effective),
	}
}

func (i ids) save() [4]uint32 { return [4]uint32{i.real, i.effective, i.saved, i.fs} }

func loadIDs(v [4]uint32) ids { return ids{real: v[0], effective: v[1], saved: v[2], fs: v[3]} }
