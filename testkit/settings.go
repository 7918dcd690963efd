package testkit

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

const (
	defaultStartTimeout = time.Minute
	defaultStopGrace    = 10 * time.Second
)

// collect makes settings of options and checks that they go together, for a container that is started.
func collect(image string, opts []Option) (*settings, error) {
	return collectFor(image, opts, (*settings).checkStart)
}

// collectFor is collect with a check of what the options are for.
func collectFor(image string, opts []Option, purpose func(*settings)) (*settings, error) {
	s := &settings{startTimeout: defaultStartTimeout, stopGrace: defaultStopGrace}
	s.spec.Image = image
	Options(opts...)(s)
	for _, check := range []func(*settings){
		purpose, (*settings).checkPorts, (*settings).checkMounts, (*settings).checkCapabilities, (*settings).checkStrategies, (*settings).checkImage,
	} {
		check(s)
	}
	if len(s.problems) > 0 {
		return nil, errors.Join(s.problems...)
	}
	s.choosePorts()
	for _, attach := range s.attach {
		attach()
	}
	return s, nil
}

// refuse notes that an option cannot be used as it is.
func (s *settings) refuse(format string, args ...any) {
	s.problems = append(s.problems, sandbox.Errorf(sandbox.CodeInvalid, format, args...))
}

// contradict notes two options that cannot both be had.
func (s *settings) contradict(a, b, why string) {
	s.problems = append(s.problems, sandbox.Errorf(sandbox.CodeInvalid, "%s and %s contradict each other: %s", a, b, why).
		WithRemedy("leave one of them out"))
}

// checkStart finds options that are for checkpoints alone.
func (s *settings) checkStart() {
	groups, what := []group{making, owning, freezing}, "Start or New"
	if s.oneShot {
		groups, what = groups[:2], "Run"
	}
	for _, option := range s.others(groups...) {
		s.problems = append(s.problems, sandbox.Errorf(sandbox.CodeInvalid, "%s cannot be given to %s", option, what).
			WithRemedy("give it to testkit.Checkpoint"))
	}
	s.spec.Checkpointable = s.spec.Checkpointable || s.checkpoint.processes == sandbox.ProcessesRequired
	if s.spec.Checkpointable {
		s.checkCheckpointable("Checkpointable")
	}
}

// checkCheckpointable finds what keeps processes from being in a checkpoint.
func (s *settings) checkCheckpointable(option string) {
	if why := s.unfreezable(); why != "" {
		s.problems = append(s.problems, sandbox.Errorf(sandbox.CodeInvalid, "%s: %s", option, why).WithRemedy("leave one of them out"))
	}
}

// unfreezable says which option keeps processes from being in a checkpoint; empty means none.
func (s *settings) unfreezable() string {
	switch {
	case s.spec.Network == sandbox.NetworkHost:
		return "with Network(host) a container's connections are the machine's, which cannot be checkpointed"
	case s.spec.Init:
		return "with Init a container has another init than the one that checkpoints need"
	default:
		return ""
	}
}

func (s *settings) checkImage() {
	if s.spec.Image == "" {
		s.refuse("the image's name is empty")
	}
	if s.spec.Image == "host:" && s.spec.Get.Platform != "" {
		s.contradict(`the image "host:"`, "Platform("+s.spec.Get.Platform+")", "the machine's own root has its own platform")
	}
	if s.spec.Terminal != nil {
		s.refuse("Spec: a terminal cannot be used here, as the output is read through pipes")
	}
}

// checkPorts finds ports that cannot be published as asked.
func (s *settings) checkPorts() {
	taken := map[string]sandbox.PortMapping{}
	for _, p := range s.spec.Publish {
		if s.spec.Network == sandbox.NetworkHost {
			s.contradict("Network(host)", fmt.Sprintf("Publish(%d)", p.Port), "what listens on the machine's network needs no publishing")
		}
		key := fmt.Sprint(p.HostIP, p.HostPort, protocolOf(p))
		if other, ok := taken[key]; ok && p.HostPort != 0 && other.Port != p.Port {
			s.contradict(fmt.Sprintf("PublishAs(%d:%d)", other.HostPort, other.Port), fmt.Sprintf("PublishAs(%d:%d)", p.HostPort, p.Port), "they want the same port of the host")
		}
		taken[key] = p
	}
}

