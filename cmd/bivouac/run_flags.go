package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/pkg/kvfile"
	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// runFlags are the flags of run as they are written.
type runFlags struct {
	env, envFiles                      []string
	workdir, user, hostname, name      string
	volumes, mounts, tmpfs             []string
	readOnly, rm, detach, create       bool
	checkpointable                     bool
	entrypoint, stopSignal             string
	interactive, tty, init, quiet      bool
	timeout                            time.Duration
	pull, platform, network, caFile    string
	plainHTTP, ignoreChown             bool
	capAdd, capDrop, security, ulimits []string
	memory, memorySwap, maxUnpacked    string
	cpus                               float64
	pids                               int64
	limits                             string
	labels                             []string
	detachKeys                         string
	ports                              portFlags
	kept                               keptFlags
	health                             healthFlags
	more                               moreFlags

	shown []string // the command, for messages
}

func (f *runFlags) register(s *pflag.FlagSet) {
	s.StringArrayVarP(&f.env, "env", "e", nil, "set `NAME=VALUE`, or NAME to take the value from outside")
	s.StringArrayVar(&f.envFiles, "env-file", nil, "read variables from `FILE`")
	s.StringVarP(&f.workdir, "workdir", "w", "", "run in the directory `DIR` of the container")
	s.StringVarP(&f.user, "user", "u", "", "run as `USER[:GROUP]`, names or numbers of the image")
	s.StringVarP(&f.hostname, "hostname", "h", "", "host `NAME` of the container (default its name or id)")
	s.StringVar(&f.name, "name", "", "`NAME` of the container")
	s.StringArrayVarP(&f.volumes, "volume", "v", nil, "mount a `VOLUME` or a path: [NAME|PATH:]TARGET[:ro,nocopy]")
	s.StringArrayVar(&f.mounts, "mount", nil, "make a mount: `MOUNT` is type=volume|bind|tmpfs,source=...,target=...[,readonly]")
	s.StringArrayVar(&f.tmpfs, "tmpfs", nil, "mount a memory file system on `TARGET`, or TARGET:size=SIZE,mode=MODE,exec,ro")
	s.BoolVar(&f.readOnly, "read-only", false, "make the root file system read-only")
	s.BoolVarP(&f.detach, "detach", "d", false, "leave the container running in the background, and print its id")
	s.BoolVar(&f.rm, "rm", false, "discard the container at its end; the default without -d and --name")
	s.StringVar(&f.entrypoint, "entrypoint", "", "replace the image's entrypoint by `COMMAND`; \"\" removes it")
	s.StringVar(&f.stopSignal, "stop-signal", "", "`SIGNAL` that asks the command to end (default the image's, or SIGTERM)")
	s.BoolVarP(&f.interactive, "interactive", "i", false, "pass standard input on")
	s.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal")
	s.BoolVar(&f.init, "init", false, "keep an init as process 1 that forwards signals and reaps orphans")
	s.BoolVar(&f.checkpointable, "checkpointable", false, "prepare for bivouac checkpoint with the running processes")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "do not show the progress of a pull")
	s.DurationVar(&f.timeout, "timeout", 0, "stop the command after `DURATION`, such as 30s; exit code 124")
	s.StringVar(&f.pull, "pull", "missing", "when to ask the registry: `missing|always|never`")
	s.StringVar(&f.platform, "platform", "", "`OS/ARCH[/VARIANT]` of the image (default the machine's)")
	s.StringVar(&f.network, "network", "none", "`NETWORK` of the container: none, a loopback of its own, or host, that of the machine")
	s.StringVar(&f.network, "net", "none", "the same as --network")
	_ = s.MarkHidden("net")
	s.StringSliceVar(&f.capAdd, "cap-add", nil, "add a `CAPABILITY`, or ALL")
	s.StringSliceVar(&f.capDrop, "cap-drop", nil, "drop a `CAPABILITY`, or ALL")
	s.StringArrayVar(&f.security, "security-opt", nil, "confine otherwise: `OPTION` is no-new-privileges, seccomp=FILE, seccomp=unconfined or systempaths=unconfined")
	s.StringArrayVar(&f.ulimits, "ulimit", nil, "set a limit `NAME=SOFT[:HARD]`, such as nofile=1024")
	s.StringVarP(&f.memory, "memory", "m", "", "limit memory to `SIZE`, such as 512m")
	s.StringVar(&f.memorySwap, "memory-swap", "", "limit memory and swap together to `SIZE`, -1 for unlimited swap (default twice --memory)")
	s.Float64Var(&f.cpus, "cpus", 0, "limit CPU time to `N` CPUs, such as 1.5")
	s.Int64Var(&f.pids, "pids-limit", 0, "limit the number of processes to `N`")
	s.StringVar(&f.limits, "limits", "strict", "fail where a limit cannot be enforced, or warn: `strict|best-effort`")
	s.StringArrayVarP(&f.labels, "label", "l", nil, "give the container a label `NAME=VALUE`")
	f.ports.register(s)
	f.kept.register(s)
	f.health.register(s)
	f.more.register(s)
	registerDetachKeys(s, &f.detachKeys)
	s.BoolVar(&f.plainHTTP, "plain-http", false, "allow a registry without TLS that is not on this machine")
	s.StringVar(&f.caFile, "tls-ca", "", "trust the certificate authorities of `FILE` too")
	s.BoolVar(&f.ignoreChown, "ignore-chown-errors", false, "give files of unmapped owners to the overflow id")
	s.StringVar(&f.maxUnpacked, "max-unpacked-size", "", "refuse an image that unpacks to more than `SIZE`")
}

