package keeper

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/sys/signal"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/sandbox"
)

// process is the program to run, with the request and the image's configuration merged.
type process struct {
	args, env  []string
	dir        string
	user       string // as asked for; see [identity]
	stopSignal int
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// resolveProcess merges as Docker does: the request's entrypoint replaces the image's and drops the image's command.
func resolveProcess(spec *sandbox.Spec, image *ocispec.ImageConfig, hostname string) (*process, error) {
	p := &process{args: command(spec, image), dir: firstOf(spec.WorkingDir, image.WorkingDir, "/"), user: firstOf(spec.User, image.User)}
	if len(p.args) == 0 {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "run %s: the image names no command", spec.Image).WithRemedy("name one after the image")
	}
	if !path.IsAbs(p.dir) {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "run %s: the working directory %q is not absolute", spec.Image, p.dir).WithRemedy("give an absolute path")
	}
	p.env = environment(spec, image, hostname)
	s, err := signal.ParseSignal(firstOf(spec.StopSignal, image.StopSignal, "SIGTERM"))
	if err == nil && (s < 1 || s > 64) {
		err = fmt.Errorf("%d is none", s)
	}
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "parse the stop signal: %v", err).WithRemedy("give a name such as SIGTERM, or a number")
	}
	p.stopSignal = int(s)
	return p, nil
}

func command(spec *sandbox.Spec, image *ocispec.ImageConfig) []string {
	if spec.Entrypoint != nil {
		return slices.Concat(*spec.Entrypoint, spec.Args)
	}
	if len(spec.Args) > 0 {
		return slices.Concat(image.Entrypoint, spec.Args)
	}
	return slices.Concat(image.Entrypoint, image.Cmd)
}

func environment(spec *sandbox.Spec, image *ocispec.ImageConfig, hostname string) []string {
	base := []string{defaultPath, "HOSTNAME=" + hostname}
	if spec.Terminal != nil {
		base = append(base, "TERM=xterm")
	}
	return lastOfEach(slices.Concat(base, image.Env, spec.Env))
}

// hostVariables are what a program over the machine's own root inherits: how to speak and where programs are, no secrets.
var hostVariables = []string{"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "NO_COLOR"}

// hostEnvironment picks from our own environment, which is the caller's. LC_ variables are taken too.
func hostEnvironment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return !slices.Contains(hostVariables, name) && !strings.HasPrefix(name, "LC_")
	})
}

// lastOfEach keeps the last entry of each name, in the place of the first.
func lastOfEach(env []string) []string {
	at := map[string]int{}
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			out[i] = e
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// setDefault adds NAME=VALUE unless the name is there.
func setDefault(env []string, name, value string) []string {
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
		return env
	}
	return append(env, name+"="+value)
}
