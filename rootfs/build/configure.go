package build

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/sys/signal"
)

// configure does an instruction that changes nothing but the configuration.
func (b *builder) configure(s *state, c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.EnvCommand:
		s.setEnv(c)
	case *instructions.ArgCommand:
		return b.setArgs(s, c)
	case *instructions.LabelCommand:
		s.setLabels(c)
	case *instructions.MaintainerCommand:
		s.image.Author = c.Maintainer
		s.note("MAINTAINER " + c.Maintainer)
	case *instructions.UserCommand:
		s.image.Config.User = c.User
		s.note("USER " + c.User)
	case *instructions.StopSignalCommand:
		return s.setStopSignal(c)
	case *instructions.ShellCommand:
		s.image.Config.Shell = c.Shell
		s.note(fmt.Sprintf("SHELL %v", c.Shell))
	case *instructions.OnbuildCommand:
		s.image.Config.OnBuild = append(slices.Clone(s.image.Config.OnBuild), c.Expression)
	default:
		return s.setProgram(c)
	}
	return nil
}

// setProgram is about what a container of the image runs and offers.
func (s *state) setProgram(c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.CmdCommand:
		s.image.Config.Cmd = s.commandLine(c.ShellDependantCmdLine)
		s.hasCmd = true
		s.note(fmt.Sprintf("CMD %q", s.image.Config.Cmd))
	case *instructions.EntrypointCommand:
		s.image.Config.Entrypoint = s.commandLine(c.ShellDependantCmdLine)
		if !s.hasCmd {
			s.image.Config.Cmd = nil // of the base, for another entrypoint
		}
		s.note(fmt.Sprintf("ENTRYPOINT %q", s.image.Config.Entrypoint))
	case *instructions.HealthCheckCommand:
		health := dockerspec.HealthcheckConfig(*c.Health)
		s.image.Config.Healthcheck = &health
		s.note(fmt.Sprintf("HEALTHCHECK %+v", health))
	case *instructions.ExposeCommand:
		return s.expose(c)
	case *instructions.VolumeCommand:
		return s.addVolumes(c)
	default:
		return fmt.Errorf("bug: instruction %s is not known", c.Name())
	}
	return nil
}

func (s *state) commandLine(c instructions.ShellDependantCmdLine) []string {
	if c.PrependShell {
		return append(s.shell(), strings.Join(c.CmdLine, " "))
	}
	return c.CmdLine
}

func (s *state) setEnv(c *instructions.EnvCommand) {
	var text strings.Builder
	text.WriteString("ENV")
	for _, pair := range c.Env {
		text.WriteString(" " + pair.String())
		s.env = s.env.with(pair.Key, pair.Value)
		s.image.Config.Env = environ(s.image.Config.Env).with(pair.Key, pair.Value)
	}
	s.note(text.String())
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

func (s *state) setLabels(c *instructions.LabelCommand) {
	labels := maps.Clone(s.image.Config.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	var text strings.Builder
	text.WriteString("LABEL")
	for _, pair := range c.Labels {
		text.WriteString(" " + pair.String())
		labels[pair.Key] = pair.Value
	}
	s.image.Config.Labels = labels
	s.note(text.String())
}

func (s *state) setStopSignal(c *instructions.StopSignalCommand) error {
	if _, err := signal.ParseSignal(c.Signal); err != nil {
		return fmt.Errorf("read STOPSIGNAL: %w", err)
	}
	s.image.Config.StopSignal = c.Signal
	s.note("STOPSIGNAL " + c.Signal)
	return nil
}

func (s *state) expose(c *instructions.ExposeCommand) error {
	ports, _, err := nat.ParsePortSpecs(c.Ports)
	if err != nil {
		return fmt.Errorf("read EXPOSE: %w", err)
	}
	all := maps.Clone(s.image.Config.ExposedPorts)
	if all == nil {
		all = map[string]struct{}{}
	}
	for port := range ports {
		all[string(port)] = struct{}{}
	}
	s.image.Config.ExposedPorts = all
	s.note(fmt.Sprintf("EXPOSE %v", c.Ports))
	return nil
}

func (s *state) addVolumes(c *instructions.VolumeCommand) error {
	all := maps.Clone(s.image.Config.Volumes)
	if all == nil {
		all = map[string]struct{}{}
	}
	for _, v := range c.Volumes {
		if v == "" {
			return fmt.Errorf("read VOLUME: the path is empty")
		}
		all[v] = struct{}{}
	}
	s.image.Config.Volumes = all
	s.note(fmt.Sprintf("VOLUME %v", c.Volumes))
	return nil
}

// setDir is the part of WORKDIR that the configuration has.
func (s *state) setDir(p string) {
	s.image.Config.WorkingDir = strings.TrimSuffix(s.absolute(path.Clean(p)), "/")
	if s.image.Config.WorkingDir == "" {
		s.image.Config.WorkingDir = "/"
	}
}
