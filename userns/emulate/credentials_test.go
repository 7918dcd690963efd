package emulate

import (
	"testing"

	"golang.org/x/sys/unix"
)

const someCaps = capabilities(1<<unix.CAP_CHOWN | 1<<unix.CAP_SETUID | 1<<unix.CAP_MKNOD)

func TestCapabilitiesFollowTheIDs(t *testing.T) {
	root := initial(0, 0, nil, someCaps)
	kept := root
	kept.keepCaps = true
	fixed := root
	fixed.noFixup = true
	tests := []struct {
		name                 string
		c                    credentials
		permitted, effective capabilities
	}{
		{"root", root, someCaps, someCaps},
		{"user", initial(33, 33, nil, someCaps), 0, 0},
		{"left root", root.withUID(sameIDs(33)), 0, 0},
		{"left for a while", root.withUID(ids{0, 33, 0, 33}), someCaps, 0},
		{"came back", root.withUID(ids{0, 33, 0, 33}).withUID(sameIDs(0)), someCaps, someCaps},
		{"kept", kept.withUID(sameIDs(33)), someCaps, 0},
		{"kept then executed", kept.withUID(sameIDs(33)).executed(0), 0, 0},
		{"kept then executed with ambient", kept.withUID(sameIDs(33)).executed(1 << unix.CAP_CHOWN), 1 << unix.CAP_CHOWN, 1 << unix.CAP_CHOWN},
		{"no fixup", fixed.withUID(sameIDs(33)), someCaps, someCaps},
		{"root executed", root.executed(0), someCaps, someCaps},
		{"file system id", root.withFSUID(ids{0, 0, 0, 33}), someCaps, 1 << unix.CAP_SETUID},
		{"file system id and back", root.withFSUID(ids{0, 0, 0, 33}).withFSUID(sameIDs(0)), someCaps, someCaps},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.c.permitted != tt.permitted || tt.c.effective != tt.effective {
				t.Errorf("got %x, %x, want %x, %x", tt.c.permitted, tt.c.effective, tt.permitted, tt.effective)
			}
		})
	}
}

func TestExecuteChangesWhatItMust(t *testing.T) {
	root := initial(0, 0, nil, someCaps)
	kept := root
	kept.keepCaps = true
	tests := []struct {
		name string
		c    credentials
		want bool
	}{
		{"root", root, false},
		{"user", initial(33, 33, []uint32{1}, 0), false},
		{"keepcaps", kept, true},
		{"saved root", root.withUID(ids{33, 33, 0, 33}), true},
		{"kept", kept.withUID(sameIDs(33)), true},
	}
	for _, tt := range tests {
		if got := tt.c.volatile(); got != tt.want {
			t.Errorf("%s: volatile %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMayChown(t *testing.T) {
	user := initial(33, 44, []uint32{55}, 0)
	own := Owner{33, 44}
	tests := []struct {
		name     string
		c        credentials
		from, to Owner
		want     bool
	}{
		{"root", initial(0, 0, nil, someCaps), own, Owner{1, 2}, true},
		{"root without the capability", initial(0, 0, nil, 0), own, Owner{1, 2}, false},
		{"own to own", user, own, own, true},
		{"own to group of its own", user, own, Owner{NoopID, 55}, true},
		{"own to foreign group", user, own, Owner{NoopID, 56}, false},
		{"give away", user, own, Owner{1, NoopID}, false},
		{"foreign", user, Owner{1, 44}, Owner{NoopID, 44}, false},
		{"foreign, nothing", user, Owner{1, 1}, Owner{NoopID, NoopID}, false},
	}
	for _, tt := range tests {
		if got := tt.c.mayChown(tt.from, tt.to); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTagAndTable(t *testing.T) {
	if g := tagOf(unix.RLIM_INFINITY); g != (tag{}) {
		t.Errorf("no limit is %v, want the zero tag", g)
	}
	for _, want := range []tag{{1, 0}, {maxCredentials, imageMask}, {7, 1}} {
		if got := tagOf(want.limit()); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	table := &NewState().table
	for _, limit := range []uint64{0, 1, 1024, 1 << 30} { // a limit that somebody else has set
		if _, ok := table.get(tagOf(limit).number); ok {
			t.Errorf("limit %d has credentials", limit)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	table := &NewState().table
	groups := make([]uint32, maxGroupsPerProcess)
	var e unix.Errno
	for n := 0; e == 0; n++ {
		if n > maxGroups/maxGroupsPerProcess {
			t.Fatalf("%d groups fit", table.groups)
		}
		_, e = table.number(initial(uint32(n), 0, groups, 0))
	}
	if e != unix.ENOMEM {
		t.Errorf("full table: %v, want ENOMEM", e)
	}
	if n, e := table.number(initial(0, 0, groups, 0)); n != 1 || e != 0 {
		t.Errorf("known credentials in a full table: %d, %v", n, e)
	}
}
