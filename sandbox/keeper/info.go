package keeper

import (
	"bytes"
	"encoding/json"
	"maps"

	"github.com/bivouac-run/bivouac/sandbox"
)

// info tells of the container what does not change after its creation.
func (c *container) info() sandbox.Info {
	image := &c.image.Config.Config
	return sandbox.Info{
		ID: c.id, Name: c.displayName(), Hostname: c.hostname(), StopSignal: c.proc.stopSignal, Image: imageInfo(c.image),
		Warnings: c.warnings, Args: c.proc.args, Env: c.proc.env, User: c.proc.user, WorkingDir: c.proc.dir,
		ExposedPorts: c.exposed(), Health: healthcheck(c.image.RawConfig),
		Labels: merged(image.Labels, c.spec.Labels), Ports: c.boundPorts(),
	}
}

// warn adds a warning, unless it is empty.
func (c *container) warn(warning string) {
	if warning != "" {
		c.warnings = append(c.warnings, warning)
	}
}

// merged adds b to a.
func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		return b
	}
	maps.Copy(out, b)
	return out
}

// healthcheck reads what OCI does not define but Docker writes into an image's configuration. What cannot be read is no
// health check, as for Docker.
func healthcheck(config []byte) *sandbox.Healthcheck {
	if !bytes.Contains(config, []byte(`"Healthcheck"`)) {
		return nil
	}
	var image struct {
		Config struct{ Healthcheck *sandbox.Healthcheck } `json:"config"`
	}
	if json.Unmarshal(config, &image) != nil {
		return nil
	}
	return image.Config.Healthcheck
}
