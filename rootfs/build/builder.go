package build

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Run builds the image of spec in store. Events is called by one goroutine at a time, and not after Run has returned; nil for none.
//
// Errors: [*SyntaxError] for a Dockerfile that cannot be read or asks for what cannot be; [*StepError] for a step that failed, around
// [*ExitError] or the worker's error; [*rootfs.Error]; context.Canceled.
func Run(ctx context.Context, store *rootfs.Store, spec Spec, w Worker, events func(Event)) (_ *rootfs.Image, err error) {
	b := &builder{ctx: ctx, store: store, spec: spec, worker: w, report: &reporter{sink: events}, named: map[string]*folder{}, shown: map[string]shownFiles{},
		slots: semaphore.NewWeighted(Parallel)}
	if err := b.check(); err != nil {
		return nil, err
	}
	if b.work, err = newWorkspace(buildPath(store, "tmp")); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return b.run(ctx)
}

// builder is one build.
type builder struct {
	ctx      context.Context // of the whole build, for what is opened while the Dockerfile is read
	store    *rootfs.Store
	spec     Spec
	worker   Worker
	report   *reporter
	work     *workspace
	platform ocispec.Platform
	slots    *semaphore.Weighted

	definition *step
	imports    []*step
	context    *folder
	named      map[string]*folder
	folders    []*folder
	file       *dockerfile
	global     environ
	stages     []*stage
	images     []*baseImage
	toPull     []*baseImage

	mu    sync.Mutex
	used  []*Entry              // steps of this build
	shown map[string]shownFiles // of RUN --mount=type=bind
}

// check reads what of the specification can be wrong, and fills in what follows from the rest.
func (b *builder) check() (err error) {
	b.platform = platforms.DefaultSpec()
	if b.spec.Platform != "" {
		if b.platform, err = platforms.Parse(b.spec.Platform); err != nil {
			return &rootfs.Error{Code: rootfs.NoPlatform, Err: fmt.Errorf("read platform %q: %w", b.spec.Platform, err),
				Remedy: "write os/arch[/variant], as linux/arm64"}
		}
	}
	text, given := b.spec.Args["SOURCE_DATE_EPOCH"]
	if b.spec.SourceDateEpoch != nil || !given || text == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return &rootfs.Error{Code: rootfs.BadConfig, Err: fmt.Errorf("read build argument SOURCE_DATE_EPOCH: %w", err),
			Remedy: "write seconds since 1970"}
	}
	b.spec.SourceDateEpoch = &seconds
	return nil
}

func (b *builder) close() error {
	for _, f := range b.folders {
		if f.known != nil {
			f.known.save()
		}
		f.Close()
	}
	return b.work.Close()
}

func (b *builder) run(ctx context.Context) (*rootfs.Image, error) {
	target, err := b.define(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.importCaches(ctx); err != nil {
		return nil, err
	}
	result, err := b.buildStages(ctx, target)
	if err != nil {
		return nil, err
	}
	image, err := b.export(ctx, result)
	if err != nil {
		return nil, err
	}
	return image, b.exportCaches(ctx)
}

// define reads the Dockerfile and plans the steps.
func (b *builder) define(ctx context.Context) (target *stage, err error) {
	b.definition = b.report.plan("[internal] load build definition")
	b.definition.start()
	defer func() { b.definition.end(err, false) }()
	if err := b.openContext(ctx); err != nil {
		return nil, err
	}
	for _, note := range b.file.notes {
		b.definition.warn("%s", note)
	}
	known := platformArgs(platforms.DefaultSpec(), b.platform, b.spec.Target)
	if b.global, err = b.file.globalArgs(known, b.spec.Args); err != nil {
		return nil, err
	}
	if target, err = b.prepare(ctx); err != nil {
		return nil, err
	}
	for _, name := range b.unusedArgs() {
		b.definition.warn("build argument %s is not used: no ARG of the Dockerfile takes it", name)
	}
	return target, nil
}

// buildStages builds the stages that are needed, those that do not need each other at the same time.
func (b *builder) buildStages(ctx context.Context, target *stage) (*state, error) {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range b.stages {
		if s.needed {
			group.Go(func() error {
				defer close(s.done)
				s.result, s.err = b.build(ctx, s)
				return s.err
			})
		}
	}
	err := group.Wait()
	return target.result, err
}

// await waits for the result of another stage.
func await(ctx context.Context, s *stage) (*state, error) {
	select {
	case <-s.done:
		if s.err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.label(), s.err)
		}
		return s.result, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// now is the time of what is made.
func (b *builder) now() time.Time {
	if b.spec.SourceDateEpoch != nil {
		return time.Unix(*b.spec.SourceDateEpoch, 0).UTC()
	}
	return time.Now().UTC()
}

// latest is the latest time of a file in a layer.
func (b *builder) latest() *time.Time {
	if b.spec.SourceDateEpoch == nil {
		return nil
	}
	at := b.now()
	return &at
}
