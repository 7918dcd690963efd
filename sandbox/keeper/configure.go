package keeper

import (
	"fmt"
	"slices"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// blueprint is all that decides a container's configuration. It is a plain value.
type blueprint struct {
	id       string
	root     string // the mounted root file system
	hostname string
	spec     *sandbox.Spec
	// extents are the keeper's own id maps; the container's user namespace repeats them one to one.
	uids, gids []extent
	user       identity
	caps       []string
	rlimits    []configs.Rlimit
	// files are bind mounts of the keeper's own making, such as /etc/hosts.
	files []sandbox.Mount
	// shm is the directory that becomes /dev/shm, empty for a file system that goes with the program.
	shm string
	// cgroup is where limits are enforced, empty without limits.
	cgroup string
	// unified tells that /sys/fs/cgroup is the host's cgroup v2 hierarchy and worth showing.
	unified bool
}

// extent is a range of ids that the keeper has.
type extent struct{ first, size int64 }

func (b *blueprint) hostNetwork() bool { return b.spec.Network == sandbox.NetworkHost }

// configure translates a blueprint into libcontainer's terms. It is pure: same value in, same value out.
func configure(b *blueprint) *configs.Config {
	c := &configs.Config{
		Rootfs:          b.root,
		Readonlyfs:      b.spec.ReadOnly,
		RootPropagation: unix.MS_SLAVE | unix.MS_REC,
		Hostname:        b.hostname,
		Namespaces:      namespaces(b),
		UIDMappings:     identityMap(b.uids),
		GIDMappings:     identityMap(b.gids),
		Mounts:          mounts(b),
		Devices:         specconv.AllowedDevices,
		Capabilities:    capabilitySets(b),
		Rlimits:         b.rlimits,
		Cgroups:         cgroup(b),
		RootlessCgroups: true,
		NoNewPrivileges: true,
		NoNewKeyring:    true, // the first process joins one of its own: that costs less than libcontainer's named one
	}
	if !b.spec.UnmaskPaths {
		c.MaskPaths, c.ReadonlyPaths = slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	}
	return c
}

// Docker's lists (moby daemon/pkg/oci/defaults.go).
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func namespaces(b *blueprint) configs.Namespaces {
	kinds := []configs.NamespaceType{configs.NEWUSER, configs.NEWNS, configs.NEWPID, configs.NEWIPC, configs.NEWUTS, configs.NEWCGROUP}
	if !b.hostNetwork() {
		kinds = append(kinds, configs.NEWNET)
	}
	out := make(configs.Namespaces, len(kinds))
	for i, k := range kinds {
		out[i] = configs.Namespace{Type: k}
	}
	return out
}

// identityMap repeats the keeper's extents one by one: a map entry may not span two entries of the parent's map
// (user_namespaces(7)).
func identityMap(extents []extent) []configs.IDMap {
	out := make([]configs.IDMap, len(extents))
	for i, e := range extents {
		out[i] = configs.IDMap{ContainerID: e.first, HostID: e.first, Size: e.size}
	}
	return out
}

// capabilitySets gives a user other than root the bounding set alone, as Docker does.
func capabilitySets(b *blueprint) *configs.Capabilities {
	sets := &configs.Capabilities{Bounding: b.caps}
	if b.user.uid == 0 {
		sets.Effective, sets.Permitted = b.caps, b.caps
	}
	return sets
}

func cgroup(b *blueprint) *cgroups.Cgroup {
	c := &cgroups.Cgroup{Rootless: true, Name: stayInCgroup, Resources: &cgroups.Resources{}}
	if b.cgroup == "" {
		return c
	}
	c.Name, c.Path = "", b.cgroup
	l := b.spec.Limits
	c.Resources.Memory = l.Memory
	c.Resources.MemorySwap = swapLimit(l)
	if l.PIDs != 0 {
		c.Resources.PidsLimit = &l.PIDs
	}
	if l.CPUs > 0 {
		c.Resources.CpuPeriod = cpuPeriod
		c.Resources.CpuQuota = int64(l.CPUs * cpuPeriod)
	}
	return c
}

// stayInCgroup names a cgroup that cannot be made: the kernel allows no newline in its name. A container without limits
// then stays in its caller's cgroup, and below the limits of that. libcontainer would otherwise move it to a new one
// beside that wherever the user may make one.
const stayInCgroup = "/none\n"

// cpuPeriod is in microseconds, the kernel's default.
const cpuPeriod = 100_000

// swapLimit is in the OCI runtime specification's terms: memory and swap together, 0 for the default.
func swapLimit(l sandbox.Limits) int64 {
	switch {
	case l.Swap < 0:
		return -1
	case l.Memory > 0:
		return l.Memory + l.Swap
	default:
		return 0
	}
}

func shmMount(b *blueprint) *configs.Mount {
	if b.shm != "" {
		return &configs.Mount{Source: b.shm, Destination: "/dev/shm", Device: "bind", Flags: pseudo | unix.MS_BIND}
	}
	return &configs.Mount{Source: "shm", Destination: "/dev/shm", Device: "tmpfs", Flags: pseudo, Data: shmData(b.spec)}
}

// shmData is for /dev/shm, of 64 MiB as in Docker unless another size was asked for.
func shmData(s *sandbox.Spec) string {
	if s.ShmSize == 0 {
		return "mode=1777,size=65536k"
	}
	return fmt.Sprintf("mode=1777,size=%d", s.ShmSize)
}

const pseudo = unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_NODEV

func mounts(b *blueprint) []*configs.Mount {
	list := []*configs.Mount{
		{Source: "proc", Destination: "/proc", Device: "proc", Flags: pseudo},
		{Source: "tmpfs", Destination: "/dev", Device: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
		{Source: "devpts", Destination: "/dev/pts", Device: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: devptsData(b)},
		shmMount(b),
		{Source: "mqueue", Destination: "/dev/mqueue", Device: "mqueue", Flags: pseudo},
		sysMount(b),
	}
	if b.unified {
		list = append(list, &configs.Mount{Source: "cgroup", Destination: "/sys/fs/cgroup", Device: "cgroup", Flags: pseudo | unix.MS_RDONLY})
	}
	for _, m := range slices.Concat(b.files, b.spec.Mounts) {
		list = append(list, mount(m))
	}
	return list
}

// devptsData gives terminals to group 5 (tty in every distribution) where that id is mapped.
func devptsData(b *blueprint) string {
	data := "newinstance,ptmxmode=0666,mode=0620"
	if slices.ContainsFunc(b.gids, func(e extent) bool { return e.first <= 5 && 5 < e.first+e.size }) {
		data += ",gid=5"
	}
	return data
}

// sysMount binds the host's /sys where the network namespace is the host's: the kernel lets only the owner of a network
// namespace mount its sysfs.
func sysMount(b *blueprint) *configs.Mount {
	if b.hostNetwork() {
		return &configs.Mount{Source: "/sys", Destination: "/sys", Device: "bind", Flags: pseudo | unix.MS_RDONLY | unix.MS_BIND | unix.MS_REC}
	}
	return &configs.Mount{Source: "sysfs", Destination: "/sys", Device: "sysfs", Flags: pseudo | unix.MS_RDONLY}
}

func mount(m sandbox.Mount) *configs.Mount {
	if m.Type == sandbox.MountTmpfs {
		return tmpfsMount(m)
	}
	out := &configs.Mount{
		Source: m.Source, Destination: m.Target, Device: "bind", Flags: unix.MS_BIND | unix.MS_REC,
		PropagationFlags: []int{propagation(m.Propagation)},
	}
	if m.ReadOnly {
		out.Flags |= unix.MS_RDONLY
		// What is mounted below the source too (mount_setattr(2), Linux 5.12).
		out.RecAttr = &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	return out
}

func propagation(name string) int {
	switch name {
	case "private":
		return unix.MS_PRIVATE
	case "slave":
		return unix.MS_SLAVE
	case "rslave":
		return unix.MS_SLAVE | unix.MS_REC
	default:
		return unix.MS_PRIVATE | unix.MS_REC
	}
}

func tmpfsMount(m sandbox.Mount) *configs.Mount {
	flags := unix.MS_NOSUID | unix.MS_NODEV
	if !m.Exec {
		flags |= unix.MS_NOEXEC
	}
	if m.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	mode := m.Mode
	if mode == 0 {
		mode = 0o1777
	}
	data := fmt.Sprintf("mode=%o", mode)
	if m.Size > 0 {
		data += fmt.Sprintf(",size=%d", m.Size)
	}
	return &configs.Mount{Source: "tmpfs", Destination: m.Target, Device: "tmpfs", Flags: flags, Data: data}
}
