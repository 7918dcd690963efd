package keeper

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"

	_ "github.com/opencontainers/cgroups/devices" // libcontainer cannot set devices limits without it

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
)

// container is one container from its creation until it is discarded.
type container struct {
	k     *keeper
	id    string
	spec  *sandbox.Spec
	image *rootfs.Image
	area  *area
	// mounted are the mounts of the root file system, in their order.
	mounted []string
	kept    string // directory of the store that holds the changed files, if they are to be kept
	name    *filelock.Lock

	proc     *process
	user     *identity
	plan     *plan
	config   *configs.Config
	warnings []string

	lc       *libcontainer.Container
	first    *libcontainer.Process
	ran      bool       // the program was executed
	exited   chan error // what waiting for the first process returned
	terminal *os.File
}

// create makes everything of a container but its processes.
func (k *keeper) create(ctx context.Context, spec *sandbox.Spec, a *asker) (_ *container, err error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	image, err := k.pull(ctx, spec.Image, spec.Get, a)
	if err != nil {
		return nil, err
	}
	c := &container{k: k, id: newID(), spec: spec, image: image, exited: make(chan error, 1)}
	defer func() {
		if err != nil {
			c.discard()
		}
	}()
	if c.area, err = k.scratch.area(c.id); err != nil {
		return nil, err
	}
	if err := c.takeName(); err != nil {
		return nil, err
	}
	if err := c.mountRoot(); err != nil {
		return nil, err
	}
	return c, c.configure()
}

// newID returns 64 hexadecimal digits, as other tools' ids are.
func newID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

func (c *container) hostname() string { return firstOf(c.spec.Hostname, c.spec.Name, c.id[:12]) }

func (c *container) mountRoot() error {
	layers := c.image.Layers
	if c.image.Host {
		return c.mountHost()
	}
	upper, work := c.area.upper, c.area.work
	if c.spec.Keep {
		upper, work = filepath.Join(c.kept, "upper"), filepath.Join(c.kept, "work")
	}
	if err := copyMode(layers, upper); err != nil {
		return err
	}
	return c.mountOverlay(c.area.root, overlay.Options{Lower: layers, Upper: upper, Work: work, Volatile: c.k.scratch.onDisk || c.spec.Keep})
}

// copyMode gives the upper directory the permissions of the root directory below it, which it hides.
func copyMode(layers []string, upper string) error {
	if len(layers) == 0 {
		return nil
	}
	st, err := os.Stat(layers[len(layers)-1])
	if err != nil {
		return fmt.Errorf("stat layer: %w", err)
	}
	return os.Chmod(upper, st.Mode().Perm()|st.Mode()&os.ModeSticky)
}

// configure resolves everything that the image decides and computes libcontainer's configuration.
func (c *container) configure() (err error) {
	if c.image.Host {
		c.image.Config.Config.Env = hostEnvironment(os.Environ())
	}
	if c.proc, err = resolveProcess(c.spec, &c.image.Config.Config, c.hostname()); err != nil {
		return err
	}
	if c.user, err = resolveIdentity(c.area.root, c.proc.user); err != nil {
		return err
	}
	c.proc.env = setDefault(c.proc.env, "HOME", c.user.home)
	b := &blueprint{
		id: c.id, root: c.area.root, hostname: c.hostname(), spec: c.spec,
		uids: c.k.uids, gids: c.k.gids, unified: c.k.unified, user: *c.user,
	}
	if err := checkMapped(c.user, b); err != nil {
		return err
	}
	if b.caps, err = resolveCapabilities(c.spec.CapAdd, c.spec.CapDrop); err != nil {
		return err
	}
	if b.rlimits, err = resolveRlimits(c.spec.Ulimits, c.k.single()); err != nil {
		return err
	}
	if b.files, err = c.systemFiles(); err != nil {
		return err
	}
	if b.cgroup, err = c.cgroup(); err != nil {
		return err
	}
	c.config = configure(b)
	c.plan, err = c.makePlan(b)
	return err
}

// checkMapped refuses a user whose id the container does not have. With a single id every other is emulated instead.
func checkMapped(u *identity, b *blueprint) error {
	if single(b.uids) || contains(b.uids, u.uid) && contains(b.gids, u.gid) {
		return nil
	}
	return sandbox.Errorf(sandbox.CodeUnmappedID, "run as user %d:%d: ids 0 to %d are mapped", u.uid, u.gid, last(b.uids)).
		WithRemedy("choose a smaller id, or have a larger range in /etc/subuid and /etc/subgid")
}

func contains(extents []extent, id int) bool {
	return slices.ContainsFunc(extents, func(e extent) bool { return e.first <= int64(id) && int64(id) < e.first+e.size })
}

func (c *container) started() sandbox.Started {
	return sandbox.Started{ID: c.id, StopSignal: c.proc.stopSignal, Image: imageInfo(c.image), Warnings: c.warnings}
}

func (c *container) signal(s syscall.Signal) error {
	if s < 0 || s > 64 {
		return syscall.EINVAL
	}
	return c.first.Signal(s)
}

// wait returns how the program ended. When ctx ends before, the program is killed.
func (c *container) wait(ctx context.Context) (sandbox.Exit, error) {
	var err error
	select {
	case err = <-c.exited:
	case <-ctx.Done():
		_ = c.first.Signal(syscall.SIGKILL)
		return sandbox.Exit{}, <-c.exited
	}
	exit := sandbox.Exit{}
	var status *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &status):
		exit = exitOf(status.Sys().(syscall.WaitStatus))
	default:
		return exit, fmt.Errorf("wait for the container: %w", err)
	}
	exit.OOMKilled = c.oomKilled()
	if c.spec.Keep {
		exit.Kept = c.kept
	}
	return exit, nil
}

func exitOf(s syscall.WaitStatus) sandbox.Exit {
	if s.Signaled() {
		return sandbox.Exit{Code: 128 + int(s.Signal()), Signal: int(s.Signal())}
	}
	return sandbox.Exit{Code: s.ExitStatus()}
}

// unmount detaches the root file system, once.
func (c *container) unmount() {
	for _, m := range slices.Backward(c.mounted) {
		_ = overlay.Unmount(m)
	}
	c.mounted = nil
}

// discard ends and removes what there is of the container; what fails here ends with the keeper.
func (c *container) discard() {
	if c.lc != nil {
		_ = c.lc.Signal(syscall.SIGKILL)
		_ = c.lc.Destroy()
	}
	c.closeTerminal()
	if c.area != nil {
		c.unmount()
		c.area.remove()
	}
	if !c.ran {
		c.forget()
	}
	c.name.Unlock()
}
