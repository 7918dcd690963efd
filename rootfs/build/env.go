package build

import (
	"maps"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs/metadata"
)

// environ are variables in the order in which they were first set. It is a value: with makes another one.
type environ []string

var _ shell.EnvGetter = environ(nil)

// Get returns the value of a variable.
func (e environ) Get(name string) (string, bool) {
	for _, line := range slices.Backward(e) {
		if key, value, _ := strings.Cut(line, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// Keys are the names of all variables.
func (e environ) Keys() []string {
	keys := make([]string, len(e))
	for i, line := range e {
		keys[i], _, _ = strings.Cut(line, "=")
	}
	return keys
}

func (e environ) with(name, value string) environ { return metadata.WithEnv(e, name, value) }

// proxies are the build arguments that RUN sees without an ARG, and that change no key.
func proxies() []string {
	return []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy",
		"ALL_PROXY", "all_proxy"}
}

// withProxies adds the proxies of the arguments that an ARG or ENV has not set already.
func (e environ) withProxies(args map[string]string) environ {
	for _, name := range proxies() {
		value, given := args[name]
		if _, set := e.Get(name); given && !set {
			e = e.with(name, value)
		}
	}
	return e
}

// platformArgs are the arguments that FROM can use undeclared, and stages after an ARG without a value.
func platformArgs(build, target ocispec.Platform, stage string) environ {
	if stage == "" {
		stage = "default"
	}
	return environ{
		"BUILDPLATFORM=" + platforms.Format(build), "BUILDOS=" + build.OS, "BUILDOSVERSION=" + build.OSVersion,
		"BUILDARCH=" + build.Architecture, "BUILDVARIANT=" + build.Variant,
		"TARGETPLATFORM=" + platforms.Format(target), "TARGETOS=" + target.OS, "TARGETOSVERSION=" + target.OSVersion,
		"TARGETARCH=" + target.Architecture, "TARGETVARIANT=" + target.Variant, "TARGETSTAGE=" + stage,
	}
}

// globalArgs adds the ARGs before the first FROM.
func (d *dockerfile) globalArgs(known environ, given map[string]string) (environ, error) {
	lex := shell.NewLex(d.escape)
	for _, name := range known.Keys() {
		if value, ok := given[name]; ok {
			known = known.with(name, value)
		}
	}
	for _, command := range d.args {
		for _, arg := range command.Args {
			value, ok := given[arg.Key]
			if !ok {
				if arg.Value == nil {
					continue
				}
				var err error
				if value, _, err = lex.ProcessWord(*arg.Value, known); err != nil {
					return nil, d.wrong(err, command.Location())
				}
			}
			known = known.with(arg.Key, value)
		}
	}
	return known, nil
}

// unusedArgs are the build arguments that no ARG takes.
func (b *builder) unusedArgs() []string {
	unused := maps.Clone(b.spec.Args)
	for _, command := range b.file.args {
		forget(unused, command.Args)
	}
	for _, s := range b.stages {
		for _, c := range s.commands {
			if arg, ok := c.Command.(*instructions.ArgCommand); ok {
				forget(unused, arg.Args)
			}
		}
	}
	for _, name := range slices.Concat(proxies(), platformArgs(b.platform, b.platform, "").Keys()) {
		delete(unused, name)
	}
	delete(unused, "SOURCE_DATE_EPOCH")
	maps.DeleteFunc(unused, func(name, _ string) bool { return strings.HasPrefix(name, "BUILDKIT_") })
	return slices.Sorted(maps.Keys(unused))
}

func forget(names map[string]string, args []instructions.KeyValuePairOptional) {
	for _, arg := range args {
		delete(names, arg.Key)
	}
}
