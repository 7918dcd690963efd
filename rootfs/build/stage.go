package build

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"

	"github.com/bivouac-run/bivouac/rootfs/metadata"
)

// build does all instructions of a stage.
func (b *builder) build(ctx context.Context, s *stage) (*state, error) {
	st, err := b.from(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, c := range s.commands {
		if err := b.do(ctx, s, st, c); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// from is the state that a stage begins with.
func (b *builder) from(ctx context.Context, s *stage) (*state, error) {
	switch {
	case s.base.stage != nil:
		other, err := await(ctx, s.base.stage)
		if err != nil {
			return nil, err
		}
		return ofStage(other), nil
	case s.base.image != nil:
		return ofImage(s.base.image.img, s.platform), nil
	}
	return scratch(s.platform), nil
}

// do does one instruction.
func (b *builder) do(ctx context.Context, s *stage, st *state, c *command) error {
	if err := b.expand(st, c); err != nil {
		return b.file.wrong(err, c.Location())
	}
	if c.step == nil {
		if err := b.configure(st, c.Command); err != nil {
			return b.file.wrong(err, c.Location())
		}
		return nil
	}
	m, err := b.doStep(ctx, s, st, c)
	if ctx.Err() != nil && err != nil {
		return ctx.Err() // another stage has failed, or nobody wants the image any more
	}
	if err != nil {
		c.step.end(err, false)
		return b.file.failed(err, c.step.name, c.Location())
	}
	c.step.end(nil, m.cached)
	return nil
}

// doStep does an instruction that may make a layer. A context that changes while it is read is read again: the build's own output
// may go to a file in it, and is told of before the files are copied.
func (b *builder) doStep(ctx context.Context, s *stage, st *state, c *command) (*made, error) {
	for pause := rereadPause; ; pause *= 4 {
		m, err := b.doOnce(ctx, s, st, c)
		if !errors.Is(err, errChanged) || pause > maxRereadPause || ctx.Err() != nil {
			return m, err
		}
		time.Sleep(pause)
	}
}

// The files of a context are read up to five times: after 10, 40, 160 and 640 ms again.
const (
	rereadPause    = 10 * time.Millisecond
	maxRereadPause = 640 * time.Millisecond
)

func (b *builder) doOnce(ctx context.Context, s *stage, st *state, c *command) (*made, error) {
	switch parsed := c.Command.(type) {
	case *instructions.RunCommand:
		return b.program(ctx, s, st, c, parsed)
	case *instructions.CopyCommand:
		return b.copy(ctx, s, st, c, copyOf(parsed))
	case *instructions.AddCommand:
		return b.copy(ctx, s, st, c, addOf(parsed))
	case *instructions.WorkdirCommand:
		return b.workdir(ctx, s, st, c, parsed)
	}
	return nil, fmt.Errorf("bug: instruction %s makes no layer", c.Name())
}

func (b *builder) lex() *shell.Lex { return shell.NewLex(b.file.escape) }

// expand replaces variables. Those of RUN are the shell's; ARG expands its own.
func (b *builder) expand(st *state, c *command) error {
	unknown, err := metadata.Expand(c.Command, b.lex(), st.env)
	if err != nil {
		return err
	}
	b.warnUnknown(st, c, unknown)
	e, ok := c.Command.(instructions.SupportsSingleWordExpansionRaw)
	if !ok {
		return nil
	}
	lex := shell.NewLex('\\')
	lex.SkipProcessQuotes = true
	return e.ExpandRaw(func(word string) (string, error) {
		text, _, err := lex.ProcessWord(word, st.env)
		return text, err
	})
}

// warnUnknown tells of variables that nothing sets, as linters do: mostly they are misspelt.
func (b *builder) warnUnknown(st *state, c *command, unknown map[string]struct{}) {
	for _, arg := range st.args {
		delete(unknown, arg.Key) // declared without a value
	}
	for name := range unknown {
		message := fmt.Sprintf("UndefinedVar: usage of undefined variable '$%s'", name)
		if match, ok := suggest.Search(name, st.env.Keys(), true); ok {
			message += fmt.Sprintf(" (did you mean $%s?)", match)
		}
		first, _ := lines(c.Location())
		b.definition.warn("%s (line %d)", strings.TrimSpace(message), first)
	}
}
