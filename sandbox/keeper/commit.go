package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// commit answers with an image of the container's files and configuration.
func (c *container) commit(ctx context.Context, r sandbox.CommitRequest) (any, error) {
	image, err := c.makeImage(ctx, &r.Commit)
	if err != nil {
		return nil, fmt.Errorf("commit container %s: %w", c.displayName(), err)
	}
	c.emit("commit", "imageID", image.ID.String(), "imageRef", image.Name, "comment", r.Commit.Message)
	return imageInfo(image), nil
}

func (c *container) makeImage(ctx context.Context, spec *sandbox.CommitSpec) (*rootfs.Image, error) {
	if c.image.Digest == "" {
		return nil, sandbox.Errorf(sandbox.CodeUnsupported, "it was not made from an image, but over %s", c.image.Name).
			WithRemedy("make an image of that first: bivouac import")
	}
	names, err := newNames(spec.Name)
	if err != nil {
		return nil, err
	}
	config, err := c.commitConfig(spec.Changes) // before the work: it may refuse
	if err != nil {
		return nil, err
	}
	store, end := c.k.store.Scope()
	defer end()
	layers, err := c.commitLayers(ctx, store, spec.Pause)
	if err != nil {
		return nil, err
	}
	whole, err := c.wholeConfig(spec, config, layers)
	if err != nil {
		return nil, err
	}
	return store.CreateImage(ctx, rootfs.NewImage{Base: c.image, Layers: layers, Config: whole, Names: names})
}

// newNames reads the name of an image that is made here; none is no name.
func newNames(name string) ([]rootfs.Reference, error) {
	if name == "" {
		return nil, nil
	}
	ref, err := rootfs.ParseReference(name)
	if err == nil && (ref.Transport != rootfs.Registry || ref.Digest != "") {
		err = sandbox.Errorf(sandbox.CodeBadReference, "name an image %q: it is no name with a tag", name).WithRemedy("write NAME[:TAG]")
	}
	return []rootfs.Reference{ref}, err
}

// commitLayers makes layers of what lies above the image: those of the snapshot that it was made from, and its own changes.
func (c *container) commitLayers(ctx context.Context, store *rootfs.Store, pause bool) ([]rootfs.Layer, error) {
	below := c.layers()
	var made []rootfs.Layer
	for i := len(c.image.Layers); i < len(below); i++ {
		l, err := store.CreateLayer(ctx, rootfs.NewLayer{Upper: below[i], Lower: below[:i]})
		if err != nil {
			return nil, err
		}
		made = append(made, l)
	}
	own, err := c.commitOwn(ctx, store, below, pause)
	return append(made, own), err
}

// commitOwn packs the changes, while the program does not change more if that is asked for.
func (c *container) commitOwn(ctx context.Context, store *rootfs.Store, below []string, pause bool) (l rootfs.Layer, err error) {
	if _, stopped := c.running("commit"); pause && stopped == nil && !c.paused.Load() {
		if _, err := c.pause(ctx, sandbox.PauseRequest{}); err != nil {
			return l, err
		}
		defer func() {
			if _, e := c.resume(context.WithoutCancel(ctx), sandbox.PauseRequest{}); e != nil && err == nil && !c.hasEnded() {
				err = e
			}
		}()
	}
	covered, _, err := c.ownPaths()
	if err != nil {
		return l, err
	}
	return store.CreateLayer(ctx, rootfs.NewLayer{Upper: c.upper(), Lower: below, Omit: covered})
}

// hasEnded tells whether there is no running program.
func (c *container) hasEnded() bool {
	_, err := c.running("commit")
	return err != nil
}

// commitConfig is the image's configuration with what the container was made with, and then the changes.
func (c *container) commitConfig(changes []string) (json.RawMessage, error) {
	var image struct {
		Config map[string]json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(c.image.RawConfig, &image); err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	if image.Config == nil {
		image.Config = map[string]json.RawMessage{}
	}
	for name, value := range c.ownConfig() {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		image.Config[name] = text
	}
	text, err := json.Marshal(image.Config)
	if err != nil {
		return nil, err
	}
	return rootfs.ChangeConfig(text, changes)
}

// ownConfig are the fields that the container's specification changes, by Docker's rules.
func (c *container) ownConfig() map[string]any {
	spec, image := c.spec, &c.image.Config.Config
	own := map[string]any{}
	if spec.Entrypoint != nil {
		own["Entrypoint"], own["Cmd"] = *spec.Entrypoint, spec.Args
	} else if len(spec.Args) > 0 {
		own["Cmd"] = spec.Args
	}
	if len(spec.Env) > 0 {
		own["Env"] = lastOfEach(append(append([]string{}, image.Env...), spec.Env...))
	}
	for name, value := range map[string]string{"User": spec.User, "WorkingDir": spec.WorkingDir, "StopSignal": spec.StopSignal} {
		if value != "" {
			own[name] = value
		}
	}
	if len(spec.Labels) > 0 {
		own["Labels"] = merged(image.Labels, spec.Labels)
	}
	if ports := c.committedPorts(); len(ports) > len(image.ExposedPorts) {
		own["ExposedPorts"] = ports
	}
	if spec.Health != nil {
		own["Healthcheck"] = spec.Health
	}
	return own
}

// committedPorts are those exposed, and those published.
func (c *container) committedPorts() map[string]struct{} {
	ports := map[string]struct{}{}
	for _, p := range c.exposed() {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		ports[p] = struct{}{}
	}
	for _, p := range c.spec.Publish {
		ports[fmt.Sprintf("%d/%s", p.Port, protocolOf(p))] = struct{}{}
	}
	return ports
}

// wholeConfig puts the new configuration into the image's, and tells of it in the history.
func (c *container) wholeConfig(spec *sandbox.CommitSpec, config json.RawMessage, layers []rootfs.Layer) (json.RawMessage, error) {
	whole := map[string]json.RawMessage{}
	if err := json.Unmarshal(c.image.RawConfig, &whole); err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	for _, old := range []string{"container", "container_config", "docker_version", "id", "parent", "throwaway", "moby.buildkit.buildinfo.v1", "author"} {
		delete(whole, old)
	}
	now := time.Now().UTC()
	history := append([]ocispec.History{}, c.image.Config.History...)
	for i, l := range layers {
		h := ocispec.History{Created: &now, EmptyLayer: l.Empty}
		if i == len(layers)-1 {
			h.CreatedBy, h.Author, h.Comment = strings.Join(c.proc.args, " "), spec.Author, spec.Message
		}
		history = append(history, h)
	}
	fields := map[string]any{"config": config, "created": now, "history": history}
	if spec.Author != "" {
		fields["author"] = spec.Author
	}
	for name, value := range fields {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		whole[name] = text
	}
	return json.Marshal(whole)
}
