package emulate

import (
	"testing"

	"golang.org/x/sys/unix"
)

const same = unchanged

func TestIDs(t *testing.T) {
	root, dropped, user := sameIDs(0), ids{0, 33, 0, 33}, sameIDs(33)
	tests := []struct {
		name  string
		from  ids
		call  func(ids, bool) (ids, unix.Errno)
		want  ids
		errno unix.Errno
	}{
		{"root setuid", root, set(33), user, 0},
		{"setuid -1", root, set(same), root, unix.EINVAL},
		{"user setuid own", user, set(33), user, 0},
		{"user setuid other", user, set(34), user, unix.EPERM},
		{"dropped setuid back", dropped, set(0), ids{0, 0, 0, 0}, 0},
		{"root setreuid swaps", ids{0, 33, 5, 33}, setRE(33, 0), ids{33, 0, 0, 0}, 0},
		{"setreuid same effective keeps saved", ids{33, 33, 5, 33}, setRE(same, 33), ids{33, 33, 5, 33}, 0},
		{"setreuid real not from saved", ids{33, 33, 5, 33}, setRE(5, same), ids{33, 33, 5, 33}, unix.EPERM},
		{"setreuid effective from saved", ids{33, 33, 5, 33}, setRE(same, 5), ids{33, 5, 5, 5}, 0},
		{"setresuid all", root, setRES(1, 2, 3), ids{1, 2, 3, 2}, 0},
		{"setresuid none", ids{1, 2, 3, 9}, setRES(same, same, same), ids{1, 2, 3, 2}, 0},
		{"user setresuid permutes", ids{1, 2, 3, 2}, setRES(3, 1, 2), ids{3, 1, 2, 1}, 0},
		{"user setresuid other", ids{1, 2, 3, 2}, setRES(same, same, 4), ids{1, 2, 3, 2}, unix.EPERM},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, e := tt.call(tt.from, tt.from.effective == 0)
			if got != tt.want || e != tt.errno {
				t.Errorf("got %v, %v, want %v, %v", got, e, tt.want, tt.errno)
			}
		})
	}
}

// TestRepeatable is what lets every thread of a process make the call, as C libraries do. Of setuid there is one
// exception, which the package comment names: back to root from a saved id alone.
func TestRepeatable(t *testing.T) {
	values := []uint32{0, 1, 2, same}
	for _, from := range []ids{sameIDs(0), sameIDs(1), {0, 1, 0, 1}, {1, 0, 2, 0}, {1, 2, 0, 2}} {
		for _, a := range values {
			for _, b := range values {
				for _, c := range values {
					if from.real == 0 || from.effective == 0 || from.saved != 0 || a != 0 {
						repeat(t, from, set(a))
					}
					repeat(t, from, setRES(a, b, c))
				}
			}
		}
	}
}

func repeat(t *testing.T, from ids, call func(ids, bool) (ids, unix.Errno)) {
	t.Helper()
	c := credentials{uid: from, permitted: ^capabilities(0)}
	if from.effective == 0 {
		c.effective = c.permitted
	}
	once, e := call(from, c.can(unix.CAP_SETUID))
	if e != 0 {
		return
	}
	c = c.withUID(once)
	twice, e := call(once, c.can(unix.CAP_SETUID))
	if e != 0 || twice != once {
		t.Errorf("from %v once gives %v, twice %v, %v", from, once, twice, e)
	}
}

func set(id uint32) func(ids, bool) (ids, unix.Errno) {
	return func(i ids, p bool) (ids, unix.Errno) { return i.set(id, p) }
}

func setRE(r, e uint32) func(ids, bool) (ids, unix.Errno) {
	return func(i ids, p bool) (ids, unix.Errno) { return i.setRE(r, e, p) }
}

func setRES(r, e, s uint32) func(ids, bool) (ids, unix.Errno) {
	return func(i ids, p bool) (ids, unix.Errno) { return i.setRES(r, e, s, p) }
}
