package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// session is a program that is executed in a running container besides its own.
type session struct {
	c        *container
	program  *program // the container's own
	spec     *sandbox.ExecSpec
	user     *identity
	plan     *plan
	process  *libcontainer.Process
	pid      int // in the container
	terminal *os.File
	exited   <-chan error
	id       string      // in events
	detached atomic.Bool // it goes on without who has started it
}

// exec answers when the program has ended.
func (s *server) exec(ctx context.Context, _ *keeper, m *wire.Message) outcome {
	var r sandbox.ExecRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	c, err := s.container(r.Container)
	if err != nil {
		return outcome{err: err}
	}
	x, err := c.exec(&r.Exec, m.Files)
	if err != nil {
		return outcome{err: err}
	}
	m.CloseFiles()
	x.tellBegun()
	if r.Exec.Detached {
		if err := s.announceSession(m.ID, x); err != nil {
			x.kill()
			return outcome{err: err}
		}
		go x.waitAlone()
		return outcome{body: sandbox.Exit{}}
	}
	c.sessions.Store(m.ID, x)
	defer c.sessions.Delete(m.ID)
	if err := s.announceSession(m.ID, x); err != nil {
		x.kill()
		return outcome{err: err}
	}
	exit, err := x.wait(ctx)
	if x.detached.Load() && ctx.Err() != nil {
		go x.waitAlone()
	} else if err == nil {
		x.tellEnded(exit)
	}
	return outcome{body: exit, err: err}
}

func (s *server) announceSession(id uint64, x *session) error {
	var files []*os.File
	if x.terminal != nil {
		files = []*os.File{x.terminal}
		defer x.terminal.Close()
	}
	return s.conn.Send(id, sandbox.KindStarted, sandbox.ExecInfo{PID: x.pid}, files...)
}

// exec executes a program in the running container, and returns when it is being executed.
func (c *container) exec(spec *sandbox.ExecSpec, stdio []*os.File) (*session, error) {
	// A process that is started in a paused container would hang half-way, and one in a container that is gone would be
	// outside of it: see [container.settle].
	c.pausing.RLock()
	defer c.pausing.RUnlock()
	p, err := c.running("execute in")
	if err != nil {
		return nil, err
	}
	if c.paused.Load() {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "execute in container %q: it is paused", c.displayName()).WithRemedy("continue it: bivouac unpause %s", c.displayName())
	}
	x := &session{c: c, program: p, spec: spec}
	if err := errors.Join(x.check(), checkStdio(spec.Terminal != nil, stdio)); err != nil {
		return nil, err
	}
	leave, err := c.k.slots.take()
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := x.prepare(); err != nil {
		return nil, err
	}
	return x, x.start(stdio)
}

func (x *session) check() error {
	switch {
	case len(x.spec.Args) == 0:
		return sandbox.Errorf(sandbox.CodeInvalid, "execute in container %s: no program is named", x.c.displayName())
	case x.spec.Detached && x.spec.Terminal != nil:
		return sandbox.Errorf(sandbox.CodeInvalid, "execute in container %s: detached from the start, and with a terminal", x.c.displayName())
	case x.spec.WorkingDir != "" && !path.IsAbs(x.spec.WorkingDir):
		return sandbox.Errorf(sandbox.CodeInvalid, "execute in container %s: the working directory %q is not absolute", x.c.displayName(), x.spec.WorkingDir)
	}
	return nil
}

// prepare resolves who executes what.
func (x *session) prepare() (err error) {
	c := x.c
	if x.user, err = resolveIdentity(c.area.root, firstOf(x.spec.User, c.proc.user), c.spec.GroupAdd); err != nil {
		return err
	}
	if err := checkMapped(x.user, &blueprint{uids: c.k.uids, gids: c.k.gids}); err != nil {
		return err
	}
	confined := *c.plan
	confined.stay, confined.tree, confined.terminal, confined.stage, confined.lastPID, confined.adopt = false, false, false, nil, 0, 0
	confined.args, confined.env = x.spec.Args, x.environment()
	x.plan = &confined
	x.process = &libcontainer.Process{
		Args: []string{"/proc/self/exe"}, Env: firstEnv, Cwd: firstOf(x.spec.WorkingDir, c.proc.dir), LogLevel: "2",
		Capabilities: capabilitySets(&blueprint{caps: c.config.Capabilities.Bounding, user: *x.user}),
	}
	return x.identify()
}

// environment is the container's, but for HOME where that was only the default, and what was asked for.
func (x *session) environment() []string {
	spec := *x.c.spec
	spec.Terminal, spec.Env = x.spec.Terminal, slices.Concat(spec.Env, x.spec.Env)
	return setDefault(environment(&spec, &x.c.image.Config.Config, x.c.hostname()), "HOME", x.user.home)
}

