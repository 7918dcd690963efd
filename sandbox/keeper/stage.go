package keeper

// #include "init.h"
import "C"

import (
	"encoding/binary"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// stage is what a container's first process does without libcontainer's Go program: see stage.c.
type stage struct {
	root, hostname, dir           string
	loopback, readOnly, setGroups bool
	uid, gid                      int
	groups                        []int
	bounding, permitted           uint64
	steps                         []step
}

// step is one mount, or what comes in its place.
type step struct {
	kind, flags             int
	attributes, propagation uint64
	source, target, options string
}

// newStage translates libcontainer's configuration, or tells that this cannot be done: then libcontainer's own init does it.
func newStage(c *configs.Config, u *identity, single bool, dir string) (_ *stage, ok bool) {
	s := &stage{
		root: c.Rootfs, hostname: c.Hostname, dir: dir, readOnly: c.Readonlyfs, loopback: c.Namespaces.Contains(configs.NEWNET),
	}
	s.be(c.Capabilities, u, single)
	for _, m := range c.Mounts {
		steps, ok := mountSteps(m)
		if !ok {
			return nil, false
		}
		s.steps = append(s.steps, steps...)
	}
	s.steps = slices.Concat(s.steps, deviceSteps(c), linkSteps(), restrictions(c))
	return s, true
}

// newJoin is the stage of a process that is executed in a running container: there is nothing to mount.
func newJoin(caps *configs.Capabilities, u *identity, single bool, dir string) *stage {
	s := &stage{dir: dir}
	s.be(caps, u, single)
	return s
}

// be says who the program is. With a single id it is root, whoever it takes itself for.
func (s *stage) be(caps *configs.Capabilities, u *identity, single bool) {
	s.bounding, s.permitted = capabilityBits(caps.Bounding), capabilityBits(caps.Permitted)
	if !single {
		s.uid, s.gid, s.groups, s.setGroups = u.uid, u.gid, u.groups, true
	}
}

// capabilityBits makes a set of names, which are known to exist.
func capabilityBits(names []string) uint64 {
	var set uint64
	for _, c := range capability.ListKnown() {
		if slices.Contains(names, "CAP_"+strings.ToUpper(c.String())) {
			set |= 1 << c
		}
	}
	return set
}

// mountSteps gives up on what covers /dev or parts of /proc: libcontainer knows which of these are harmless.
func mountSteps(m *configs.Mount) ([]step, bool) {
	target := path.Clean("/" + m.Destination)
	s := step{kind: C.STEP_MOUNT, target: target, source: m.Device, attributes: attributes(m.Flags), options: "source=" + m.Source}
	switch m.Device {
	case "bind":
		return bindStep(m, target)
	case "proc", "sysfs":
		s.flags = C.STEP_PLAIN
	case "cgroup":
		return cgroupSteps(m, s), true
	}
	switch {
	case m.Flags&unix.MS_RDONLY == 0:
	case m.Device == "tmpfs":
		s.flags |= C.STEP_LATE
		s.attributes &^= unix.MOUNT_ATTR_RDONLY
	default:
		s.options += ",ro"
	}
	if m.Data != "" {
		s.options += "," + m.Data
	}
	return []step{s}, m.Device == "proc" || !strings.HasPrefix(target+"/", "/proc/")
}

func bindStep(m *configs.Mount, target string) ([]step, bool) {
	s := step{kind: C.STEP_BIND, source: m.Source, target: target, attributes: attributes(m.Flags)}
	if m.Flags&unix.MS_REC != 0 {
		s.flags |= C.STEP_RECURSIVE
	}
	if m.RecAttr != nil {
		s.flags |= C.STEP_DEEP
		s.attributes |= m.RecAttr.Attr_set
	}
	for _, p := range m.PropagationFlags {
		if p&unix.MS_REC != 0 {
			s.flags |= C.STEP_TREE
		}
		s.propagation = uint64(p &^ unix.MS_REC)
	}
	return []step{s}, target != "/" && target != "/dev" && !strings.HasPrefix(target+"/", "/proc/")
}

// cgroupSteps bind the hierarchy where the kernel does not let us mount it.
func cgroupSteps(m *configs.Mount, s step) []step {
	s.source, s.flags = "cgroup2", C.STEP_OR_NEXT
	s.options += ",ro"
	return []step{s, {kind: C.STEP_BIND, source: cgroupRoot, target: s.target, attributes: attributes(m.Flags)}}
}

// attributes translates flags of mount(2) into those of mount_setattr(2).
func attributes(flags int) uint64 {
	var out uint64
	for flag, attribute := range map[int]uint64{
		unix.MS_RDONLY: unix.MOUNT_ATTR_RDONLY, unix.MS_NOSUID: unix.MOUNT_ATTR_NOSUID, unix.MS_NODEV: unix.MOUNT_ATTR_NODEV,
		unix.MS_NOEXEC: unix.MOUNT_ATTR_NOEXEC, unix.MS_STRICTATIME: unix.MOUNT_ATTR_STRICTATIME,
	} {
		if flags&flag != 0 {
			out |= attribute
		}
	}
	return out
}

func deviceSteps(c *configs.Config) []step {
	var out []step
	for _, d := range c.Devices {
		if d.Path != "" && d.Path != "/dev/ptmx" {
			out = append(out, step{kind: C.STEP_BIND, source: d.Path, target: d.Path})
		}
	}
	return out
}

var hasKcore = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/kcore")
	return err == nil
})

