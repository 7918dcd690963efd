package emulate

import "testing"

// A process that joins later is known to all who serve the container, and one without a limit is the first's user.
func TestEachSessionIsKnownByItsLimit(t *testing.T) {
	state := NewState()
	seen := map[uint64]bool{tag{}.limit(): true}
	for _, o := range []Options{{}, {UID: 5, GID: 6}, {UID: 5, GID: 6, Groups: []uint32{7}}} {
		limit, err := state.Limit(o, 1<<3)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := state.Limit(o, 1<<3); err != nil || again != limit || seen[limit] {
			t.Errorf("%+v has the limits %x and %x, %v", o, limit, again, err)
		}
		seen[limit] = true
		c, ok := state.table.get(tagOf(limit).number)
		if !ok || c.owner() != (Owner{o.UID, o.GID}) || len(c.groups) != len(o.Groups) || c.can(3) != (o.UID == 0) {
			t.Errorf("%+v became %+v, %v", o, c, ok)
		}
		if c.volatile() || tagOf(limit).image != 0 {
			t.Errorf("%+v is another after execve", o)
		}
	}
}
