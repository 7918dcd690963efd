package keeper

import (
	"context"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// diskUsage answers with what takes how much of the disk.
func (s *server) diskUsage(_ context.Context, k *keeper, _ *wire.Message) outcome {
	images, err := k.store.Usage(k.needs)
	if err != nil {
		return outcome{err: err}
	}
	out := sandbox.DiskUsage{ImagesSize: images.Size, ImagesSpare: images.Unused, Other: images.Other}
	for _, i := range images.Images {
		out.Images = append(out.Images, sandbox.ImageUsage{ID: i.ID.String(), Names: i.Names, Made: i.Made, Shared: i.Shared, Unique: i.Unique,
			Containers: countContainers(i.Users)})
	}
	for _, l := range images.Layers {
		out.Layers = append(out.Layers, sandbox.LayerUsage{DiffID: l.DiffID.String(), Blob: l.Blob, Files: l.Files, Images: l.Images})
	}
	if out.BuildCache, err = k.cacheUsage(images.Spare); err != nil {
		return outcome{err: err}
	}
	for _, part := range []func(*sandbox.DiskUsage) error{k.containerUsage, k.volumeUsage, k.snapshotUsage} {
		if err := part(&out); err != nil {
			return outcome{err: err}
		}
	}
	return outcome{body: out}
}

// countContainers counts each once, though one that is kept and runs is there twice: by its record and by its note.
func countContainers(users []rootfs.User) int {
	seen := map[string]bool{}
	for _, u := range users {
		if u.Container != "" {
			seen[u.Container] = true
		}
	}
	return len(seen)
}

func (k *keeper) containerUsage(out *sandbox.DiskUsage) error {
	records, err := sandbox.Records()
	for _, r := range records {
		out.Containers = append(out.Containers, sandbox.ContainerUsage{ID: r.ID, Name: r.Name, Image: r.Image.Name, State: r.State,
			Size: rootfs.DiskUsage(filepath.Join(k.containersDir(), r.ID))})
	}
	return err
}

func (k *keeper) volumeUsage(out *sandbox.DiskUsage) error {
	volumes, err := k.volumes.List()
	for _, v := range volumes {
		users, _ := v.Users() // who cannot be read counts as nobody here
		out.Volumes = append(out.Volumes, sandbox.VolumeUsage{Name: v.Name, Size: rootfs.DiskUsage(v.Data()), Containers: len(users)})
	}
	return err
}

func (k *keeper) snapshotUsage(out *sandbox.DiskUsage) error {
	snapshots, err := k.allSnapshots()
	for _, s := range snapshots {
		out.Snapshots = append(out.Snapshots, sandbox.SnapshotUsage{ID: s.ID, Size: s.Size})
	}
	return err
}
