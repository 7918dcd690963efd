package rootfs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// BadChange is the kind of failure of a change of a configuration that is no instruction of a Dockerfile, or none for that.
const BadChange Code = "invalid"

const changeRemedy = "give CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR " +
	"as in a Dockerfile"

// ChangeConfig applies instructions of a Dockerfile to what an image's configuration has as "config", as Docker's commit and
// import do. Variables in them are those of the configuration's environment. What OCI does not define is kept.
//
// Errors: BadChange, BadImage for a configuration that is none.
func ChangeConfig(config json.RawMessage, changes []string) (json.RawMessage, error) {
	c := &configEdit{fields: map[string]json.RawMessage{}}
	if len(config) > 0 && string(config) != "null" {
		if err := json.Unmarshal(config, &c.fields); err != nil {
			return nil, fail(BadImage, "", "read an image's configuration: %w", err)
		}
	}
	for _, text := range changes {
		if err := c.change(text); err != nil {
			return nil, fail(BadChange, changeRemedy, "change the image's configuration by %q: %w", text, err)
		}
	}
	out, err := marshal(c.fields)
	return out, errors.Join(c.err, err)
}

// configEdit changes single fields of a configuration.
type configEdit struct {
	fields map[string]json.RawMessage
	err    error // the first field that could not be read
	cmdSet bool
}

// field reads one into a fresh value; what is not there is the zero value.
func field[T any](c *configEdit, name string) (value T) {
	if raw := c.fields[name]; raw != nil {
		if err := json.Unmarshal(raw, &value); err != nil && c.err == nil {
			c.err = fail(BadImage, "", "read %s of an image's configuration: %w", name, err)
		}
	}
	return value
}

func (c *configEdit) set(name string, value any) { c.fields[name] = mustMarshal(value) }

// change applies one instruction.
func (c *configEdit) change(text string) error {
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return err
	}
	if len(parsed.AST.Children) != 1 {
		return errors.New("it is not a single instruction")
	}
	command, err := instructions.ParseCommand(parsed.AST.Children[0])
	if err != nil {
		return cmp.Or(errors.Unwrap(err), err)
	}
	if err := c.expand(command); err != nil {
		return err
	}
	return c.apply(command)
}

// expand replaces variables.
func (c *configEdit) expand(command instructions.Command) error {
	words, ok := command.(instructions.SupportsSingleWordExpansion)
	if !ok {
		return nil
	}
	lex, env := shell.NewLex(parser.DefaultEscapeToken), shell.EnvsFromSlice(field[[]string](c, "Env"))
	return words.Expand(func(word string) (string, error) {
		text, _, err := lex.ProcessWord(word, env)
		return text, err
	})
}

func (c *configEdit) apply(command instructions.Command) error {
	switch command := command.(type) {
	case *instructions.CmdCommand:
		c.cmdSet = true
		c.set("Cmd", c.commandLine(command.ShellDependantCmdLine))
	case *instructions.EntrypointCommand:
		c.set("Entrypoint", c.commandLine(command.ShellDependantCmdLine))
		if !c.cmdSet {
			delete(c.fields, "Cmd")
		}
	case *instructions.EnvCommand:
		c.set("Env", withEnv(field[[]string](c, "Env"), command.Env))
	case *instructions.LabelCommand:
		c.labels(command.Labels)
	case *instructions.ExposeCommand:
		return c.expose(command.Ports)
	case *instructions.VolumeCommand:
		c.add("Volumes", command.Volumes)
	case *instructions.HealthCheckCommand:
		c.set("Healthcheck", command.Health)
	case *instructions.ShellCommand:
		c.set("Shell", command.Shell)
	case *instructions.OnbuildCommand:
		c.set("OnBuild", append(field[[]string](c, "OnBuild"), command.Expression))
	case *instructions.WorkdirCommand:
		c.workdir(command.Path)
	case *instructions.UserCommand:
		c.set("User", command.User)
	case *instructions.StopSignalCommand:
		c.set("StopSignal", command.Signal)
	default:
		return fmt.Errorf("%s changes no configuration", strings.ToUpper(command.Name()))
	}
	return nil
}

// commandLine puts a shell before what is not written as a list.
func (c *configEdit) commandLine(line instructions.ShellDependantCmdLine) []string {
	if !line.PrependShell {
		return line.CmdLine
	}
	sh := field[[]string](c, "Shell")
	if len(sh) == 0 {
		sh = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(sh), strings.Join(line.CmdLine, " "))
}

func withEnv(env []string, pairs instructions.KeyValuePairs) []string {
	for _, pair := range pairs {
		at := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, pair.Key+"=") })
		if at < 0 {
			env = append(env, "")
			at = len(env) - 1
		}
		env[at] = pair.Key + "=" + pair.Value
	}
	return env
}

func (c *configEdit) labels(pairs instructions.KeyValuePairs) {
	labels := map[string]string{}
	maps.Copy(labels, field[map[string]string](c, "Labels"))
	for _, pair := range pairs {
		labels[pair.Key] = pair.Value
	}
	c.set("Labels", labels)
}

// maxPorts bounds the ports of one range.
const maxPorts = 1 << 16

func (c *configEdit) expose(ports []string) error {
	env := shell.EnvsFromSlice(field[[]string](c, "Env"))
	lex := shell.NewLex(parser.DefaultEscapeToken)
	for _, text := range ports {
		words, err := lex.ProcessWords(text, env)
		if err != nil {
			return err
		}
		for _, word := range words {
			list, err := portsOf(word)
			if err != nil {
				return err
			}
			c.add("ExposedPorts", list)
		}
	}
	return nil
}

// portsOf reads PORT[-PORT][/PROTOCOL].
func portsOf(text string) ([]string, error) {
	numbers, protocol, given := strings.Cut(text, "/")
	if !given {
		protocol = "tcp"
	}
	low, high, isRange := strings.Cut(numbers, "-")
	if !isRange {
		high = low
	}
	first, err := strconv.Atoi(low)
	last, err2 := strconv.Atoi(high)
	protocol = strings.ToLower(protocol)
	if err != nil || err2 != nil || first < 1 || last < first || last >= maxPorts || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return nil, fmt.Errorf("%q is no port", text)
	}
	var list []string
	for port := first; port <= last; port++ {
		list = append(list, fmt.Sprintf("%d/%s", port, protocol))
	}
	return list, nil
}

// add puts names into a set.
func (c *configEdit) add(name string, members []string) {
	set := map[string]struct{}{}
	maps.Copy(set, field[map[string]struct{}](c, name))
	for _, member := range members {
		set[member] = struct{}{}
	}
	c.set(name, set)
}

func (c *configEdit) workdir(dir string) {
	if !path.IsAbs(dir) {
		dir = path.Join("/", field[string](c, "WorkingDir"), dir)
	}
	c.set("WorkingDir", path.Clean(dir))
}
