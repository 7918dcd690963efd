package build

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/bivouac-run/bivouac/rootfs/metadata"
)

// configure does an instruction that changes nothing but the configuration.
func (b *builder) configure(s *state, c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.ArgCommand:
		return b.setArgs(s, c)
	case *instructions.MaintainerCommand:
		s.image.Author = c.Maintainer
		s.note("MAINTAINER " + c.Maintainer)
		return nil
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			s.env = s.env.with(pair.Key, pair.Value)
		}
	}
	note, err := s.apply(c)
	if note != "" {
		s.note(note)
	}
	return err
}

// apply changes the configuration, and returns what the history says of it.
func (s *state) apply(c instructions.Command) (note string, err error) {
	edit := metadata.Editor{Config: &s.image.Config, HasCmd: s.hasCmd}
	note, err = edit.Apply(c)
	s.hasCmd = edit.HasCmd
	return note, err
}

// setArgs takes the value of a build argument, or its default, or what an ARG before the first FROM gave it.
func (b *builder) setArgs(s *state, c *instructions.ArgCommand) error {
	var text []string
	for _, arg := range c.Args {
		value, err := b.argValue(s, arg)
		if err != nil {
			return err
		}
		arg.Value = value
		s.args = append(s.args, arg)
		if value == nil {
			text = append(text, arg.Key)
			continue
		}
		s.env = s.env.with(arg.Key, *value)
		text = append(text, arg.Key+"="+*value)
	}
	s.note("ARG " + strings.Join(text, " "))
	return nil
}

func (b *builder) argValue(s *state, arg instructions.KeyValuePairOptional) (*string, error) {
	if value, given := b.spec.Args[arg.Key]; given {
		return &value, nil
	}
	if arg.Value == nil {
		if value, ok := b.global.Get(arg.Key); ok {
			return &value, nil
		}
		return nil, nil
	}
	value, _, err := b.lex().ProcessWord(*arg.Value, s.env)
	return &value, err
}
