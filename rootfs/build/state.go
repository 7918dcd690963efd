package build

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/metadata"
)

// state is what a stage has come to after an instruction.
type state struct {
	base     *rootfs.Image   // nil for scratch
	lowers   []string        // directories of all layers, the lowest first
	chain    []digest.Digest // their diff IDs
	layers   []rootfs.Layer  // those that the build added to the base's
	image    dockerspec.DockerOCIImage
	env      environ // what instructions and RUN see: the image's and the arguments
	args     []instructions.KeyValuePairOptional
	platform string
	made     *time.Time // when the last layer was; that of the base to begin with
	hasCmd   bool       // CMD was set in this stage
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// configOf returns a configuration with what Docker adds to OCI's.
func configOf(img *rootfs.Image) (c dockerspec.DockerOCIImage) {
	if err := json.Unmarshal(img.RawConfig, &c); err != nil {
		c = dockerspec.DockerOCIImage{Image: img.Config}
		c.Config.ImageConfig = img.Config.Config
	}
	return c
}

// scratch is the state of FROM scratch.
func scratch(platform string) *state {
	s := &state{platform: platform}
	p, err := platforms.Parse(platform)
	if err == nil {
		s.image.Platform = p
	}
	s.image.Config.WorkingDir = "/"
	s.begin()
	return s
}

// ofImage is the state of FROM an image.
func ofImage(img *rootfs.Image, platform string) *state {
	s := &state{base: img, platform: platform, image: configOf(img)}
	s.lowers, s.chain = slices.Clone(img.Layers), slices.Clone(img.Config.RootFS.DiffIDs)
	s.made = s.image.Created
	s.image.Config.OnBuild = nil
	if s.image.OS == "" || s.image.Architecture == "" {
		s.image.Platform = scratch(platform).image.Platform
	}
	s.image.Platform = platforms.Normalize(s.image.Platform)
	s.begin()
	return s
}

// ofStage is the state of FROM another stage.
func ofStage(other *state) *state {
	s := *other
	s.image = cloneConfig(other.image)
	s.image.Config.OnBuild = nil
	s.args = slices.Clone(other.args)
	s.hasCmd = false
	s.begin()
	return &s
}

// begin sets what every stage has.
func (s *state) begin() {
	if _, ok := environ(s.image.Config.Env).Get("PATH"); !ok {
		s.image.Config.Env = append(s.image.Config.Env, "PATH="+defaultPath)
	}
	s.lowers, s.chain, s.layers = slices.Clip(s.lowers), slices.Clip(s.chain), slices.Clip(s.layers)
	for _, line := range s.image.Config.Env {
		name, value, _ := strings.Cut(line, "=")
		s.env = s.env.with(name, value)
	}
}

func cloneConfig(c dockerspec.DockerOCIImage) dockerspec.DockerOCIImage {
	c.Config.Env = slices.Clone(c.Config.Env)
	c.Config.ExposedPorts = maps.Clone(c.Config.ExposedPorts)
	c.Config.Volumes = maps.Clone(c.Config.Volumes)
	c.Config.Labels = maps.Clone(c.Config.Labels)
	c.History = slices.Clone(c.History)
	return c
}

// dir is where relative paths count from.
func (s *state) dir() string { return path.Join("/", s.image.Config.WorkingDir) }

// absolute is a path seen from the working directory. A / at its end stays.
func (s *state) absolute(p string) string {
	clean := path.Clean(p)
	if !path.IsAbs(clean) {
		clean = path.Join(s.dir(), clean)
	}
	if (strings.HasSuffix(p, "/") || p == "." || p == "" || strings.HasSuffix(p, "/.")) && clean != "/" {
		clean += "/"
	}
	return clean
}

// shell is what runs instructions that are not lists.
func (s *state) shell() []string { return metadata.Shell(&s.image.Config) }

// add takes over the result of a step.
func (s *state) add(m *made, text string) {
	at := m.entry.Made
	s.history(text, &at, m.entry.DiffID == "")
	if m.entry.DiffID == "" {
		return
	}
	s.made = &at
	s.layers = append(s.layers, m.entry.layer())
	s.chain = append(s.chain, m.entry.DiffID)
	s.lowers = append(s.lowers, m.dir)
}

// note adds an instruction that made no layer to the history.
func (s *state) note(text string) { s.history(text, s.made, true) }

func (s *state) history(text string, at *time.Time, empty bool) {
	s.image.History = append(s.image.History, ocispec.History{Created: at, CreatedBy: text, EmptyLayer: empty})
}
