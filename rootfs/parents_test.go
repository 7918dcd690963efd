package rootfs

import (
	"slices"
	"testing"
)

// What is put right in such a layer is unpack's to test.
func TestPullOfLayersThatImplyDirectories(t *testing.T) {
	r, s := newServer(t), openStore(t)
	base, user := tree{"dir@1000 home", "file last x"}, tree{"file home/f x", "file last y"}
	for _, c := range []struct {
		name  string
		trees []tree
		adds  []string // on top of the layers
	}{
		{"hides:1", []tree{base, user}, []string{"dir home"}},
		{"shares:1", []tree{{"file last z"}, user}, nil},
		{"below:1", []tree{user, base}, nil},
	} {
		name := r.push(t, c.name, imageOf(t, packedGzip, c.trees...))
		pulled := pullNow(t, s, name, PullOptions{})
		again := pullNow(t, s, name, PullOptions{Policy: Never})
		if !slices.Equal(pulled.Layers, again.Layers) {
			t.Errorf("%s: layers %q, then %q", c.name, pulled.Layers, again.Layers)
		}
		var adds []string
		for _, dir := range pulled.Layers[len(c.trees):] {
			adds = append(adds, listing(t, dir)...)
		}
		if !slices.Equal(adds, c.adds) {
			t.Errorf("%s: on top of the layers lies %q, want %q", c.name, adds, c.adds)
		}
	}
}
