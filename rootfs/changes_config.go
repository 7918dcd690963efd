package rootfs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/metadata"
)

// BadChange is the kind of failure of a change of a configuration that is no instruction of a Dockerfile, or none for that.
const BadChange Code = "invalid"

const changeRemedy = "give CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR " +
	"as in a Dockerfile"

// ChangeConfig applies instructions of a Dockerfile to what an image's configuration has as "config", as Docker's commit and
// import do. Variables in them are those of the configuration's environment. What OCI and Docker do not define is kept.
//
// Errors: BadChange, BadImage for a configuration that is none.
func ChangeConfig(config json.RawMessage, changes []string) (json.RawMessage, error) {
	var c dockerspec.DockerOCIImageConfig
	all, err := readConfig(config, &c)
	if err != nil {
		return nil, fail(BadImage, "", "read an image's configuration: %w", err)
	}
	before, err := fieldsOf(c)
	if err != nil {
		return nil, err
	}
	edit := &metadata.Editor{Config: &c}
	for _, text := range changes {
		if err := changeBy(edit, text); err != nil {
			return nil, fail(BadChange, changeRemedy, "change the image's configuration by %q: %w", text, err)
		}
	}
	after, err := fieldsOf(c)
	if err != nil {
		return nil, err
	}
	takeOver(all, before, after)
	return marshal(all)
}

// readConfig returns all fields, known or not; no configuration has none.
func readConfig(config json.RawMessage, known *dockerspec.DockerOCIImageConfig) (all map[string]json.RawMessage, err error) {
	if len(config) > 0 {
		err = errors.Join(json.Unmarshal(config, &all), json.Unmarshal(config, known))
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	return all, err
}

func fieldsOf(c dockerspec.DockerOCIImageConfig) (fields map[string]json.RawMessage, err error) {
	text, err := marshal(c)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	return fields, err
}

// takeOver changes those of all fields that are not what they were before.
func takeOver(all, before, after map[string]json.RawMessage) {
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return before[name] != nil && after[name] == nil })
	for name, value := range after {
		if !bytes.Equal(value, before[name]) {
			all[name] = value
		}
	}
}

// changeBy applies one instruction.
func changeBy(edit *metadata.Editor, text string) error {
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
	if _, err = metadata.Expand(command, shell.NewLex(parsed.EscapeToken), shell.EnvsFromSlice(edit.Config.Env)); err != nil {
		return err
	}
	_, err = edit.Apply(command)
	return err
}
