package rootfs

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func TestHistory(t *testing.T) {
	img, err := mutate.Append(image(t), mutate.Addendum{Layer: newLayer(t, packedGzip, bigTree.tar(t)), History: v1.History{CreatedBy: "ADD a", Comment: "c"}},
		mutate.Addendum{History: v1.History{CreatedBy: "ENV b", EmptyLayer: true}},
		mutate.Addendum{Layer: newLayer(t, packedGzip, smallTree.tar(t)), History: v1.History{CreatedBy: "RUN d"}})
	if err != nil {
		t.Fatal(err)
	}
	r, s := newServer(t), openStore(t)
	pulled := pullNow(t, s, r.push(t, "x:1", img), PullOptions{})
	steps, id, err := s.History(pulled.Name, "")
	if err != nil || id != pulled.ID || len(steps) != 3 {
		t.Fatalf("%+v, %s, %v", steps, id, err)
	}
	if steps[0].CreatedBy != "RUN d" || steps[1].Layer != "" || steps[1].Size != 0 || steps[2].Comment != "c" || steps[2].Size != 2000001 {
		t.Errorf("%+v", steps)
	}
	bare := pullNow(t, s, r.push(t, "y:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	if steps, _, err = s.History(bare.ID.String(), ""); err != nil || len(steps) == 0 || steps[0].Layer == "" {
		t.Errorf("without a history: %+v, %v", steps, err)
	}
}

func TestTree(t *testing.T) {
	s, one, two := stored(t)
	images, err := s.Tree()
	if err != nil || len(images) != 2 {
		t.Fatalf("%+v, %v", images, err)
	}
	for _, i := range images {
		switch i.ID {
		case one.ID:
			if len(i.Names) != 2 || i.Unique != 0 || len(i.Layers) != 1 || len(i.Layers[0].Shared) != 1 || i.Layers[0].Shared[0] != two.ID {
				t.Errorf("%+v", i)
			}
		case two.ID:
			if len(i.Layers) != 2 || i.Unique != 2000001 || i.Layers[1].Shared != nil {
				t.Errorf("%+v", i)
			}
		}
	}
}

func TestImportLayer(t *testing.T) {
	plain := tree{"dir d", "file d/a x", "file last y"}.tar(t)
	for what, archive := range map[string][]byte{"plain": plain, "gzip": gzipped(t, plain), "zstd": zstded(t, plain), "bzip2": piped(t, plain, "bzip2"), "xz": piped(t, plain, "xz")} {
		s := openStore(t)
		l, err := s.ImportLayer(context.Background(), bytes.NewReader(archive))
		if archive == nil {
			continue // the program is not here
		}
		if err != nil || l.DiffID != describe("", plain).Digest || l.Size != 2 {
			t.Errorf("%s: %+v, %v", what, l, err)
			continue
		}
		img, err := s.CreateImage(context.Background(), NewImage{Layers: []Layer{l}, Names: []Reference{mustParse(t, "mine")}})
		if err != nil || !complete(img) {
			t.Errorf("%s: %+v, %v", what, img, err)
		}
		fsck(t, s)
	}
}

func piped(t *testing.T, content []byte, program string) []byte {
	t.Helper()
	cmd := exec.Command(program, "-c")
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Logf("%s: %v", program, err)
		return nil
	}
	return out
}

func TestImportLayerRefuses(t *testing.T) {
	plain := bigTree.tar(t)
	for _, c := range []struct {
		what    string
		archive []byte
		code    Code
	}{
		{"no tar", []byte(strings.Repeat("hello ", 1000)), BadArchive}, {"cut", plain[:100000], BadArchive},
		{"cut gzip", gzipped(t, plain)[:100000], BadArchive}, {"bad xz", []byte(xzMagic + strings.Repeat("x", 100)), BadArchive},
		{"bad bzip2", []byte(bzip2Magic + "9" + strings.Repeat("x", 100)), BadArchive}, {"outside", tree{"file ../x y"}.tar(t), BadArchive},
		{"long name", tree{"file " + strings.Repeat("n", 256) + " y"}.tar(t), BadArchive},
	} {
		s := openStore(t)
		if l, err := s.ImportLayer(context.Background(), bytes.NewReader(c.archive)); !errors.Is(err, c.code) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v, %v", c.what, l, err)
		}
		fsck(t, s)
		if left := append(entries(s.path("layers/single/sha256")), entries(s.path("layers/single/tmp"))...); len(left) > 0 {
			t.Errorf("%s: left %v", c.what, left)
		}
	}
}
