package bridge

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const sampleMaps = `55f5cf5c0000-55f5cf5c1000 r--p 00000000 fe:01 131 /usr/bin/cat
55f5cf5c1000-55f5cf5e2000 rw-p 00000000 00:00 0                          [heap]
7fd5d51ec000-7fd5d51fc000 rw-s 00001000 00:01 1027                       /dev/zero (deleted)
7fd5d51fc000-7fd5d51fd000 rw-s 00000000 00:01 5 /SYSV00000000 (deleted)
7fd5d51fd000-7fd5d51fe000 rw-s 00000000 00:1f 4711                       /tmp/with  two spaces (deleted)
7fffffffe000-7ffffffff000 rw-p 00000000 00:00 0
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`

func TestMappings(t *testing.T) {
	var got []mapping
	err := eachMapping(strings.NewReader(sampleMaps), func(m mapping) bool { got = append(got, m); return true })
	if err != nil || len(got) != 7 {
		t.Fatalf("%d mappings, %v", len(got), err)
	}
	want := map[int]mapping{
		0: {addresses{0x55f5cf5c0000, 0x55f5cf5c1000}, false, 0, unix.Mkdev(0xfe, 1), 131, "/usr/bin/cat"},
		2: {addresses{0x7fd5d51ec000, 0x7fd5d51fc000}, true, 0x1000, 1, 1027, "/dev/zero (deleted)"},
		4: {addresses{0x7fd5d51fd000, 0x7fd5d51fe000}, true, 0, 0x1f, 4711, "/tmp/with  two spaces (deleted)"},
		5: {addresses{0x7fffffffe000, 0x7ffffffff000}, false, 0, 0, 0, ""},
		6: {addresses{0xffffffffff600000, 0xffffffffff601000}, false, 0, 0, 0, "[vsyscall]"},
	}
	for i, m := range want {
		if got[i] != m {
			t.Errorf("line %d: %+v, want %+v", i, got[i], m)
		}
	}
}

func TestMappingsOfAnotherForm(t *testing.T) {
	for _, line := range []string{"", "x", "1-2", "1-2 rw-p", "1-2 rw-p 0 1:2", "1-2 rw-p 0 12 3 /x", "1-2 rw-p 0 1:2 f", "1 rw-p 0 1:2 3"} {
		if err := eachMapping(strings.NewReader(line+"\n"), func(mapping) bool { return true }); err == nil {
			t.Errorf("%q: no error", line)
		}
	}
}

func FuzzMappings(f *testing.F) {
	f.Add(sampleMaps)
	f.Fuzz(func(t *testing.T, s string) {
		_ = eachMapping(strings.NewReader(s), func(mapping) bool { return true })
	})
}

func TestNamesOfLinks(t *testing.T) {
	tests := []struct {
		path, prefix string
		want         addresses
		ok           bool
	}{
		{"7f00-7f10", "", addresses{0x7f00, 0x7f10}, true},
		{"map_files/7f00-7f10", "map_files/", addresses{0x7f00, 0x7f10}, true},
		{"map_files/7f00-7f10", "", addresses{}, false},
		{"7f00-7f10", "map_files/", addresses{}, false},
		{"07f00-7f10", "", addresses{}, false},
		{"7F00-7F10", "", addresses{}, false},
		{"7f00-7f10/..", "", addresses{}, false},
		{"7f00", "", addresses{}, false},
		{"-", "", addresses{}, false},
		{"../7f00-7f10", "", addresses{}, false},
		{"10000000000000000-10000000000000001", "", addresses{}, false},
	}
	for _, tt := range tests {
		if got, ok := cutRange(tt.path, tt.prefix); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q after %q: %v, %v", tt.path, tt.prefix, got, ok)
		}
	}
}

func TestKindsOfLinks(t *testing.T) {
	for link, want := range map[string]kind{
		"":                        plain,
		"/usr/bin/cat":            plain,
		"anon_inode:[perf_event]": plain,
		"socket:[x]":              plain,
		"socket:[4711]":           socket,
		"/socket:[4711]":          plain,
		"/[aio] (deleted)":        ring,
		"/memfd:x (deleted)":      deleted,
		"/tmp/f (deleted)":        deleted,
	} {
		if got := kindOf(link); got != want {
			t.Errorf("%q is %d, want %d", link, got, want)
		}
	}
}
