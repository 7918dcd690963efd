package rootfs

import (
	"slices"
	"sort"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func hostPlatform() ocispec.Platform { return platforms.DefaultSpec() }

// choose returns the manifest of an index that fits want best: its own platform, or one that it can also run (an arm
// v7 machine a v6 image). Without platforms, as hand-made indexes are, a single manifest is taken.
//
// Errors: NoPlatform, naming what there is.
func choose(index ocispec.Index, want ocispec.Platform) (ocispec.Descriptor, error) {
	candidates := slices.DeleteFunc(slices.Clone(index.Manifests), func(d ocispec.Descriptor) bool {
		return !isImage(d) || !isManifest(d.MediaType) && !isIndex(d.MediaType)
	})
	if len(candidates) == 1 && candidates[0].Platform == nil {
		return candidates[0], nil
	}
	match := platforms.Only(want)
	fitting := slices.DeleteFunc(slices.Clone(candidates), func(d ocispec.Descriptor) bool {
		return d.Platform == nil || !match.Match(platforms.Normalize(*d.Platform))
	})
	if len(fitting) == 0 {
		return ocispec.Descriptor{}, noPlatform(candidates, want)
	}
	sort.SliceStable(fitting, func(i, j int) bool { return match.Less(*fitting[i].Platform, *fitting[j].Platform) })
	return fitting[0], nil
}

// isImage is false for attestations, which BuildKit gives the platform unknown/unknown, and for artifacts. Some tools
// also give the artifact type of an image, that of its configuration.
func isImage(d ocispec.Descriptor) bool {
	if d.ArtifactType != "" && !isConfig(d.ArtifactType) {
		return false
	}
	return d.Platform == nil || d.Platform.OS != "unknown" && d.Platform.Architecture != "unknown"
}

func noPlatform(candidates []ocispec.Descriptor, want ocispec.Platform) error {
	var have []string
	for _, d := range candidates {
		if d.Platform != nil {
			have = append(have, platforms.Format(*d.Platform))
		}
	}
	return noPlatformAmong(have, want)
}

func noPlatformAmong(have []string, want ocispec.Platform) error {
	list, remedy := "none", ""
	if len(have) > 0 {
		slices.Sort(have)
		list = strings.Join(slices.Compact(have), ", ")
		remedy = "name one of them with --platform (another machine's programs need binfmt_misc to run)"
	}
	return fail(NoPlatform, remedy, "image has no platform %s, only %s", platforms.Format(want), list)
}

// checkPlatform refuses the image of another machine where there was nothing to choose from. Configurations without
// an architecture are taken as they are.
func checkPlatform(have, want ocispec.Platform) error {
	if have.Architecture == "" || platforms.Only(want).Match(platforms.Normalize(have)) {
		return nil
	}
	return noPlatformAmong([]string{platforms.Format(platforms.Normalize(have))}, want)
}
