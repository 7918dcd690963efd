package emulate

import (
	"encoding/hex"
	"testing"
)

func TestOwnerEncoding(t *testing.T) {
	tests := []struct {
		owner Owner
		hex   string
	}{
		{Owner{}, ""},
		{Owner{UID: 33}, "0821"},
		{Owner{GID: 33}, "1021"},
		{Owner{999, 65534}, "08e70710feff03"},
		{Owner{NoopID, 5}, "08ffffffff0f1005"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(tt.owner.Marshal()); got != tt.hex {
			t.Errorf("%v: encoded %s, want %s", tt.owner, got, tt.hex)
		}
		if got, err := UnmarshalOwner(tt.owner.Marshal()); err != nil || got != tt.owner {
			t.Errorf("%v: decoded %v, %v", tt.owner, got, err)
		}
	}
}

func TestOwnerRefusesForeignBytes(t *testing.T) {
	for _, s := range []string{"08", "0880", "1821", "08ffffffff1f", "0821ff", "08ffffffffffffffffffff7f"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := UnmarshalOwner(b); err == nil {
			t.Errorf("%s: decoded %v, want an error", s, o)
		}
	}
}

func FuzzUnmarshalOwner(f *testing.F) {
	for _, o := range []Owner{{}, {33, 0}, {1, NoopID}} {
		f.Add(o.Marshal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := UnmarshalOwner(b)
		if err != nil {
			return
		}
		if again, err := UnmarshalOwner(o.Marshal()); err != nil || again != o {
			t.Errorf("%x: %v does not survive: %v, %v", b, o, again, err)
		}
	})
}
