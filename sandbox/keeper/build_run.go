package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/build"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
)

// buildHostname is the host name of every RUN, the same for equal layers. It is BuildKit's.
const buildHostname = "buildkitsandbox"

// Run executes a RUN in a container of its own over the step's layers.
func (w *buildWorker) Run(ctx context.Context, step *build.RunStep) (err error) {
	r := &buildRun{step: step, c: w.k.newContainer(w.specOf(step), imageOfStep(step))}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(); err != nil {
		return err
	}
	exit, err := r.execute(ctx)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case exit.Code != 0:
		return &build.ExitError{Args: step.Args, Code: exit.Code, OOMKilled: exit.OOMKilled}
	}
	return nil
}

// buildRun is a RUN under way.
type buildRun struct {
	step  *build.RunStep
	c     *container
	stubs *stubs
	ends  []func() error // of what its mounts need
}

// specOf is the specification of a step's container.
func (w *buildWorker) specOf(step *build.RunStep) *sandbox.Spec {
	network := sandbox.Network(firstOf(step.Network, string(w.spec.Network), string(sandbox.NetworkHost)))
	return &sandbox.Spec{
		Image: step.Name, Entrypoint: &[]string{}, Args: step.Args, User: step.User, WorkingDir: step.Dir, Hostname: buildHostname,
		Network: network, ExtraHosts: w.spec.AddHosts, ShmSize: w.spec.ShmSize, Ulimits: w.spec.Ulimits, Limits: w.spec.Limits,
	}
}

func imageOfStep(step *build.RunStep) *rootfs.Image {
	return &rootfs.Image{Name: step.Name, Layers: step.Lowers, Config: ocispec.Image{}}
}

// prepare makes everything but the processes.
func (r *buildRun) prepare() error {
	for _, f := range []func() error{r.c.makeArea, r.takeUpper, r.c.loadEmulation, r.mountRoot, r.addMounts, r.c.configure, r.setEnv, r.makeStubs} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// takeUpper has changed files go where the build wants them.
func (r *buildRun) takeUpper() error {
	r.c.area.upper, r.c.area.work = r.step.Upper, r.step.Work
	return nil
}

// mountRoot does not sync what the step writes before it has ended well: until then it is of no use to anybody.
func (r *buildRun) mountRoot() error {
	return r.c.mountOverlay(r.c.area.root, overlay.Options{Lower: r.step.Lowers, Upper: r.step.Upper, Work: r.step.Work, Volatile: true})
}

// setEnv gives the program the step's environment alone: the host name, as other containers have it, is no part of it.
func (r *buildRun) setEnv() error {
	env := slices.Clone(r.step.Env)
	for _, m := range r.step.Mounts {
		if m.Kind == build.MountSecret && m.Env != "" {
			env = append(env, m.Env+"="+string(m.Value))
		}
	}
	r.c.proc.env = setDefault(lastOfEach(env), "HOME", r.c.user.home)
	r.c.plan.env = r.c.proc.env
	return nil
}

func (r *buildRun) makeStubs() (err error) {
	r.stubs, err = makeStubs(r.c.area.root, r.step.Upper, r.c.config.Mounts)
	return err
}

// execute runs the program to its end.
func (r *buildRun) execute(ctx context.Context) (sandbox.Exit, error) {
	std, err := openBuildStreams(r.step)
	if err != nil {
		return sandbox.Exit{}, err
	}
	p, err := r.c.begin(std.theirs[:])
	std.started(r.step)
	if err != nil {
		std.done()
		return sandbox.Exit{}, err
	}
	exit, err := p.wait(ctx)
	std.done()
	return exit, err
}

// close leaves of the step what its program has made.
func (r *buildRun) close() error {
	var errs []error
	r.c.settle()
	errs = append(errs, r.stubs.remove())
	errs = append(errs, r.c.discard())
	errs = append(errs, r.stubs.forget())
	for _, end := range slices.Backward(r.ends) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// buildStreams are the standard streams of a RUN.
type buildStreams struct {
	theirs [3]*os.File
	stdin  *os.File // the end that is written to; nil where there is nothing to read
	outs   [2]*os.File
	pumps  sync.WaitGroup
}

func openBuildStreams(step *build.RunStep) (s *buildStreams, err error) {
	s = &buildStreams{}
	defer func() {
		if err != nil {
			s.closeAll()
		}
	}()
	if step.Stdin == nil {
		s.theirs[0], err = os.Open(os.DevNull)
	} else {
		s.theirs[0], s.stdin, err = os.Pipe()
	}
	for i := range s.outs {
		if err == nil {
			s.outs[i], s.theirs[i+1], err = os.Pipe()
		}
	}
	if err != nil {
		return s, fmt.Errorf("open the step's streams: %w", err)
	}
	return s, nil
}

// started begins to move what goes through the streams: the program has its ends, or will never have them.
func (s *buildStreams) started(step *build.RunStep) {
	closeFiles(s.theirs[:])
	s.pumps.Go(func() { pump(step.Stdout, s.outs[0]) })
	s.pumps.Go(func() { pump(step.Stderr, s.outs[1]) })
	if s.stdin != nil {
		s.pumps.Go(func() {
			_, _ = io.Copy(s.stdin, step.Stdin) // a program need not read its input
			_ = s.stdin.Close()
		})
	}
}

// pump moves all that a program writes. A writer that fails must not keep the program waiting.
func pump(w io.Writer, r *os.File) {
	if w == nil {
		w = io.Discard
	}
	if _, err := io.Copy(w, r); err != nil {
		_, _ = io.Copy(io.Discard, r)
	}
}

// done waits for the rest of the output: nobody has the other ends any more.
func (s *buildStreams) done() {
	s.pumps.Wait()
	closeFiles(s.outs[:])
}

func (s *buildStreams) closeAll() {
	closeFiles(s.theirs[:])
	closeFiles(s.outs[:])
	closeFiles([]*os.File{s.stdin})
}