// checkMounts finds mounts in each other's place, and files that a mount would hide.
func (s *settings) checkMounts() {
	targets := map[string]sandbox.Mount{}
	for _, m := range s.spec.Mounts {
		target := path.Clean(m.Target)
		if other, ok := targets[target]; ok {
			s.contradict(mountText(other), mountText(m), "they are mounted on the same path")
		}
		targets[target] = m
		for _, f := range s.files {
			if f.target == target || strings.HasPrefix(f.target, strings.TrimSuffix(target, "/")+"/") {
				s.contradict(f.option, mountText(m), "the mount would hide the file")
			}
		}
	}
}

func mountText(m sandbox.Mount) string {
	switch {
	case m.Type == sandbox.MountTmpfs:
		return "Tmpfs(" + m.Target + ")"
	case m.Type == sandbox.MountVolume && m.ReadOnly:
		return "MountVolumeReadOnly(" + m.Target + ")"
	case m.Type == sandbox.MountVolume:
		return "MountVolume(" + m.Target + ")"
	case m.ReadOnly:
		return "BindReadOnly(" + m.Source + ", " + m.Target + ")"
	default:
		return "Bind(" + m.Source + ", " + m.Target + ")"
	}
}

func (s *settings) checkCapabilities() {
	plain := func(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }
	for _, added := range s.spec.CapAdd {
		for _, dropped := range s.spec.CapDrop {
			if plain(added) == plain(dropped) {
				s.contradict("CapAdd("+added+")", "CapDrop("+dropped+")", "the capability would be both there and not")
			}
		}
	}
}

// checkStrategies finds what cannot be reached one after the other.
func (s *settings) checkStrategies() {
	ended := ""
	for _, strategy := range s.strategies {
		if strategy == nil {
			s.refuse("Ready: a strategy is nil")
			return
		}
		t := traitsOf(strategy)
		if ended != "" && !t.outlives {
			s.contradict("Ready("+ended+")", "Ready("+strategy.String()+")", "the second needs the program to run, which the first says has ended")
		}
		if t.ends {
			ended = strategy.String()
		}
		if t.problem != "" {
			s.refuse("Ready(%s): %s", strategy, t.problem)
		}
	}
	if s.oneShot && len(s.strategies) > 0 {
		s.contradict("Run", "Ready("+s.strategies[0].String()+")", "Run waits for the program's end")
	}
}

// choosePorts publishes what readiness needs and, where nobody said when the container is ready, waits for the ports.
func (s *settings) choosePorts() {
	if len(s.strategies) == 0 && !s.oneShot {
		s.strategies = s.listening()
	}
	all := traitsOf(All(s.strategies...))
	s.spec.HoldPorts = all.held && len(s.strategies) > 0 && s.spec.Network != sandbox.NetworkHost
	if s.spec.Network == sandbox.NetworkHost {
		return
	}
	s.spec.PublishAll = !s.oneShot
	for _, p := range all.ports {
		if !slices.ContainsFunc(s.spec.Publish, func(q sandbox.PortMapping) bool { return samePort(p, q) }) {
			s.spec.Publish = append(s.spec.Publish, p)
		}
	}
}

func (s *settings) listening() []Strategy {
	var all []Strategy
	for _, p := range s.spec.Publish {
		if protocolOf(p) == "tcp" {
			all = append(all, Port(int(p.Port)))
		}
	}
	return all
}

func samePort(a, b sandbox.PortMapping) bool {
	return a.Port == b.Port && protocolOf(a) == protocolOf(b)
}

func protocolOf(p sandbox.PortMapping) string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func absPath(name string) (string, error) { return filepath.Abs(name) }
