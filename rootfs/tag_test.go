package rootfs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestTag(t *testing.T) {
	r, s := newServer(t), openStore(t)
	one := pullNow(t, s, r.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	two := pullNow(t, s, r.push(t, "y:1", imageOf(t, packedGzip, bigTree)), PullOptions{})
	for _, source := range []string{one.Name, one.ID.String(), one.ID.Encoded()[:12], one.Digest.String()} {
		target := fmt.Sprintf("mine:%d", len(source))
		if err := s.Tag(context.Background(), source, mustParse(t, target)); err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		got, err := s.Pull(context.Background(), mustParse(t, target), PullOptions{Policy: Never})
		if err != nil || got.ID != one.ID || got.Digest != one.Digest || got.Name != "docker.io/library/"+target {
			t.Errorf("%s: %+v, %v", source, got, err)
		}
	}
	if err := s.Tag(context.Background(), two.Name, mustParse(t, one.Name)); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Inspect(one.Name, ""); err != nil || found.ID != two.ID {
		t.Errorf("after taking the name: %+v, %v", found, err)
	}
	if found, err := s.Inspect(one.ID.String(), ""); err != nil || len(found.RepoTags) != 3 {
		t.Errorf("of the name's old image: %+v, %v", found, err)
	}
	fsck(t, s)
}

func TestTagErrors(t *testing.T) {
	r, s := newServer(t), openStore(t)
	one := pullNow(t, s, r.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	for _, c := range []struct {
		source, target string
		code           Code
	}{
		{"none", "a", NotFound}, {"deadbeef", "a", NotFound}, {one.Name, "oci:/a", BadReference}, {one.Name, "host:", BadReference},
		{one.Name, "a@" + someDigest, BadReference}, {one.Name, someDigest, BadReference},
	} {
		if err := s.Tag(context.Background(), c.source, mustParse(t, c.target)); !errors.Is(err, c.code) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestTagsAtOnce loses none of the names that many give at the same time.
func TestTagsAtOnce(t *testing.T) {
	r, s := newServer(t), openStore(t)
	one := pullNow(t, s, r.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if err := s.Tag(context.Background(), one.Name, mustParse(t, fmt.Sprintf("mine:%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if found, err := s.Inspect(one.ID.String(), ""); err != nil || len(found.RepoTags) != 21 {
		t.Errorf("%d names, %v", len(found.RepoTags), err)
	}
}

func TestRunById(t *testing.T) {
	r, s := newServer(t), openStore(t)
	one := pullNow(t, s, r.push(t, "x:1", imageOf(t, packedGzip, smallTree)), PullOptions{})
	r.close()
	for _, id := range []string{one.ID.String(), one.ID.Encoded(), one.ID.Encoded()[:12], one.ID.Encoded()[:4], one.Digest.String()} {
		got, err := s.Pull(context.Background(), mustParse(t, id), PullOptions{})
		if err != nil || got.ID != one.ID || len(got.Layers) != 1 {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	for id, o := range map[string]PullOptions{someDigest: {}, "deadbeef": {Policy: Never}} {
		if _, err := s.Pull(context.Background(), mustParse(t, id), o); !errors.Is(err, NotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := s.Pull(context.Background(), mustParse(t, one.ID.String()), PullOptions{Platform: "linux/s390x"}); !errors.Is(err, NoPlatform) {
		t.Errorf("of another platform: %v", err)
	}
	if err := s.Tag(context.Background(), one.Name, mustParse(t, "cafe")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Pull(context.Background(), mustParse(t, "cafe"), PullOptions{}); err != nil || got.Name != "docker.io/library/cafe:latest" {
		t.Errorf("a name wins over an id: %+v, %v", got, err)
	}
}
