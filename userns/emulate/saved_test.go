package emulate

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestSavedStateKnowsTheSameProcesses wants the numbers that processes keep to mean the same users after a way through JSON.
func TestSavedStateKnowsTheSameProcesses(t *testing.T) {
	before := NewState()
	before.Begin(Options{UID: 3, GID: 4, Groups: []uint32{5}})
	limits := map[uint64]credentials{}
	for _, o := range []Options{{}, {UID: 999, GID: 998, Groups: []uint32{998, 5}}, {UID: NoopID - 1}} {
		limit, err := before.Limit(o, 1<<3|1<<40)
		if err != nil {
			t.Fatal(err)
		}
		limits[limit], _ = before.table.get(tagOf(limit).number)
	}
	b, err := json.Marshal(before.Save())
	if err != nil {
		t.Fatal(err)
	}
	var saved Saved
	if err := json.Unmarshal(b, &saved); err != nil {
		t.Fatal(err)
	}
	after, err := saved.State()
	if err != nil {
		t.Fatal(err)
	}
	for limit, want := range limits {
		if got, ok := after.table.get(tagOf(limit).number); !ok || got.key() != want.key() {
			t.Errorf("limit %x is %+v, %v, want %+v", limit, got, ok, want)
		}
		if n, e := after.table.number(want); e != 0 || n != tagOf(limit).number {
			t.Errorf("%+v has number %d, %v, want %d", want, n, e, tagOf(limit).number)
		}
	}
	if after.Begin(Options{}); !reflect.DeepEqual(after.first, before.first) {
		t.Errorf("the first process is %+v, want %+v", after.first, before.first)
	}
}

func TestSavedStateOfOthersIsChecked(t *testing.T) {
	user := SavedCredentials{UID: [4]uint32{1, 2, 3, 4}}
	tests := map[string]Saved{
		"too many groups":          {First: SavedUser{Groups: make([]uint32, maxGroupsPerProcess+1)}},
		"too many groups of one":   {Credentials: []SavedCredentials{{Groups: make([]uint32, maxGroupsPerProcess+1)}}},
		"the same user twice":      {Credentials: []SavedCredentials{user, user}},
		"more than a state can do": {Credentials: make([]SavedCredentials, maxCredentials+1)},
	}
	for i := range tests["more than a state can do"].Credentials {
		tests["more than a state can do"].Credentials[i].UID[0] = uint32(i)
	}
	for name, v := range tests {
		if _, err := v.State(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
