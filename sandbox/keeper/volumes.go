package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/volume"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/snapshot"
)

// containerVolumes are the volumes of a container.
type containerVolumes struct {
	// recorded are those of a container that was made before, by its record.
	recorded []sandbox.VolumeMount
	open     []openVolume
	// mounts are all of the container's, in which volumes are bind mounts.
	mounts []sandbox.Mount
}

// openVolume is a volume that a container has.
type openVolume struct {
	use   *volume.Use
	mount sandbox.VolumeMount
}

// openVolumes finds or makes the volumes that the container mounts. The root file system is mounted, for what an empty volume
// is given of the image.
func (c *container) openVolumes() error {
	mounts := slices.Clone(c.spec.Mounts)
	for _, target := range c.imageVolumes() {
		mounts = insertMount(mounts, sandbox.Mount{Type: sandbox.MountVolume, Target: target})
	}
	for i, m := range mounts {
		if m.Type != sandbox.MountVolume {
			continue
		}
		if err := checkMount(m); err != nil {
			return err
		}
		v, err := c.openVolume(m)
		if err != nil {
			return err
		}
		mounts[i] = sandbox.Mount{Type: sandbox.MountBind, Source: v.use.Volume().Data(), Target: m.Target, ReadOnly: m.ReadOnly}
	}
	c.volumes.mounts = mounts
	return nil
}

// imageVolumes are the targets of the image's volumes that are to be volumes of the store. In a container that is not kept, or
// that snapshots of processes are made of, they are parts of the root file system.
func (c *container) imageVolumes() []string {
	if !c.spec.Keep || c.spec.Checkpointable || c.image.Host {
		return nil
	}
	var targets []string
	for target := range c.image.Config.Config.Volumes {
		targets = append(targets, path.Join("/", target))
	}
	slices.Sort(targets)
	return slices.DeleteFunc(slices.Compact(targets), func(target string) bool {
		return slices.ContainsFunc(c.spec.Mounts, func(m sandbox.Mount) bool { return path.Clean(m.Target) == target })
	})
}

// insertMount puts a mount before those that lie below it.
func insertMount(list []sandbox.Mount, m sandbox.Mount) []sandbox.Mount {
	below := func(o sandbox.Mount) bool { return within(path.Clean(o.Target), m.Target) }
	if i := slices.IndexFunc(list, below); i >= 0 {
		return slices.Insert(list, i, m)
	}
	return append(list, m)
}

// openVolume has the container use one volume.
func (c *container) openVolume(m sandbox.Mount) (openVolume, error) {
	v := openVolume{mount: sandbox.VolumeMount{Name: m.Source, Target: path.Clean(m.Target), ReadOnly: m.ReadOnly, Anonymous: m.Source == ""}}
	i := slices.IndexFunc(c.volumes.recorded, func(r sandbox.VolumeMount) bool { return r.Target == v.mount.Target })
	if i >= 0 {
		v.mount.Name = c.volumes.recorded[i].Name
	}
	o := volume.Options{Name: v.mount.Name, User: &volume.User{ID: c.id, Name: c.spec.Name}, Ephemeral: v.mount.Anonymous && !c.spec.Keep}
	if j := slices.IndexFunc(c.volumes.open, func(other openVolume) bool { return o.Name != "" && other.mount.Name == o.Name }); j >= 0 {
		v.use = c.volumes.open[j].use // mounted a second time
	} else if err := c.useVolume(&v, o); err != nil {
		return v, err
	}
	c.volumes.open = append(c.volumes.open, v)
	if c.image.Host { // the machine is no image
		return v, nil
	}
	return v, c.fillVolume(v, !m.NoCopy && i < 0)
}

func (c *container) useVolume(v *openVolume, o volume.Options) error {
	c.k.volumesUsed.Store(true)
	_, use, made, err := c.k.volumes.Create(c.life, o)
	if err != nil {
		return err
	}
	v.use, v.mount.Name = use, use.Volume().Name
	if made {
		c.k.emitVolume("create", v.mount.Name, nil)
	}
	return nil
}