// spec translates the flags. Errors name the flag.
func (f *runFlags) spec(set *pflag.FlagSet, args []string) (*sandbox.Spec, error) {
	f.shown = args[1:]
	s := &sandbox.Spec{
		Image: args[0], Args: args[1:], Name: f.name, Hostname: f.hostname, User: f.user, WorkingDir: f.workdir,
		StopSignal: f.stopSignal, Init: f.init, ReadOnly: f.readOnly, Keep: f.keeps(set), Network: sandbox.Network(f.network),
		CapAdd: f.capAdd, CapDrop: f.capDrop, Listed: true, Monitor: true, Checkpointable: f.checkpointable,
		Get: sandbox.ImageOptions{
			Pull: sandbox.PullPolicy(f.pull), Platform: f.platform, PlainHTTP: f.plainHTTP, CAFile: f.caFile, IgnoreChownErrors: f.ignoreChown,
		},
	}
	for _, step := range []func(*sandbox.Spec) error{
		f.checkChoices, f.checkCheckpointable, f.setEnv, f.setLabels, f.ports.setPorts, f.setMounts, f.setSecurity, f.setUlimits, f.setLimits, f.setUnpacked, f.setTerminal, f.setHostDefaults,
		f.kept.set, f.health.set, f.more.set, f.setStdin,
	} {
		if err := step(s); err != nil {
			return nil, err
		}
	}
	if set.Changed("entrypoint") {
		entrypoint := []string{}
		if f.entrypoint != "" {
			entrypoint = append(entrypoint, f.entrypoint)
		}
		s.Entrypoint = &entrypoint
	}
	return s, nil
}

// keeps tells whether the container stays in the store after its program's end.
func (f *runFlags) keeps(set *pflag.FlagSet) bool {
	if set.Changed("rm") && !f.create {
		return !f.rm
	}
	if set.Arg(0) == hostImage { // whose changes cannot lie on the disk
		return f.create || f.kept.restarts()
	}
	return f.create || f.detach || f.name != "" || f.kept.restarts()
}

func (f *runFlags) checkChoices(s *sandbox.Spec) error {
	if f.rm && f.kept.restarts() {
		return fmt.Errorf("--rm and --restart: a container that is discarded at its end cannot be started again; leave out one of them")
	}
	s.AutoRemove = f.rm && f.create
	if f.timeout != 0 && f.detach {
		return fmt.Errorf("--timeout and --detach: nobody waits for the time; use timeout(1) in the container")
	}
	if f.timeout < 0 {
		return fmt.Errorf("--timeout %v: needs a time that is not negative", f.timeout)
	}
	return oneOf("--pull", f.pull, "missing", "always", "never")
}

