package testkit

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/bivouac-run/bivouac/sandbox"
)

// group is what an option is about, which decides where it can be given.
type group int

const (
	making   group = iota // what a container is made of: it is as it was for every clone
	owning                // what each container has of its own
	freezing              // how a checkpoint is made
	building              // what Checkpoint does besides
	thawing               // how a checkpoint's processes are brought back
)

// said is an option that was given.
type said struct {
	group  group
	option string
}

// unset is a time that no option has set.
const unset = -1

// saidOf lists the options that have left something in settings.
func saidOf(s *settings) []said {
	all := append(saidOfSpec(&s.spec), saidOfCheckpoint(&s.checkpoint)...)
	add := func(given bool, g group, option string) {
		if given {
			all = append(all, said{g, option})
		}
	}
	for _, f := range s.files {
		add(true, making, f.option)
	}
	add(s.stdin != nil, making, "Stdin")
	add(len(s.strategies) > 0, making, "Ready")
	add(len(s.sinks) > 0, owning, "Log, LogLines or LogTo")
	add(len(s.beforeStart) > 0, owning, "BeforeStart")
	add(len(s.afterReady) > 0, owning, "AfterReady")
	add(len(s.beforeStop) > 0, owning, "BeforeStop")
	add(s.startTimeout != unset, owning, "StartTimeout")
	add(s.stopGrace != unset, owning, "StopGrace")
	return all
}

// specOptions are the options of the fields of a [sandbox.Spec] where their names differ.
var specOptions = map[string]string{
	"Get": "Pull, Platform, CAFile or PlainHTTP", "Mounts": "Bind, BindReadOnly, Tmpfs or MountVolume", "Labels": "Label", "Ulimits": "Ulimit",
	"Limits": "Memory, CPUs, PIDs or BestEffortLimits",
}

// ownedFields are what [sandbox.RestoreSpec] has.
var ownedFields = []string{"Name", "Hostname", "Labels", "Listed", "Publish", "Limits"}

func saidOfSpec(spec *sandbox.Spec) []said {
	var all []said
	v := reflect.ValueOf(*spec)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).IsZero() || name == "Image" {
			continue
		}
		g := making
		if slices.Contains(ownedFields, name) {
			g = owning
		}
		all = append(all, said{g, cmp.Or(specOptions[name], name)})
	}
	return all
}

func saidOfCheckpoint(c *checkpointing) []said {
	var all []said
	add := func(given bool, g group, option string) {
		if given {
			all = append(all, said{g, option})
		}
	}
	add(c.processes != "", freezing, "ProcessesRequired or FilesOnly")
	add(c.quality != "", freezing, "Live")
	add(len(c.quiesce) > 0, freezing, "Quiesce")
	add(c.omitMounts, freezing, "OmitMounts")
	add(c.machineClock, thawing, "MachineClock")
	for _, s := range c.steps {
		add(true, building, fmt.Sprintf("Prepare(%q)", s.key))
	}
	add(len(c.content) > 0 && len(c.steps) == 0, building, "DependsOn or DependsOnFS")
	add(c.pool != 0, building, "Pool")
	return all
}

// others lists the options that are of none of the groups.
func (s *settings) others(groups ...group) []string {
	var options []string
	for _, o := range saidOf(s) {
		if !slices.Contains(groups, o.group) {
			options = append(options, o.option)
		}
	}
	return options
}

// collectMore makes settings of options that are given to a container, or to a checkpoint, that is there.
func collectMore(what, remedy string, opts []Option, groups ...group) (*settings, error) {
	s := &settings{startTimeout: unset, stopGrace: unset}
	Options(opts...)(s)
	for _, option := range s.others(groups...) {
		s.problems = append(s.problems, sandbox.Errorf(sandbox.CodeInvalid, "%s cannot be given to %s", option, what).WithRemedy("%s", remedy))
	}
	s.checkPorts()
	return s, errors.Join(s.problems...)
}
