package testkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bivouac-run/bivouac/sandbox"
)

// origin is the checkpoint that a container was made from.
type origin struct {
	snapshot sandbox.Snapshot
	// proven tells that a clone of it has passed all that says when it is ready.
	proven bool
	// stays tells that it is still there when the test is over.
	stays bool
}

// hasProcesses tells whether clones go on where the original was, instead of starting its program anew.
func (o *origin) hasProcesses() bool { return o.snapshot.Tier == sandbox.TierProcesses }

// unusableError is why a snapshot that is there cannot be cloned.
type unusableError struct{ err error }

func (e *unusableError) Error() string { return e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// unusable marks the errors that making another snapshot mends.
func unusable(err error) error {
	switch sandbox.CodeOf(err) {
	case sandbox.CodeStale, sandbox.CodeCheckpoint, sandbox.CodeNotFound:
		return &unusableError{err}
	default:
		return err
	}
}

func isUnusable(err error) bool {
	var u *unusableError
	return errors.As(err, &u)
}

// cloneOptions makes settings of the options that a clone may have of its own.
func cloneOptions(opts []Option) (*settings, error) {
	more, err := collectMore("a clone", "clones are as their checkpoint: give it to the container that is checkpointed", opts, owning, thawing)
	if err != nil {
		return nil, err
	}
	for _, attach := range more.attach {
		attach()
	}
	return more, nil
}

// with returns settings of a clone: those of its checkpoint, and what more was said for it alone.
func (s *settings) with(more *settings) *settings {
	m := *s
	if more.startTimeout != unset {
		m.startTimeout = more.startTimeout
	}
	if more.stopGrace != unset {
		m.stopGrace = more.stopGrace
	}
	m.sinks = slices.Concat(s.sinks, more.sinks)
	m.beforeStart = slices.Concat(s.beforeStart, more.beforeStart)
	m.afterReady = slices.Concat(s.afterReady, more.afterReady)
	m.beforeStop = slices.Concat(s.beforeStop, more.beforeStop)
	m.checkpoint.machineClock = s.checkpoint.machineClock || more.checkpoint.machineClock
	m.spec.Name = more.spec.Name
	m.spec.Hostname = cmp.Or(more.spec.Hostname, s.spec.Hostname)
	m.spec.Labels = maps.Clone(s.spec.Labels)
	if m.spec.Labels == nil {
		m.spec.Labels = more.spec.Labels
	} else {
		maps.Copy(m.spec.Labels, more.spec.Labels)
	}
	m.spec.Listed = s.spec.Listed || more.spec.Listed
	m.spec.Publish = morePorts(s.spec.Publish, more.spec.Publish)
	m.spec.Limits = moreLimits(s.spec.Limits, more.spec.Limits)
	return &m
}

// morePorts are the ports of a checkpoint, on free ports of the host, but where more says otherwise.
func morePorts(ports, more []sandbox.PortMapping) []sandbox.PortMapping {
	all := slices.Clone(more)
	for _, p := range ports {
		if !slices.ContainsFunc(more, func(q sandbox.PortMapping) bool { return samePort(p, q) }) {
			all = append(all, sandbox.PortMapping{HostIP: p.HostIP, Port: p.Port, Protocol: p.Protocol})
		}
	}
	return all
}

func moreLimits(l, more sandbox.Limits) sandbox.Limits {
	return sandbox.Limits{
		Memory: cmp.Or(more.Memory, l.Memory), Swap: cmp.Or(more.Swap, l.Swap), CPUs: cmp.Or(more.CPUs, l.CPUs),
		PIDs: cmp.Or(more.PIDs, l.PIDs), BestEffort: l.BestEffort || more.BestEffort,
	}
}

// restoreSpec asks for a clone with the settings of [settings.with].
func (s *settings) restoreSpec(snapshot string, more *settings) sandbox.RestoreSpec {
	spec := sandbox.RestoreSpec{
		Snapshot: snapshot, Name: s.spec.Name, Hostname: s.spec.Hostname, Labels: s.spec.Labels, Listed: s.spec.Listed,
		HoldPorts: s.spec.HoldPorts, MachineClock: s.checkpoint.machineClock,
	}
	if len(more.spec.Publish) > 0 {
		spec.Publish, spec.PublishAll = s.spec.Publish, s.spec.PublishAll
	}
	if more.spec.Limits != (sandbox.Limits{}) {
		spec.Limits = &s.spec.Limits
	}
	return spec
}

// restore makes a clone that does not run yet. The settings are those of the checkpoint.
func restore(ctx context.Context, e engine, o origin, s, more *settings) (*Container, error) {
	s = s.with(more)
	b, info, err := e.restore(ctx, s.restoreSpec(o.snapshot.ID, more))
	if err != nil {
		return nil, fmt.Errorf("start %s from its checkpoint: %w", s.spec.Image, unusable(err))
	}
	c := newContainer(b, info, s)
	c.engine, c.origin = e, &o
	c.info.Snapshot = &o.snapshot
	return c, nil
}

// launchClone has a clone run and returns when it is ready.
func (c *Container) launchClone(ctx context.Context) error {
	if err := c.callHooks(ctx, "BeforeStart", c.settings.beforeStart); err != nil {
		return c.startError(err)
	}
	return c.bringUp(ctx, reviving(c.box.Start), c.awaitClone)
}

// reviving tells the failures of a snapshot from those of what happens to a clone later.
func reviving(start starter) starter {
	return func(ctx context.Context, s sandbox.Streams) error {
		err := start(ctx, s)
		if sandbox.CodeOf(err) == sandbox.CodeNotFound {
			return err // of a file that the program wants
		}
		return unusable(err)
	}
}

// awaitClone returns when a clone is ready. One whose program is started anew is waited for as the original was.
func (c *Container) awaitClone(ctx context.Context) error {
	if !c.origin.hasProcesses() {
		return c.awaitReady(ctx)
	}
	if err := c.afterQuiesce(ctx); err != nil {
		return c.startError(err)
	}
	all := All(c.settings.strategies...)
	if c.origin.proven {
		return c.awaitAll(ctx, c.portsOf(traitsOf(all)))
	}
	return c.awaitAll(ctx, lasting(all))
}

// portsOf returns the strategy that waits for those ports of others that the checkpoint's processes listened on.
func (c *Container) portsOf(t traits) Strategy {
	var ports []Strategy
	for _, p := range t.ports {
		if slices.ContainsFunc(c.origin.snapshot.Listening, func(l sandbox.Listener) bool {
			return l.Port == p.Port && l.Protocol == protocolOf(p)
		}) {
			ports = append(ports, PortStrategy{port: int(p.Port), protocol: protocolOf(p), inside: true})
		}
	}
	return All(ports...)
}

// lasting returns what of a strategy can be reached again by processes that go on: they do not print again what they have
// printed.
func lasting(s Strategy) Strategy {
	combination, ok := s.(combined)
	switch {
	case ok && combination.any:
		if !isLasting(s) {
			return All() // nobody knows which of them was reached
		}
		return s
	case ok:
		var rest []Strategy
		for _, part := range combination.strategies {
			rest = append(rest, lasting(part))
		}
		return All(rest...)
	case !isLasting(s):
		return All()
	default:
		return s
	}
}

func isLasting(s Strategy) bool {
	switch s := s.(type) {
	case LogStrategy, ExitedStrategy:
		return false
	case combined:
		return !slices.ContainsFunc(s.strategies, func(part Strategy) bool { return !isLasting(part) })
	default:
		return true
	}
}
