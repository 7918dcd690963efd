package keeper

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
	"github.com/bivouac-run/bivouac/snapshot"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// restore answers with a container whose next start brings the snapshot back to life.
func (s *server) restore(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.RestoreRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	sn, err := k.findSnapshot(r.Spec.Snapshot)
	if err != nil {
		return outcome{err: err}
	}
	c, err := k.clone(ctx, sn, &r.Spec, k.imageBy(s.asker(ctx, m.ID)))
	return s.made(ctx, k, m.ID, c, err)
}

// clone makes a container from a snapshot.
func (k *keeper) clone(ctx context.Context, sn *snapshot.Snapshot, r *sandbox.RestoreSpec, image imageGetter) (*container, error) {
	src, err := k.use(ctx, sn, image)
	if err != nil {
		return nil, err
	}
	spec := cloneSpec(&src.detail.Snapshot.Spec, r)
	if err := checkSpec(spec); err != nil {
		k.release(src)
		return nil, err
	}
	c := k.newContainer(spec, src.image)
	c.source, c.asleep, c.machineClock = src, src.detail.Tree != nil, r.MachineClock
	return c.built()
}

// cloneSpec is the original's, with what is the clone's own.
func cloneSpec(original *sandbox.Spec, r *sandbox.RestoreSpec) *sandbox.Spec {
	s := *original
	s.Name, s.Hostname, s.Listed, s.HoldPorts = r.Name, r.Hostname, r.Listed, r.HoldPorts
	s.Keep, s.Restart = false, sandbox.RestartPolicy{}
	// What was in volumes of the original's own is among the snapshot's files.
	s.Mounts = slices.DeleteFunc(slices.Clone(s.Mounts), func(m sandbox.Mount) bool { return m.Type == sandbox.MountVolume && m.Source == "" })
	s.Labels = maps.Clone(s.Labels)
	for name, value := range r.Labels {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[name] = value
	}
	s.Publish = slices.Clone(s.Publish)
	for i := range s.Publish {
		s.Publish[i].HostPort, s.Publish[i].HostPortLast = 0, 0
	}
	if r.Publish != nil {
		s.Publish, s.PublishAll = r.Publish, r.PublishAll
	}
	if r.Limits != nil {
		s.Limits = *r.Limits
	}
	return &s
}

// wake is what the first start after a restore does besides: it prepares the plan for processes that CRIU brings.
func (c *container) wake() {
	c.waker = nil
	if !c.spec.Checkpointable {
		return
	}
	c.plan.adopt, c.plan.lastPID = 0, firstPID-1
	c.setClock(nil)
	if !c.asleep {
		return
	}
	t := c.source.detail.Tree
	c.plan.adopt, c.plan.lastPID = t.Root, t.LastPID+sparePIDs
	if !c.machineClock && configs.IsNamespaceSupported(configs.NEWTIME) {
		c.setClock(t.continuing())
	}
}

// setClock gives the container clocks of its own (Linux 5.6), or the machine's for nil.
func (c *container) setClock(o *clockOffset) {
	c.clock = o
	c.config.Namespaces.Remove(configs.NEWTIME)
	c.config.TimeOffsets = nil
	if o == nil {
		return
	}
	c.config.Namespaces.Add(configs.NEWTIME, "")
	c.config.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": timeOffset(o.monotonic), "boottime": timeOffset(o.boot)}
}

// timeOffset is in the kernel's form: the nanoseconds are never negative (time_namespaces(7)).
func timeOffset(nanoseconds int64) specs.LinuxTimeOffset {
	t := unix.NsecToTimespec(nanoseconds)
	return specs.LinuxTimeOffset{Secs: t.Sec, Nanosecs: uint32(t.Nsec)}
}

// sparePIDs lie between the clone's processes and those that CRIU makes for itself meanwhile.
const sparePIDs = 100

// reset puts a clone back to its snapshot. It answers as start does.
func (s *server) reset(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.ResetRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Container)
	if err != nil {
		return outcome{err: err}
	}
	if err := c.rewind(); err != nil {
		return outcome{err: fmt.Errorf("reset container %s: %w", c.displayName(), err)}
	}
	return s.startAnd(ctx, c, m, startStreams{logged: r.Log})
}

// rewind takes away what a clone has become.
func (c *container) rewind() error {
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.isDiscarding() {
		return c.gone("reset")
	}
	if c.source == nil {
		return sandbox.Errorf(sandbox.CodeInvalid, "it was not made from a snapshot").WithRemedy("use Checkpoint and Restore")
	}
	if c.last != nil {
		c.last.kill()
	}
	c.settle()
	if err := c.unmount(); err != nil {
		return err
	}
	if err := c.area.renew(); err != nil {
		return err
	}
	c.asleep = c.source.detail.Tree != nil
	if err := c.loadEmulation(); err != nil {
		return err
	}
	return c.mountRoot()
}

// loadEmulation takes over what the original knew of its users.
func (c *container) loadEmulation() error {
	c.emulation = emulate.NewState()
	if c.source == nil || c.source.detail.Emulation == nil || !c.k.single() {
		return nil
	}
	state, err := c.source.detail.Emulation.State()
	if err != nil {
		return staleError(c.source.snap.Meta().ID, err.Error())
	}
	c.emulation = state
	return nil
}

// try makes a clone of a snapshot with processes, to see that they come back, and listen where the original did.
func (k *keeper) try(ctx context.Context, sn *snapshot.Snapshot, image *rootfs.Image) error {
	same := func(context.Context, *sandbox.Snapshot) (*rootfs.Image, error) { return image, nil }
	c, err := k.clone(ctx, sn, &sandbox.RestoreSpec{Publish: []sandbox.PortMapping{}}, same)
	if err != nil {
		return err
	}
	defer k.forget(sn.Meta().ID)
	defer func() { _ = c.discard() }()
	silent, err := drains(3)
	if err != nil {
		return err
	}
	defer closeFiles(silent)
	p, err := c.begin(silent)
	if err != nil {
		return err
	}
	return c.resembles(p)
}

// resembles tells whether the clone lives and listens as its original did.
func (c *container) resembles(p *program) error {
	got, err := c.listening(context.Background(), sandbox.ListeningRequest{})
	if err != nil {
		return checkpointError("the first clone ended at once: %v", err)
	}
	for _, l := range c.source.detail.Snapshot.Listening {
		if !slices.Contains(got.([]sandbox.Listener), l) {
			return checkpointError("nothing listens on %s of the first clone, as in the original", listenerName(l))
		}
	}
	if p.hasEnded() {
		return checkpointError("the first clone ended at once")
	}
	return nil
}

func listenerName(l sandbox.Listener) string {
	if l.Path != "" {
		return l.Path
	}
	return fmt.Sprintf("%s %d", l.Protocol, l.Port)
}

// drains are writing ends of pipes that somebody reads.
func drains(n int) (list []*os.File, err error) {
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			closeFiles(list)
			return nil, err
		}
		go func() {
			_, _ = io.Copy(io.Discard, r)
			_ = r.Close()
		}()
		list = append(list, w)
	}
	return list, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
