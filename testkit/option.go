package testkit

import (
	"context"
	"io"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Option says something about a container that is to be started. Where options are about the same thing the last one
// wins, so that a function can set its own before those of its caller.
type Option func(*settings)

// Hook is called at a moment of a container's life.
type Hook func(ctx context.Context, c *Container) error

// settings are what all options together say.
type settings struct {
	spec         sandbox.Spec
	files        []source
	volumes      []*SharedVolume // that are mounted
	strategies   []Strategy
	stdin        io.Reader
	sinks        []sink
	attach       []func() // run once when the settings are used
	beforeStart  []Hook
	afterReady   []Hook
	beforeStop   []Hook
	startTimeout time.Duration
	stopGrace    time.Duration
	oneShot      bool // the program's end is what is waited for
	checkpoint   checkpointing
	problems     []error
}

// Options makes one option of many.
func Options(opts ...Option) Option {
	return func(s *settings) {
		for _, o := range opts {
			if o != nil {
				o(s)
			}
		}
	}
}

// Spec changes what no other option does. It sees what the options before it have said.
func Spec(change func(*sandbox.Spec)) Option { return func(s *settings) { change(&s.spec) } }

// Env sets an environment variable of the program.
func Env(name, value string) Option {
	return func(s *settings) { s.spec.Env = append(s.spec.Env, name+"="+value) }
}

// EnvMap sets environment variables of the program.
func EnvMap(variables map[string]string) Option {
	return func(s *settings) {
		for _, name := range sortedKeys(variables) {
			s.spec.Env = append(s.spec.Env, name+"="+variables[name])
		}
	}
}

// Args replaces the image's command, which is what its entrypoint gets as arguments.
func Args(args ...string) Option { return func(s *settings) { s.spec.Args = args } }

// Entrypoint replaces the image's entrypoint and drops its command. Without arguments it removes the entrypoint.
func Entrypoint(args ...string) Option {
	return func(s *settings) {
		entrypoint := append([]string{}, args...)
		s.spec.Entrypoint = &entrypoint
	}
}

// User sets who runs the program: USER[:GROUP] by name or number.
func User(user string) Option { return func(s *settings) { s.spec.User = user } }

// WorkingDir sets the program's working directory, an absolute path that is made if missing.
func WorkingDir(dir string) Option { return func(s *settings) { s.spec.WorkingDir = dir } }

// Stdin is what the program reads. Without it there is nothing to read. It is read once: the program of a restarted
// container has the rest.
func Stdin(r io.Reader) Option { return func(s *settings) { s.stdin = r } }

// Label sets a label, for people and programs to tell containers apart.
func Label(name, value string) Option {
	return func(s *settings) {
		if s.spec.Labels == nil {
			s.spec.Labels = map[string]string{}
		}
		s.spec.Labels[name] = value
	}
}

// Name names the container. No two of a user can have the same name at once, so that tests which run in parallel are better
// without one: the name is then made of the container's id.
func Name(name string) Option { return func(s *settings) { s.spec.Name = name } }

// Hostname sets the container's host name. The default is its name.
func Hostname(name string) Option { return func(s *settings) { s.spec.Hostname = name } }

// Init keeps a small init as the container's first process, which forwards signals and reaps orphans.
func Init() Option { return func(s *settings) { s.spec.Init = true } }

// Platform sets the image's platform as os/architecture[/variant]. The default is the machine's.
func Platform(platform string) Option { return func(s *settings) { s.spec.Get.Platform = platform } }

// Pull says when the image's registry is asked: missing, which is the default, always or never.
func Pull(policy sandbox.PullPolicy) Option { return func(s *settings) { s.spec.Get.Pull = policy } }

// CAFile names a PEM file of certificate authorities to trust in registries besides the system's.
func CAFile(path string) Option { return func(s *settings) { s.spec.Get.CAFile = path } }

// PlainHTTP allows a registry without TLS that is not on loopback.
func PlainHTTP() Option { return func(s *settings) { s.spec.Get.PlainHTTP = true } }

// StopSignal sets the signal that asks the program to end, such as SIGINT. The default is the image's, or SIGTERM.
func StopSignal(name string) Option { return func(s *settings) { s.spec.StopSignal = name } }

// StopGrace sets how long [Container.Stop] waits before it kills. The default is 10 seconds; 0 kills at once.
func StopGrace(d time.Duration) Option { return func(s *settings) { s.stopGrace = d } }

// StartTimeout sets how long the container may take from the start of its program until it is ready, and [Run] until it
// ends. The default is a minute. A test's own deadline counts besides. Getting the image has no such limit as long as it
// makes progress.
func StartTimeout(d time.Duration) Option {
	return func(s *settings) {
		if s.startTimeout = d; d <= 0 {
			s.refuse("StartTimeout(%v): needs a time above 0", d)
		}
	}
}

// BeforeStart adds a hook for when the container is made, has its files and addresses, and does not run yet.
func BeforeStart(hook Hook) Option {
	return func(s *settings) { s.beforeStart = append(s.beforeStart, hook) }
}

// AfterReady adds a hook for when the container is ready, such as one that fills a database. [Start] returns after it.
func AfterReady(hook Hook) Option {
	return func(s *settings) { s.afterReady = append(s.afterReady, hook) }
}

// BeforeStop adds a hook for when the container is about to be stopped, killed or discarded while its program runs. Its
// failure fails the call, which does its work nevertheless.
func BeforeStop(hook Hook) Option {
	return func(s *settings) { s.beforeStop = append(s.beforeStop, hook) }
}

// Ready says when the container is ready: when all of the strategies have been reached, in their order. Without it a
// container is ready when its program runs and every TCP port of [Publish] is listened on. More than one Ready add up.
func Ready(strategies ...Strategy) Option {
	return func(s *settings) { s.strategies = append(s.strategies, strategies...) }
}
