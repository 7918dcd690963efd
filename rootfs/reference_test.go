package rootfs

import (
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseReference(t *testing.T) {
	for s, want := range map[string]Reference{
		"alpine":                     {Transport: Registry, Domain: "docker.io", Repository: "library/alpine", Tag: "latest", Short: true},
		"docker://alpine:3":          {Transport: Registry, Domain: "docker.io", Repository: "library/alpine", Tag: "3", Short: true},
		"docker.io/library/x":        {Transport: Registry, Domain: "docker.io", Repository: "library/x", Tag: "latest"},
		"index.docker.io/x":          {Transport: Registry, Domain: "docker.io", Repository: "library/x", Tag: "latest"},
		"user/x":                     {Transport: Registry, Domain: "docker.io", Repository: "user/x", Tag: "latest", Short: true},
		"localhost/x":                {Transport: Registry, Domain: "localhost", Repository: "x", Tag: "latest"},
		"localhost:5000/a/b:t":       {Transport: Registry, Domain: "localhost:5000", Repository: "a/b", Tag: "t"},
		"[::1]:5000/x":               {Transport: Registry, Domain: "[::1]:5000", Repository: "x", Tag: "latest"},
		"x@" + someDigest:            {Transport: Registry, Domain: "docker.io", Repository: "library/x", Digest: someDigest, Short: true},
		"h.io/x:t@" + someDigest:     {Transport: Registry, Domain: "h.io", Repository: "x", Tag: "t", Digest: someDigest},
		"docker://oci:1":             {Transport: Registry, Domain: "docker.io", Repository: "library/oci", Tag: "1", Short: true},
		"oci:dir":                    {Transport: OCI, Path: "dir"},
		"oci:/a/b/../c:h.io/x:1":     {Transport: OCI, Path: "/a/c", Tag: "h.io/x:1"},
		"oci-archive:a.tar:v1":       {Transport: OCIArchive, Path: "a.tar", Tag: "v1"},
		"docker-archive:./a.tar:x:1": {Transport: DockerArchive, Path: "a.tar", Tag: "x:1"},
		"rootfs:/srv/a:b":            {Transport: Rootfs, Path: "/srv/a:b"},
		"host:":                      {Transport: Host},
		someDigest:                   {Transport: Stored, Digest: someDigest},
		someDigest[len("sha256:"):]:  {Transport: Stored, Digest: someDigest},
	} {
		got, err := ParseReference(s)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
		if again, err := ParseReference(got.String()); err != nil || again != got {
			t.Errorf("%s: %s reads as %+v, %v", s, got, again, err)
		}
	}
}

func TestParseReferenceErrors(t *testing.T) {
	for _, s := range []string{"", "UPPER", "a b", "x:", "x@sha256:12", "oci:", "oci-archive:", "docker-archive::x", "rootfs:", "host:x", "host",
		"docker-daemon:x", "containers-storage:x", "docker://", "http://x.y/z", strings.Repeat("a", 300), "-x", "rootfs:a\x00b",
		"docker://" + strings.TrimPrefix(someDigest, "sha256:")} {
		if got, err := ParseReference(s); s != "host" && !errors.Is(err, BadReference) {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
}

func TestReferenceNames(t *testing.T) {
	for s, want := range map[string][2]string{
		"x":                 {"docker.io/library/x:latest", "docker.io/library/x:latest"},
		"x:t@" + someDigest: {"docker.io/library/x:t@" + someDigest, "docker.io/library/x@" + someDigest},
		"oci:a:b":           {"oci:a:b", "oci:a:b"},
	} {
		if ref := mustParse(t, s); ref.Name() != want[0] || ref.stored() != want[1] {
			t.Errorf("%s: %s, %s", s, ref.Name(), ref.stored())
		}
	}
	if got := mustParse(t, "oci:a:b").WithDir("/c").String(); got != "oci:/c/a:b" {
		t.Error(got)
	}
}

// FuzzSplitName compares with the package that Docker and containerd use.
func FuzzSplitName(f *testing.F) {
	for _, s := range []string{"alpine", "A/b", "a-.b/c", "h:1/x:y@" + someDigest, "[::1]:5/a__b", "a--b.c_d/e", "localhost", "localhost/a", "x@" + someDigest[:40],
		"index.docker.io/a", "a_.b/c", "a:b:c", "x.y:/z", "docker.io/a/b:T_", "[:]/a", "-a", "a/-b", "a.", "a/b-", "x:.a", "a:" + strings.Repeat("x", 128)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := splitName(s)
		named, wantErr := reference.ParseNormalizedNamed(s)
		if wantErr == nil && reference.Domain(named) == "" {
			wantErr = errors.New("no domain") // it takes a registry with _ for a part of the path
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %+v, %v, want %v, %v", s, got, err, named, wantErr)
		}
		if err == nil && got.Name() != reference.TagNameOnly(named).String() {
			t.Errorf("%q: %s, want %s", s, got.Name(), reference.TagNameOnly(named))
		}
		if err == nil && got.Short && got.suffixed(got.familiarName()) != reference.FamiliarString(reference.TagNameOnly(named)) {
			t.Errorf("%q: %s, want %s", s, got.suffixed(got.familiarName()), reference.FamiliarString(reference.TagNameOnly(named)))
		}
	})
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "docker://oci:1", "oci:a:b", "rootfs:/", "h:1/x:y@" + someDigest, "host:", "docker-archive:x:y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		if again, err := ParseReference(ref.String()); err != nil || again != ref {
			t.Errorf("%q: %+v is written %q, which reads as %+v, %v", s, ref, ref, again, err)
		}
		if strings.HasPrefix(s, "docker://") || ref.Transport != Registry {
			return
		}
		if ref.Domain == "" || ref.Repository == "" || ref.Tag == "" && ref.Digest == "" {
			t.Errorf("%q: %+v", s, ref)
		}
	})
}