// checkCheckpointable refuses what CRIU cannot dump as an ordinary user.
func (f *runFlags) checkCheckpointable(*sandbox.Spec) error {
	for flag, given := range map[string]bool{
		"--tty": f.tty, "--init": f.init, "--network host": f.network == string(sandbox.NetworkHost),
	} {
		if given && f.checkpointable {
			return fmt.Errorf("--checkpointable and %s: the processes could not be checkpointed; leave out one of them", flag)
		}
	}
	return nil
}

// setStdin says what becomes of the standard input of a container that is kept, to which one can attach.
func (f *runFlags) setStdin(s *sandbox.Spec) error {
	if s.Keep || f.detach {
		s.OpenStdin, s.StdinOnce = f.interactive, f.interactive && !f.detach
	}
	return nil
}

func oneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("%s %q: use %s", flag, value, strings.Join(allowed, ", "))
}

// setEnv reads files first, so that -e wins.
func (f *runFlags) setEnv(s *sandbox.Spec) error {
	for _, file := range f.envFiles {
		lines, err := kvfile.Parse(file, os.LookupEnv)
		if err != nil {
			return fmt.Errorf("--env-file: %w", err)
		}
		s.Env = append(s.Env, lines...)
	}
	for _, e := range f.env {
		name, _, given := strings.Cut(e, "=")
		if name == "" {
			return fmt.Errorf("--env %q: needs NAME=VALUE or NAME", e)
		}
		if value, ok := os.LookupEnv(name); !given && ok {
			s.Env = append(s.Env, name+"="+value)
		} else if given {
			s.Env = append(s.Env, e)
		}
	}
	return nil
}

func (f *runFlags) setLabels(s *sandbox.Spec) (err error) {
	s.Labels, err = parseLabels(f.labels)
	return err
}

func (f *runFlags) setUlimits(s *sandbox.Spec) error {
	for _, text := range f.ulimits {
		u, err := units.ParseUlimit(text)
		if err != nil {
			return fmt.Errorf("--ulimit: %w", err)
		}
		s.Ulimits = append(s.Ulimits, sandbox.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return nil
}

func (f *runFlags) setLimits(s *sandbox.Spec) error {
	if err := oneOf("--limits", f.limits, "strict", "best-effort"); err != nil {
		return err
	}
	memory, err := size("--memory", f.memory)
	if err != nil {
		return err
	}
	swap, err := f.swap(memory)
	if err != nil {
		return err
	}
	if f.pids < -1 || f.cpus != 0 && !(f.cpus >= leastCPUs && f.cpus < 1e6) {
		return fmt.Errorf("--cpus and --pids-limit: needs a number of at least %v, and one that is not negative", leastCPUs)
	}
	s.Limits = sandbox.Limits{Memory: memory, Swap: swap, CPUs: f.cpus, PIDs: max(f.pids, 0), BestEffort: f.limits == "best-effort"}
	return nil
}

// leastCPUs is the kernel's least quota, 1 ms of 100 (cgroup-v2.rst, cpu.max).
const leastCPUs = 0.01

// swap turns Docker's sum of memory and swap into swap alone.
func (f *runFlags) swap(memory int64) (int64, error) {
	switch f.memorySwap {
	case "":
		return memory, nil // as Docker: as much again
	case "-1":
		return -1, nil
	}
	total, err := size("--memory-swap", f.memorySwap)
	if err != nil {
		return 0, err
	}
	if memory == 0 || total < memory {
		return 0, fmt.Errorf("--memory-swap %s: is memory and swap together, so it needs a --memory that is not larger", f.memorySwap)
	}
	return total - memory, nil
}

func size(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s %q: needs a size such as 512m or 2g", flag, text)
	}
	return n, nil
}

func (f *runFlags) setUnpacked(s *sandbox.Spec) (err error) {
	s.Get.MaxUnpackedSize, err = size("--max-unpacked-size", f.maxUnpacked)
	return err
}

// setHostDefaults starts a command over the machine's own root where the user is.
func (f *runFlags) setHostDefaults(s *sandbox.Spec) error {
	if s.Image != hostImage || s.WorkingDir != "" {
		return nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	s.WorkingDir = filepath.Clean(dir)
	return nil
}
