package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildFlags are the flags of build as they are written.
type buildFlags struct {
	tags, args, labels, noCacheStages []string
	file, target, platform, network   string
	noCache, quiet, squash            bool
	pull                              string
	cacheFrom, cacheTo                []string
	secrets, ssh, contexts, addHosts  []string
	iidFile, metadataFile, output     string
	progress, shmSize, maxUnpacked    string
	plainHTTP, ignoreChown            bool
	caFile                            string

	confine runFlags // those of its limits that RUN has too
	outcome *buildOutcome
}

func (f *buildFlags) register(s *pflag.FlagSet) {
	s.StringArrayVarP(&f.tags, "tag", "t", nil, "give the image the name `NAME[:TAG]`")
	s.StringVarP(&f.file, "file", "f", "", "read the Dockerfile from `FILE`, - for the standard input (default PATH/Dockerfile)")
	s.StringArrayVar(&f.args, "build-arg", nil, "set the build argument `NAME=VALUE`, or NAME to take the value from outside")
	s.StringVar(&f.target, "target", "", "build the `STAGE` of that name or number instead of the last")
	s.StringArrayVar(&f.labels, "label", nil, "give the image a label `NAME=VALUE`")
	s.BoolVar(&f.noCache, "no-cache", false, "execute every step anew")
	s.StringSliceVar(&f.noCacheStages, "no-cache-filter", nil, "execute the steps of `STAGE` anew")
	s.StringVar(&f.pull, "pull", "missing", "ask the registry for base images: `WHEN` is always, missing or never, without a value always")
	s.Lookup("pull").NoOptDefVal = "always"
	s.StringVar(&f.platform, "platform", "", "build for `OS/ARCH[/VARIANT]` (default the machine's)")
	s.StringVar(&f.network, "network", "host", "what RUN can reach: `NETWORK` is host or none")
	s.StringArrayVar(&f.secrets, "secret", nil, "let RUN mount a `SECRET`: id=ID[,src=FILE|env=VARIABLE]")
	s.StringArrayVar(&f.ssh, "ssh", nil, "let RUN use an SSH `AGENT`: default|ID[=SOCKET], without SOCKET that of $SSH_AUTH_SOCK")
	s.StringArrayVar(&f.contexts, "build-context", nil, "add a `CONTEXT`: NAME=DIRECTORY or NAME=docker-image://IMAGE")
	s.StringArrayVar(&f.cacheFrom, "cache-from", nil, "take finished steps from `IMAGE` of a registry too, also as type=registry,ref=IMAGE")
	s.StringArrayVar(&f.cacheTo, "cache-to", nil, "push finished steps as `IMAGE` to a registry, also as type=registry,ref=IMAGE")
	s.StringVarP(&f.output, "output", "o", "", "write files instead of the image: `DEST` is a directory, - or type=local|tar|oci|docker,dest=PATH")
	s.StringVar(&f.iidFile, "iidfile", "", "write the image's id to `FILE`")
	s.StringVar(&f.metadataFile, "metadata-file", "", "write what was built to `FILE`, as JSON")
	s.StringVar(&f.progress, "progress", "auto", "show progress as `KIND`: auto, tty, plain, json, rawjson or quiet")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "print only the image's id")
	s.BoolVar(&f.squash, "squash", false, "make one layer of all that is added to the base image")
	s.StringArrayVar(&f.addHosts, "add-host", nil, "let RUN know a host by `NAME:IP`")
	s.StringVar(&f.shmSize, "shm-size", "", "`SIZE` of /dev/shm of RUN (default 64m)")
	s.StringArrayVar(&f.confine.ulimits, "ulimit", nil, "set a limit of RUN by `NAME=SOFT[:HARD]`, such as nofile=1024")
	s.StringVarP(&f.confine.memory, "memory", "m", "", "limit the memory of RUN to `SIZE`, such as 512m")
	s.StringVar(&f.confine.memorySwap, "memory-swap", "", "limit memory and swap together to `SIZE`, -1 for unlimited swap (default twice --memory)")
	s.Float64Var(&f.confine.cpus, "cpus", 0, "limit the CPU time of RUN to `N` CPUs, such as 1.5")
	s.Int64Var(&f.confine.pids, "pids-limit", 0, "limit the number of processes of RUN to `N`")
	s.StringVar(&f.confine.limits, "limits", "strict", "fail where a limit cannot be enforced, or warn: `strict|best-effort`")
	s.BoolVar(&f.plainHTTP, "plain-http", false, "allow a registry without TLS that is not on this machine")
	s.StringVar(&f.caFile, "tls-ca", "", "trust the certificate authorities of `FILE` too")
	s.BoolVar(&f.ignoreChown, "ignore-chown-errors", false, "give files of unmapped owners to the overflow id")
	s.StringVar(&f.maxUnpacked, "max-unpacked-size", "", "refuse a base image that unpacks to more than `SIZE`")
	refuseFlags(s)
}

// unhonoured are flags of docker build that ask for what is not there, with the values that ask for nothing else than what is
// done anyway, and why others cannot be honoured.
var unhonoured = []struct {
	name, accepted, why string
	bare                bool // can be written without a value
}{
	{"allow", "", "no step gets more rights than a container has", false},
	{"annotation", "", "images get labels; use --label", false},
	{"attest", "", "no attestations are made", false},
	{"builder", "default", "every build runs in a keeper of its own; there is no other builder", false},
	{"call", "build", "a Dockerfile can only be built", false},
	{"cgroup-parent", "", "steps are in the caller's cgroup; use --memory, --cpus and --pids-limit", false},
	{"check", "false", "a Dockerfile can only be built", true},
	{"compress", "false", "the context is not sent anywhere", true},
	{"cpu-period", "", "use --cpus", false},
	{"cpu-quota", "", "use --cpus", false},
	{"cpu-shares", "", "use --cpus", false},
	{"cpuset-cpus", "", "use taskset(1) around bivouac", false},
	{"cpuset-mems", "", "use numactl(8) around bivouac", false},
	{"force-rm", "true", "the containers of steps are always removed", true},
	{"isolation", "default", "there is one kind of isolation", false},
	{"load", "true", "the image is always loaded into the store; use --output for files instead", true},
	{"provenance", "false none", "no attestations are made", false},
	{"push", "false", "use bivouac push after the build", true},
	{"rm", "true", "the containers of steps are always removed", true},
	{"sbom", "false none", "no attestations are made", false},
	{"security-opt", "", "steps have the default confinement", false},
}

