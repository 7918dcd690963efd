package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"golang.org/x/sync/errgroup"

	"github.com/bivouac-run/bivouac/rootfs"
)

// baseImage is an image that the Dockerfile names.
type baseImage struct {
	ref, platform string
	at            []parser.Range
	stage         *stage // the first that is made from it, if any is
	img           *rootfs.Image
	step          *step
}

// prepare finds out what is to be done: which stages the target needs, what they are made from, and the numbers of the steps.
func (b *builder) prepare(ctx context.Context) (*stage, error) {
	if err := b.readStages(); err != nil {
		return nil, err
	}
	target, err := b.target()
	if err != nil {
		return nil, err
	}
	if err := b.need(target); err != nil {
		return nil, err
	}
	if err := b.addTriggers(); err != nil {
		return nil, err
	}
	for len(b.toPull) > 0 { // triggers of an image may name more images
		if err := b.pull(ctx); err != nil {
			return nil, err
		}
		if err := b.addTriggers(); err != nil {
			return nil, err
		}
	}
	b.planImports()
	b.number()
	return target, nil
}

// pull pulls the images that were named last.
func (b *builder) pull(ctx context.Context) error {
	images := b.toPull
	b.toPull = nil
	slices.SortStableFunc(images, func(x, y *baseImage) int {
		first, _ := lines(x.at)
		second, _ := lines(y.at)
		return first - second
	})
	for _, image := range images {
		image.step = b.report.plan(b.titleOf(image))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(Parallel)
	for _, image := range images {
		group.Go(func() error { return b.pullOne(ctx, image) })
	}
	return group.Wait()
}

func (b *builder) titleOf(image *baseImage) string {
	if image.stage == nil {
		return "FROM " + printable(image.ref)
	}
	return image.stage.prefix(len(b.stages) > 1, 1, image.stage.countSteps()) + "FROM " + printable(image.ref)
}

func (b *builder) pullOne(ctx context.Context, image *baseImage) (err error) {
	image.step.start()
	cached := true
	image.img, err = b.worker.Pull(ctx, image.ref, image.platform, func(e rootfs.Event) {
		cached = cached && (e.Kind == rootfs.Exists || e.Kind == rootfs.Note)
		image.step.transfer(e)
	})
	if err == nil && image.img.Digest == "" {
		err = fmt.Errorf("use %s: it is no image of a registry, a layout or an archive", image.ref)
	}
	image.step.end(err, cached)
	if err != nil {
		return b.file.failed(err, image.step.name, image.at)
	}
	return nil
}

// addTriggers puts the ONBUILD instructions of bases before the stages' own.
func (b *builder) addTriggers() error {
	for _, s := range b.stages {
		if !s.needed || s.opened || s.base.image != nil && s.base.image.img == nil {
			continue
		}
		s.opened = true
		triggers, err := b.triggers(s)
		if err != nil {
			return b.file.wrong(fmt.Errorf("ONBUILD of %s: %w", s.BaseName, err), s.Location)
		}
		s.commands = append(triggers, s.commands...)
	}
	return nil
}

func (b *builder) triggers(s *stage) (commands []*command, _ error) {
	for _, text := range b.onbuild(s) {
		parsed, err := parseTrigger(text, s.Location)
		if err != nil {
			return nil, err
		}
		c := &command{Command: parsed, onbuild: true}
		if err := b.needCommand(s, c); err != nil {
			return nil, err
		}
		commands = append(commands, c)
	}
	return commands, nil
}

// onbuild are the triggers of what a stage is made from: of an image as they are in its configuration, of a stage those that it
// has itself.
func (b *builder) onbuild(s *stage) (triggers []string) {
	if s.base.image != nil {
		return configOf(s.base.image.img).Config.OnBuild
	}
	if s.base.stage != nil {
		for _, c := range s.base.stage.Commands {
			if trigger, ok := c.(*instructions.OnbuildCommand); ok {
				triggers = append(triggers, trigger.Expression)
			}
		}
	}
	return triggers
}

// parseTrigger reads one instruction and places it where the FROM is that triggers it.
func parseTrigger(text string, at []parser.Range) (instructions.Command, error) {
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", text, bare(err))
	}
	if len(parsed.AST.Children) != 1 {
		return nil, fmt.Errorf("read %q: a trigger is a single instruction", text)
	}
	node := parsed.AST.Children[0]
	node.PrevComment = nil
	node.StartLine, node.EndLine = lines(at)
	command, err := instructions.ParseCommand(node)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", text, bare(err))
	}
	if _, nested := command.(*instructions.OnbuildCommand); nested {
		return nil, fmt.Errorf("read %q: a trigger has no triggers", text)
	}
	return command, nil
}

// bare is an error without its place, which is that of a line in a trigger.
func bare(err error) error { return errors.New(err.Error()) }