// fillVolume gives an empty volume what the image has in its place, with copying, or ends what was begun.
func (c *container) fillVolume(v openVolume, copying bool) error {
	content := volume.Content{Describe: snapshot.Describe}
	if copying {
		src, err := c.openInImage(v.mount.Target)
		if err != nil {
			return err
		}
		if src != nil {
			defer src.Close()
			content.Copy = func(ctx context.Context, dst *os.File) error {
				_, err := snapshot.CopyTree(ctx, dst, src, snapshot.CopyOptions{})
				return err
			}
		}
	}
	return v.use.Volume().Fill(c.life, content)
}

// openInImage opens a directory of the root file system, nil if there is none.
func (c *container) openInImage(target string) (*os.File, error) {
	root, err := openRoot(c.area.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := pathrs.OpenatInRoot(root, target)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeMount, "mount a volume on %s: %v", target, err)
	}
	if st, err := dir.Stat(); err != nil || !st.IsDir() {
		_ = dir.Close()
		return nil, sandbox.Errorf(sandbox.CodeMount, "mount a volume on %s: it is no directory of the image", target).WithRemedy("choose another target")
	}
	return dir, nil
}

// volumeMounts are the container's volumes, in the order in which they are mounted.
func (c *container) volumeMounts() []sandbox.VolumeMount {
	var list []sandbox.VolumeMount
	for _, v := range c.volumes.open {
		list = append(list, v.mount)
	}
	return list
}

// leaveVolumes lets go of the volumes of a container that stays.
func (c *container) leaveVolumes() {
	for _, v := range c.volumes.open {
		v.use.Leave()
	}
	c.volumes.open = nil
}

// dropVolumes ends the use of the volumes of a container that goes, and removes those that were made for it alone.
func (c *container) dropVolumes(anonymous bool) error {
	list := c.volumeMounts()
	c.leaveVolumes()
	return c.k.releaseVolumes(c.id, list, anonymous)
}

// releaseVolumes ends the use of volumes by a container that is gone, and removes those that were made for it if that is asked
// for and nobody else has them. It does all that it can.
func (k *keeper) releaseVolumes(id string, list []sandbox.VolumeMount, anonymous bool) (err error) {
	ctx := context.Background()
	for _, m := range list {
		v, failed := k.volumes.Get(m.Name)
		if failed != nil {
			continue // it is gone or damaged: then nobody's use of it counts
		}
		ephemeral := v.Ephemeral
		err = errors.Join(err, v.Forget(ctx, id))
		if m.Anonymous && anonymous && !ephemeral {
			err = errors.Join(err, ignoreCode(k.volumes.Remove(ctx, m.Name), volume.InUse, rootfs.NotFound))
		}
		if _, failed := k.volumes.Get(m.Name); errors.Is(failed, rootfs.NotFound) {
			k.emitVolume("destroy", m.Name, nil)
		}
	}
	return err
}

func ignoreCode(err error, codes ...rootfs.Code) error {
	if slices.ContainsFunc(codes, func(code rootfs.Code) bool { return errors.Is(err, code) }) {
		return nil
	}
	return err
}

// emitVolume records an event of a volume.
func (k *keeper) emitVolume(action, name string, attributes map[string]string) {
	all := map[string]string{"driver": "local"}
	maps.Copy(all, attributes)
	k.bulletin.emit(sandbox.Event{Type: sandbox.EventVolume, Action: action, ID: name, Attributes: all})
}

// emitVolumes records that the container's program has its volumes, or has them no more.
func (c *container) emitVolumes(action string) {
	for _, v := range c.volumes.open {
		attributes := map[string]string{"container": c.id}
		if action == "mount" {
			attributes["destination"], attributes["read/write"], attributes["propagation"] = v.mount.Target, fmt.Sprint(!v.mount.ReadOnly), ""
		}
		c.k.emitVolume(action, v.mount.Name, attributes)
	}
}
