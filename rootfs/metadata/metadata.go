// Package metadata applies the instructions of Dockerfiles that change an image's configuration and none of its files, by
// Docker's rules: for builds, and for the changes that commit and import take.
package metadata

import (
	"errors"
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

// Editor changes a configuration. Its slices and maps are replaced, never written to, so that copies may share them.
type Editor struct {
	Config *dockerspec.DockerOCIImageConfig
	HasCmd bool // a CMD came before, which ENTRYPOINT leaves as it is
}

// Apply does one instruction, whose variables [Expand] has replaced, and returns what an image's history says of it: nothing
// of ONBUILD.
//
// Errors: an instruction that changes more than the configuration, or something else than it; a signal, port or path that is none.
func (e *Editor) Apply(command instructions.Command) (note string, err error) {
	c := e.Config
	switch command := command.(type) {
	case *instructions.EnvCommand:
		return e.env(command), nil
	case *instructions.LabelCommand:
		return e.labels(command), nil
	case *instructions.UserCommand:
		c.User = command.User
		return "USER " + c.User, nil
	case *instructions.WorkdirCommand:
		c.WorkingDir = workdir(c.WorkingDir, command.Path)
		return "WORKDIR " + c.WorkingDir, nil
	case *instructions.StopSignalCommand:
		return e.stopSignal(command)
	case *instructions.ShellCommand:
		c.Shell = command.Shell
		return fmt.Sprintf("SHELL %v", c.Shell), nil
	case *instructions.OnbuildCommand:
		c.OnBuild = append(slices.Clone(c.OnBuild), command.Expression)
		return "", nil
	}
	return e.program(command)
}

// program does what is about the program that a container of the image runs, and about what it offers.
func (e *Editor) program(command instructions.Command) (note string, err error) {
	c := e.Config
	switch command := command.(type) {
	case *instructions.CmdCommand:
		c.Cmd, e.HasCmd = e.commandLine(command.ShellDependantCmdLine), true
		return fmt.Sprintf("CMD %q", c.Cmd), nil
	case *instructions.EntrypointCommand:
		c.Entrypoint = e.commandLine(command.ShellDependantCmdLine)
		if !e.HasCmd {
			c.Cmd = nil // it was for another entrypoint
		}
		return fmt.Sprintf("ENTRYPOINT %q", c.Entrypoint), nil
	case *instructions.HealthCheckCommand:
		health := *command.Health
		c.Healthcheck = &health
		return fmt.Sprintf("HEALTHCHECK %+v", health), nil
	case *instructions.ExposeCommand:
		return e.expose(command)
	case *instructions.VolumeCommand:
		return e.volumes(command)
	}
	return "", fmt.Errorf("%s changes no configuration", strings.ToUpper(command.Name()))
}

func (e *Editor) env(command *instructions.EnvCommand) string {
	for _, pair := range command.Env {
		e.Config.Env = WithEnv(e.Config.Env, pair.Key, pair.Value)
	}
	return pairsNote("ENV", command.Env)
}

// WithEnv returns an environment in which a variable has a value: in its old place, or behind all others.
func WithEnv(env []string, name, value string) []string {
	all := slices.Clone(env)
	for i, line := range all {
		if key, _, _ := strings.Cut(line, "="); key == name {
			all[i] = name + "=" + value
			return all
		}
	}
	return append(all, name+"="+value)
}

func (e *Editor) labels(command *instructions.LabelCommand) string {
	labels := map[string]string{}
	maps.Copy(labels, e.Config.Labels)
	for _, pair := range command.Labels {
		labels[pair.Key] = pair.Value
	}
	e.Config.Labels = labels
	return pairsNote("LABEL", command.Labels)
}

func pairsNote(name string, pairs instructions.KeyValuePairs) string {
	words := []string{name}
	for _, pair := range pairs {
		words = append(words, pair.String())
	}
	return strings.Join(words, " ")
}

// workdir is a path seen from the directory so far.
func workdir(dir, to string) string {
	if path.IsAbs(to) {
		return path.Clean(to)
	}
	return path.Join("/", dir, to)
}

func (e *Editor) stopSignal(command *instructions.StopSignalCommand) (string, error) {
	if _, err := signal.ParseSignal(command.Signal); err != nil {
		return "", fmt.Errorf("read STOPSIGNAL: %w", err)
	}
	e.Config.StopSignal = command.Signal
	return "STOPSIGNAL " + command.Signal, nil
}

// Shell is what runs the instructions that are not written as a list.
func Shell(c *dockerspec.DockerOCIImageConfig) []string {
	if len(c.Shell) > 0 {
		return slices.Clone(c.Shell)
	}
	return []string{"/bin/sh", "-c"}
}

func (e *Editor) commandLine(line instructions.ShellDependantCmdLine) []string {
	if !line.PrependShell {
		return line.CmdLine
	}
	return append(Shell(e.Config), strings.Join(line.CmdLine, " "))
}

// expose notes ports in the order in which they are written; of [IP:][HOST:]CONTAINER[/PROTOCOL] only the container's count.
func (e *Editor) expose(command *instructions.ExposeCommand) (string, error) {
	var ports []string
	for _, text := range command.Ports {
		mappings, err := nat.ParsePortSpec(text)
		if err != nil {
			return "", fmt.Errorf("read EXPOSE: %w", err)
		}
		for _, m := range mappings {
			ports = append(ports, string(m.Port))
		}
	}
	e.Config.ExposedPorts = with(e.Config.ExposedPorts, ports)
	return fmt.Sprintf("EXPOSE %v", ports), nil
}

func (e *Editor) volumes(command *instructions.VolumeCommand) (string, error) {
	if slices.Contains(command.Volumes, "") {
		return "", errors.New("read VOLUME: the path is empty")
	}
	e.Config.Volumes = with(e.Config.Volumes, command.Volumes)
	return fmt.Sprintf("VOLUME %v", command.Volumes), nil
}

// with returns a set that has more members.
func with(set map[string]struct{}, members []string) map[string]struct{} {
	all := map[string]struct{}{}
	maps.Copy(all, set)
	for _, member := range members {
		all[member] = struct{}{}
	}
	return all
}