// identify has libcontainer become the user. A user whose id is emulated really is root; who it is stands in a limit.
func (x *session) identify() error {
	c := x.c
	if !c.k.single() {
		x.process.UID, x.process.GID, x.process.AdditionalGroups = x.user.uid, x.user.gid, x.user.groups
		return nil
	}
	if reflect.DeepEqual(x.user, c.user) {
		return nil // whoever has no such limit is taken for the container's user
	}
	soft, err := c.emulation.Limit(c.emulatedAs(x.user), capabilityBits(c.config.Capabilities.Bounding))
	if err != nil {
		return fmt.Errorf("execute in container %s: %w", c.displayName(), err)
	}
	x.process.Rlimits = append(slices.Clone(c.config.Rlimits), configs.Rlimit{Type: unix.RLIMIT_LOCKS, Soft: soft, Hard: unix.RLIM_INFINITY})
	return nil
}

// start tries the quick way first where there is one; libcontainer's own init has the last word on what cannot be done.
func (x *session) start(stdio []*os.File) error {
	way, err := startWay()
	if err != nil {
		return err
	}
	if x.plan.stage = x.quickJoin(way); x.plan.stage != nil {
		x.plan.ipc = x.program.revived
		fresh := *x.process
		err := x.attempt(stdio)
		if err == nil || isOfProgram(err) || way == wayQuick {
			return err
		}
		x.process, x.plan.stage, x.plan.ipc = &fresh, nil, false
	}
	return x.attempt(stdio)
}

func (x *session) attempt(stdio []*os.File) error {
	plan, err := x.plan.file()
	if err != nil {
		return err
	}
	defer plan.Close()
	ours, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return err
	}
	defer ours.close()
	defer theirs.Close()
	x.process.ExtraFiles = []*os.File{plan, theirs}
	if x.plan.ipc {
		ipc, err := openIPC(x.program.pid)
		if err != nil {
			return err
		}
		defer ipc.Close()
		x.process.ExtraFiles = append(x.process.ExtraFiles, ipc)
	}
	if err := x.launch(stdio); err != nil {
		return err
	}
	theirs.Close()
	process := x.process
	serve := func(listener *os.File) { serveEmulation(listener, x.c.emulatedAs(x.user), process) }
	if err := x.c.awaitExec(ours, x.spec.Args[0], serve); err != nil {
		x.kill()
		if x.terminal != nil {
			x.terminal.Close()
		}
		return err
	}
	return nil
}

// openIPC opens the IPC namespace of a program that CRIU has brought: it made one for it besides the container's.
func openIPC(first int) (*os.File, error) {
	root, _, err := treeOf(first)
	if err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/%d/ns/ipc", root))
}

func (x *session) launch(stdio []*os.File) error {
	console, err := connect(x.process, x.spec.Terminal, stdio)
	if err != nil {
		return err
	}
	defer console.close()
	if err := x.program.lc.Start(x.process); err != nil {
		return x.startError(err)
	}
	x.pid = x.innerPID()
	x.exited = x.c.k.children.wait(x.process)
	if x.terminal, err = console.take(); err != nil {
		x.kill()
	}
	return err
}

// deathLimit is how long a container may take to end whose end may be why a start in it failed.
const deathLimit = 250 * time.Millisecond

func (x *session) startError(err error) error {
	if strings.Contains(err.Error(), "chdir to cwd") {
		return sandbox.Errorf(sandbox.CodeInvalid, "execute in container %s: %s is no directory that the user may enter", x.c.displayName(), x.process.Cwd).WithRemedy("choose another working directory")
	}
	x.c.k.children.reap()
	select {
	case <-x.program.ended:
	case <-time.After(deathLimit):
	}
	if _, gone := x.c.running("execute in"); gone != nil {
		return gone
	}
	return startError(err)
}

// innerPID returns the process's number in the container. It cannot be gone: nobody has waited for it.
func (x *session) innerPID() int {
	pid, err := x.process.Pid()
	if err != nil {
		return 0
	}
	status, _ := readStatus(pid)
	return status.inner
}

// wait returns how the program ended. When ctx ends before, the program is killed.
func (x *session) wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case err := <-x.exited:
		return x.c.exitFrom(err)
	case <-ctx.Done():
		if x.detached.Load() {
			return sandbox.Exit{}, ctx.Err()
		}
		_ = x.process.Signal(syscall.SIGKILL)
		return x.c.exitFrom(<-x.exited)
	}
}

// kill ends a program that nobody waits for.
func (x *session) kill() {
	_ = x.process.Signal(syscall.SIGKILL)
	_ = result(x.exited)
}