func linkSteps() []step {
	steps := []step{
		{kind: C.STEP_LINK, flags: C.STEP_REPLACE, source: "pts/ptmx", target: "/dev/ptmx"},
		{kind: C.STEP_LINK, source: "/proc/self/fd", target: "/dev/fd"},
		{kind: C.STEP_LINK, source: "/proc/self/fd/0", target: "/dev/stdin"},
		{kind: C.STEP_LINK, source: "/proc/self/fd/1", target: "/dev/stdout"},
		{kind: C.STEP_LINK, source: "/proc/self/fd/2", target: "/dev/stderr"},
	}
	if hasKcore() {
		steps = append(steps, step{kind: C.STEP_LINK, source: "/proc/kcore", target: "/dev/core"})
	}
	return steps
}

func restrictions(c *configs.Config) []step {
	var out []step
	for _, p := range c.ReadonlyPaths {
		out = append(out, step{kind: C.STEP_READONLY, target: p})
	}
	for _, p := range c.MaskPaths {
		out = append(out, step{kind: C.STEP_MASK, target: p})
	}
	return out
}

// strings are the texts of the plan that are the stage's.
func (s *stage) strings() []string {
	list := []string{s.root, s.hostname, s.dir}
	for _, p := range s.steps {
		list = append(list, p.source, p.target, p.options)
	}
	return list
}

// describe adds the stage to a plan's header, and returns its steps and groups as bytes.
func (s *stage) describe(h *C.struct_plan_header) []byte {
	h.steps, h.groups = C.uint32_t(len(s.steps)), C.uint32_t(len(s.groups))
	h.uid, h.gid = C.uint32_t(s.uid), C.uint32_t(s.gid)
	h.bounding, h.permitted = C.uint64_t(s.bounding), C.uint64_t(s.permitted)
	h.flags |= C.PLAN_STAGE
	for flag, set := range map[C.uint32_t]bool{C.PLAN_LOOPBACK: s.loopback, C.PLAN_READONLY: s.readOnly, C.PLAN_GROUPS: s.setGroups} {
		if set {
			h.flags |= flag
		}
	}
	var b []byte
	for _, p := range s.steps {
		b = binary.NativeEndian.AppendUint32(b, uint32(p.kind))
		b = binary.NativeEndian.AppendUint32(b, uint32(p.flags))
		b = binary.NativeEndian.AppendUint64(b, p.attributes)
		b = binary.NativeEndian.AppendUint64(b, p.propagation)
	}
	for _, g := range s.groups {
		b = binary.NativeEndian.AppendUint32(b, uint32(g))
	}
	return append(b, make([]byte, -len(b)&7)...)
}
