package sandbox

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// takeVolumes adds the volumes and bind mounts of the containers that VolumesFrom names. The last of a target wins, but for the
// Spec's own mounts.
func (s *Spec) takeVolumes(ctx context.Context) error {
	own := s.Mounts
	var taken []Mount
	for _, text := range s.VolumesFrom {
		mounts, err := mountsOf(ctx, text)
		if err != nil {
			return fmt.Errorf("mount the volumes of %s: %w", text, err)
		}
		for _, m := range mounts {
			same := func(o Mount) bool { return path.Clean(o.Target) == path.Clean(m.Target) }
			taken = slices.DeleteFunc(taken, same)
			if !slices.ContainsFunc(own, same) {
				taken = append(taken, m)
			}
		}
	}
	s.Mounts = slices.Concat(taken, own)
	return nil
}

// mountsOf are a container's volumes and bind mounts, by CONTAINER[:ro|rw].
func mountsOf(ctx context.Context, text string) ([]Mount, error) {
	name, mode, given := strings.Cut(text, ":")
	if given && mode != "ro" && mode != "rw" {
		return nil, Errorf(CodeInvalid, "%q is no mode", mode).WithRemedy("use ro or rw")
	}
	rec, err := FindRecord(ctx, name)
	if err != nil {
		return nil, err
	}
	var list []Mount
	for _, m := range rec.Spec.Mounts {
		if m.Type == MountBind {
			list = append(list, m)
		}
	}
	for _, v := range rec.Volumes {
		list = append(list, Mount{Type: MountVolume, Source: v.Name, Target: v.Target, ReadOnly: v.ReadOnly, NoCopy: true})
	}
	for i := range list {
		list[i].ReadOnly = list[i].ReadOnly || mode == "ro"
	}
	return list, nil
}
