package keeper

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"

	_ "github.com/opencontainers/cgroups/devices" // libcontainer cannot set devices limits without it

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/filelock"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/network"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// container is one container from its creation until it is discarded.
type container struct {
	k     *keeper
	id    string
	spec  *sandbox.Spec
	image *rootfs.Image
	area  *area

	source *source // the snapshot that it was made from, if any
	waker  *waker  // of the start under way
	asleep bool    // the next start brings the snapshot's processes back
	// machineClock lets a clone's processes see that time has passed since they were checkpointed.
	machineClock bool
	dumping      atomic.Bool  // CRIU makes calls in the name of the container's processes
	helper       atomic.Int64 // the process that has started CRIU last, 0 for none
	clock        *clockOffset // nil where its clocks are the machine's
	// mounted are the mounts of the root file system, in their order.
	mounted []string
	host    *hostRecord // with host:
	use     imageUse
	volumes containerVolumes
	record  *record // of a container that is kept, otherwise nil
	opened  bool    // it was there before this keeper
	// called is the name that it was given after its creation; setHost the host name that it keeps then.
	called  atomic.Pointer[string]
	setHost string
	name    *filelock.Lock // of one that is not kept

	proc     *process
	user     *identity
	plan     *plan
	config   *configs.Config
	warnings []string

	emulation *emulate.State // of ids, for users who have one

	lc       *libcontainer.Container
	first    *libcontainer.Process
	exited   <-chan error // what waiting for the first process returns; nil before there is one
	terminal *os.File

	ports atomic.Pointer[network.Ports] // nil without published ones, and between the runs of a container that is kept

	starting sync.Mutex      // while a start is under way
	life     context.Context // until it is to be discarded
	endLife  context.CancelFunc
	released sync.Once
	copies   sync.RWMutex // held for reading while files are copied, for writing to give them up

	dropAnonymous atomic.Bool // its removal takes its anonymous volumes with it

	ending    sync.Once
	removed   bool  // by its ending
	endFailed error // what went wrong with it

	pausing  sync.RWMutex // held for reading while a session starts, for writing to pause, resume and settle
	paused   atomic.Bool
	pauses   atomic.Int64 // how often it was paused or resumed
	joined   string       // the cgroup that an update has moved the container to
	stopped  map[int]bool // the processes that pause has stopped, by their numbers in the keeper's pid namespace
	sessions sync.Map     // by the id of the request that started each: *session

	created    time.Time
	mu         sync.Mutex
	detached   bool       // it outlives the caller
	mortal     bool       // it is discarded at its program's end
	log        *outputLog // of its program's outputs, nil without
	destroyed  sync.Once  // an event tells so
	hub        *hub       // of the streams of the program that was started last, nil where they are the caller's
	last       *program   // the one that was started last
	health     *sandbox.Health
	discarding bool

	manual   bool          // the program was asked to end, so that no policy starts it again
	restarts int           // by the policy since the last start by request
	backoff  time.Duration // before the last of them
}

// create makes everything of a container but its processes.
func (k *keeper) create(ctx context.Context, spec *sandbox.Spec, a *asker) (*container, error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	image, err := k.pull(ctx, spec.Image, spec.Get, a)
	if err != nil {
		return nil, err
	}
	return k.newContainer(spec, image).built()
}

func (k *keeper) newContainer(spec *sandbox.Spec, image *rootfs.Image) *container {
	c := &container{k: k, id: newID(), spec: spec, image: image, emulation: emulate.NewState()}
	c.life, c.endLife = context.WithCancel(context.Background())
	return c
}

// built makes everything of the container but its processes, or ends it.
func (c *container) built() (*container, error) {
	for _, step := range []func() error{c.makeArea, c.takeName, c.loadEmulation, c.useImage, c.mountRoot, c.openVolumes, c.configure, c.checkImages, c.bindEarly, c.complete} {
		if err := step(); err != nil {
			_ = c.end(!c.opened)
			return nil, err
		}
	}
	return c, nil
}

func (c *container) makeArea() (err error) {
	if c.spec.Keep && !c.opened {
		err = c.makeRecord()
	}
	switch {
	case err != nil:
	case c.spec.Keep:
		c.area, err = keptArea(c.record.dir)
	default:
		c.area, err = c.k.scratch.area(c.id)
	}
	return err
}

// complete is the last step of a creation.
func (c *container) complete() error {
	if c.opened {
		return nil
	}
	c.created = time.Now()
	if c.record != nil {
		go c.k.sweepContainers()
		if err := c.saveRecord(); err != nil {
			return err
		}
	}
	c.emit("create")
	return nil
}

// newID returns 64 hexadecimal digits, as other tools' ids are.
func newID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

func (c *container) hostname() string {
	return firstOf(c.setHost, c.spec.Hostname, c.spec.Name, c.id[:12])
}

func (c *container) mountRoot() error {
	layers := c.layers()
	if c.image.Host {
		return c.mountHost()
	}
	if !c.opened {
		if err := copyMode(layers, c.area.upper); err != nil {
			return err
		}
	}
	return c.mountOverlay(c.area.root, overlay.Options{
		Lower: layers, Upper: c.area.upper, Work: c.area.work, Volatile: c.k.scratch.onDisk && !c.spec.Keep, OneDevice: c.spec.Checkpointable,
	})
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
	if c.user, err = resolveIdentity(c.area.root, c.proc.user, c.spec.GroupAdd); err != nil {
		return err
	}
	c.proc.env = setDefault(c.proc.env, "HOME", c.user.home)
	spec := *c.spec
	spec.Mounts = c.volumes.mounts
	b := &blueprint{
		id: c.id, root: c.area.root, hostname: c.hostname(), spec: &spec,
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
	if c.host != nil {
		b.shm = c.host.shm
	}
	if b.files, err = c.systemFiles(); err != nil {
		return err
	}
	if b.cgroup, err = c.cgroup(); err != nil {
		return err
	}
	c.config = configure(b)
	if c.plan, err = c.makePlan(b); err == nil {
		c.emulation.Begin(c.emulated())
	}
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

// displayName is what people call the container.
func (c *container) displayName() string { return firstOf(c.givenName(), c.id[:12]) }

// release gives up the container's root file system and its name, once. Nothing runs in it any more.
func (c *container) release() (err error) {
	c.released.Do(func() {
		err = c.unmount()
		c.unuseImage()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.name.Unlock()
	})
	return err
}

// unmount detaches the root file system.
func (c *container) unmount() error {
	var errs []error
	for _, m := range slices.Backward(c.mounted) {
		errs = append(errs, overlay.Unmount(m))
	}
	c.mounted = nil
	return errors.Join(errs...)
}