// refuseFlags has flags that cannot be honoured say why, instead of being unknown.
func refuseFlags(s *pflag.FlagSet) {
	for _, u := range unhonoured {
		f := s.VarPF(&refusedFlag{strings.Fields(u.accepted), u.why}, u.name, "", u.why)
		f.Hidden = true
		if u.bare {
			f.NoOptDefVal = "true"
		}
	}
}

// refusedFlag accepts the values that ask for what is done anyway.
type refusedFlag struct {
	accepted []string
	why      string
}

func (f *refusedFlag) String() string { return "" }

func (f *refusedFlag) Type() string { return "value" }

func (f *refusedFlag) Set(value string) error {
	for _, a := range f.accepted {
		if value == a || isSameBool(value, a) {
			return nil
		}
	}
	return fmt.Errorf("bivouac build does not have it: %s", f.why)
}

func isSameBool(a, b string) bool {
	x, errX := strconv.ParseBool(a)
	y, errY := strconv.ParseBool(b)
	return errX == nil && errY == nil && x == y
}

// spec translates the flags. Errors name the flag.
func (f *buildFlags) spec(source *buildSource) (*sandbox.BuildSpec, error) {
	s := &sandbox.BuildSpec{
		Context: source.path, Dockerfile: source.dockerfile, Text: source.text,
		Names: f.tags, Target: f.target, Platform: f.platform, NoCache: f.noCache, NoCacheStages: f.noCacheStages, Squash: f.squash,
		Get: sandbox.ImageOptions{PlainHTTP: f.plainHTTP, CAFile: f.caFile, IgnoreChownErrors: f.ignoreChown},
	}
	for _, step := range []func(*sandbox.BuildSpec) error{
		f.setChoices, f.setNames, f.setBuildArgs, f.setEpoch, f.setLabels, f.setSecrets, f.setSSH, f.setContexts, f.setCaches, f.setHosts, f.setLimits,
	} {
		if err := step(s); err != nil {
			return nil, asBuildUsage(err)
		}
	}
	return s, nil
}

// asBuildUsage makes errors of flags that run has too those of a bad command line.
func asBuildUsage(err error) error {
	if codeOf(err) != sandbox.CodeInternal {
		return err
	}
	return usageErrorf("%s", err)
}

func (f *buildFlags) setChoices(s *sandbox.BuildSpec) error {
	switch f.pull {
	case "true", "always":
		s.Get.Pull = sandbox.PullAlways
	case "false", "missing":
		s.Get.Pull = sandbox.PullMissing
	case "never":
		s.Get.Pull = sandbox.PullNever
	default:
		return usageErrorf("--pull %q: use always, missing or never", f.pull)
	}
	switch f.network {
	case "host", "default":
		s.Network = sandbox.NetworkHost
	case "none":
		s.Network = sandbox.NetworkNone
	default:
		return usageErrorf("--network %q: RUN has the host's network or none; use host or none", f.network)
	}
	if strings.Contains(f.platform, ",") {
		return usageErrorf("--platform %s: one build makes an image for one platform; build once for each", f.platform)
	}
	return oneOf("--progress", f.progress, "auto", "tty", "plain", "json", "rawjson", "quiet")
}

// setBuildArgs gives a value to a name alone from outside, and leaves it out where there is none, as Docker does.
func (f *buildFlags) setBuildArgs(s *sandbox.BuildSpec) error {
	for _, text := range f.args {
		name, value, given := strings.Cut(text, "=")
		if name == "" {
			return usageErrorf("--build-arg %q: needs NAME=VALUE or NAME", text)
		}
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		if s.Args == nil {
			s.Args = map[string]string{}
		}
		s.Args[name] = value
	}
	return nil
}

// setEpoch takes SOURCE_DATE_EPOCH (reproducible-builds.org) from the argument or from outside, as buildx does.
func (f *buildFlags) setEpoch(s *sandbox.BuildSpec) error {
	const name = "SOURCE_DATE_EPOCH"
	text, given := s.Args[name]
	if !given {
		text = os.Getenv(name)
	}
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return usageErrorf("%s=%q: needs seconds since 1970", name, text)
	}
	s.SourceDateEpoch = &seconds
	if s.Args == nil {
		s.Args = map[string]string{}
	}
	s.Args[name] = text
	return nil
}

func (f *buildFlags) setLabels(s *sandbox.BuildSpec) (err error) {
	s.Labels, err = parseLabels(f.labels)
	return err
}

func (f *buildFlags) setLimits(s *sandbox.BuildSpec) (err error) {
	like := &sandbox.Spec{}
	for _, step := range []func(*sandbox.Spec) error{f.confine.setUlimits, f.confine.setLimits} {
		if err := step(like); err != nil {
			return err
		}
	}
	s.Ulimits, s.Limits = like.Ulimits, like.Limits
	if s.ShmSize, err = size("--shm-size", f.shmSize); err != nil {
		return err
	}
	s.Get.MaxUnpackedSize, err = size("--max-unpacked-size", f.maxUnpacked)
	return err
}
