package sandbox

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// Spec says what to run and how to confine it. It is a plain value: printable, comparable with reflect.DeepEqual, and
// without effect until [Client.Run] or [Client.Create]. Its zero value but for Image runs the image as its author meant, with Docker's
// default confinement and no network.
type Spec struct {
	// Image is a reference: a registry's name, or one with a transport as in containers-transports(5) (oci:DIR[:TAG],
	// oci-archive:FILE, docker-archive:FILE, rootfs:DIR, host:).
	Image string `json:"image"`
	// Get says when and how the image is fetched.
	Get ImageOptions `json:"get,omitzero"`

	// Name identifies the container for people; empty means its id.
	Name string `json:"name,omitempty"`
	// Hostname is the container's host name; empty means its id.
	Hostname string `json:"hostname,omitempty"`

	// Args replaces the image's command.
	Args []string `json:"args,omitempty"`
	// Entrypoint replaces the image's entrypoint unless nil, and then the image's command is not used either. A pointer to an
	// empty list removes it.
	Entrypoint *[]string `json:"entrypoint,omitempty"`
	// Env adds to the image's environment, as NAME=VALUE; the last of a name wins.
	Env []string `json:"env,omitempty"`
	// User is USER[:GROUP] by name or number; empty means the image's.
	User string `json:"user,omitempty"`
	// WorkingDir is an absolute path, made if missing; empty means the image's.
	WorkingDir string `json:"working_dir,omitempty"`
	// StopSignal is the signal that asks the program to end, such as SIGTERM; empty means the image's, or SIGTERM.
	StopSignal string `json:"stop_signal,omitempty"`
	// StopTimeout is how many seconds after it `bivouac stop` kills; nil means 10, -1 never.
	StopTimeout *int `json:"stop_timeout,omitempty"`
	// GroupAdd are further groups of the program's user, names of the image or numbers.
	GroupAdd []string `json:"group_add,omitempty"`
	// ExtraHosts are lines for /etc/hosts, as NAME:ADDRESS. Not with host:, whose /etc/hosts is the machine's.
	ExtraHosts []string `json:"extra_hosts,omitempty"`
	// ShmSize is the size of /dev/shm in bytes; 0 means 64 MiB.
	ShmSize int64 `json:"shm_size,omitempty"`

	// Terminal gives the program a terminal; its other end is [Container.Terminal].
	Terminal *TerminalSize `json:"terminal,omitempty"`
	// Init keeps a small init as pid 1 that forwards signals and reaps orphans.
	Init bool `json:"init,omitempty"`

	// Checkpointable prepares for [Container.Checkpoint] with processes: the program is not pid 1 but the child of a small
	// init, orphans become the program's children, and connections do not use MPTCP. Needs a network of its own and no
	// terminal, and contradicts Init, which would keep orphans for itself.
	Checkpointable bool `json:"checkpointable,omitempty"`

	// ReadOnly makes the root file system read-only.
	ReadOnly bool `json:"read_only,omitempty"`
	// Mounts are put into the container in their order.
	Mounts []Mount `json:"mounts,omitempty"`
	// Keep gives the container a record and its changed files a place in the store. It stays, whether its program runs or not,
	// until it is removed ([Client.RemoveContainer]); otherwise it is discarded with its client.
	Keep bool `json:"keep,omitempty"`
	// AutoRemove has `bivouac start` discard a container that is kept at its program's end.
	AutoRemove bool `json:"auto_remove,omitempty"`
	// Restart says when the program is started again after its end.
	Restart RestartPolicy `json:"restart,omitzero"`
	// Health replaces the image's health check; a Test of NONE switches it off.
	Health *Healthcheck `json:"health,omitempty"`
	// Monitor has the keeper run the health check while the program runs, for [Status.Health].
	Monitor bool `json:"monitor,omitempty"`
	// Log says how much of the program's output is kept.
	Log LogOptions `json:"log,omitzero"`
	// OpenStdin keeps the program's standard input open while nobody is attached, for [Streams.Held].
	OpenStdin bool `json:"open_stdin,omitempty"`
	// StdinOnce ends the program's standard input together with the first one that is attached to it; otherwise it goes on to
	// wait for others. Not with a terminal.
	StdinOnce bool `json:"stdin_once,omitempty"`
	// VolumesFrom mounts the volumes and bind mounts of other containers, by name or id, with :ro read-only.
	VolumesFrom []string `json:"volumes_from,omitempty"`

	// Labels add to the image's, for people and programs to tell containers apart.
	Labels map[string]string `json:"labels,omitempty"`

	// Listed lets other programs of the same user find the container, as `bivouac ps` does, by a socket in the [RuntimeDir].
	Listed bool `json:"listed,omitempty"`

	// Network is what the program can reach.
	Network Network `json:"network,omitempty"`
	// Publish are ports of the host that reach the container.
	Publish []PortMapping `json:"publish,omitempty"`
	// Expose adds to the ports that the image exposes, as PORT/PROTOCOL.
	Expose []string `json:"expose,omitempty"`
	// PublishAll publishes every port that is exposed, on free ports of 127.0.0.1.
	PublishAll bool `json:"publish_all,omitempty"`
	// HoldPorts has connections to published ports wait until [Container.OpenPorts].
	HoldPorts bool `json:"hold_ports,omitempty"`

	// CapAdd and CapDrop change Docker's default capability set, as in Docker: CAP_ may be left out, ALL is known.
	CapAdd  []string `json:"cap_add,omitempty"`
	CapDrop []string `json:"cap_drop,omitempty"`
	// Seccomp is a profile in Docker's JSON form; empty means Docker's default, "unconfined" none.
	Seccomp string `json:"seccomp,omitempty"`
	// UnmaskPaths leaves Docker's masked and read-only paths of /proc and /sys as they are.
	UnmaskPaths bool `json:"unmask_paths,omitempty"`

	Ulimits []Ulimit `json:"ulimits,omitempty"`
	Limits  Limits   `json:"limits,omitzero"`
}

// ImageOptions says when and how an image is fetched. The zero value fetches from its registry what is not in the store.
type ImageOptions struct {
	Pull PullPolicy `json:"pull,omitempty"`
	// Platform is os/architecture[/variant]; empty means the machine's.
	Platform string `json:"platform,omitempty"`
	// PlainHTTP allows a registry without TLS that is not on loopback.
	PlainHTTP bool `json:"plain_http,omitempty"`
	// CAFile is a PEM file of certificate authorities to trust besides the system's.
	CAFile string `json:"ca_file,omitempty"`
	// IgnoreChownErrors gives files whose owner is outside the mapped range to the overflow id instead of refusing them.
	IgnoreChownErrors bool `json:"ignore_chown_errors,omitempty"`
	// MaxUnpackedSize bounds the bytes of all unpacked layers; 0 means no limit.
	MaxUnpackedSize int64 `json:"max_unpacked_size,omitempty"`
}

// PullPolicy says when a registry is asked for an image.
type PullPolicy string

// The policies.
const (
	PullMissing PullPolicy = "missing" // if the store has none; also the meaning of ""
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
)

// Network is what a container can reach.
type Network string

// The networks.
const (
	NetworkNone Network = "none" // a loopback of its own and nothing else; also the meaning of ""
	NetworkHost Network = "host" // the host's network namespace
)

// PortMapping is a port of the host that reaches one of the container.
type PortMapping struct {
	// HostIP is an address of the host; empty means 127.0.0.1.
	HostIP string `json:"host_ip,omitempty"`
	// HostPort is the host's port; 0 means a free one.
	HostPort uint16 `json:"host_port,omitempty"`
	// HostPortLast, if it is greater than HostPort, is the end of a range of which a free port is taken.
	HostPortLast uint16 `json:"host_port_last,omitempty"`
	// Port is the container's port.
	Port uint16 `json:"port"`
	// Protocol is tcp or udp; empty means tcp.
	Protocol string `json:"protocol,omitempty"`
}

// MountType is the kind of a [Mount].
type MountType string

// The kinds of mounts.
const (
	MountBind   MountType = "bind"
	MountTmpfs  MountType = "tmpfs"
	MountVolume MountType = "volume"
)

// Mount puts a host path, a volume or a memory file system into the container.
type Mount struct {
	Type MountType `json:"type"`
	// Source is the absolute host path of a bind mount, which must exist, or a volume's name. A volume is made if it is
	// missing; without a name it is an anonymous one, which is removed together with the container if that is asked for.
	Source string `json:"source,omitempty"`
	// NoCopy leaves an empty volume empty, instead of giving it what the image has at Target.
	NoCopy bool `json:"no_copy,omitempty"`
	// Target is an absolute path in the container, made if missing.
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Size of a tmpfs in bytes; 0 means the kernel's default, half of the memory.
	Size int64 `json:"size,omitempty"`
	// Mode of a tmpfs's root; 0 means 01777.
	Mode uint32 `json:"mode,omitempty"`
	// Exec allows programs to be run from a tmpfs.
	Exec bool `json:"exec,omitempty"`
	// Propagation of a bind mount: private, rprivate, slave or rslave; empty means rprivate.
	Propagation string `json:"propagation,omitempty"`
}

// RestartPolicy says when a program is started again. The zero value never does.
type RestartPolicy struct {
	Name RestartName `json:"name,omitempty"`
	// MaxRetries bounds the starts of on-failure; 0 means no bound.
	MaxRetries int `json:"max_retries,omitempty"`
}

// RestartName is the kind of a [RestartPolicy].
type RestartName string

// The kinds of restart policies. A program that was stopped or killed by request is not started again by any of them. Nothing
// starts containers when the machine starts: there is no daemon.
const (
	RestartNo            RestartName = "no" // also the meaning of ""
	RestartAlways        RestartName = "always"
	RestartOnFailure     RestartName = "on-failure" // after an exit code other than 0
	RestartUnlessStopped RestartName = "unless-stopped"
)

// LogOptions bound a container's log. The zero value keeps two files of 10 MB.
type LogOptions struct {
	// None keeps no log; the output is lost unless somebody is attached.
	None bool `json:"none,omitempty"`
	// MaxSize is the size of one file in bytes, at least 4096; 0 means 10 MB.
	MaxSize int64 `json:"max_size,omitempty"`
	// MaxFiles is how many files there are, of which the oldest is given up; 0 means 2.
	MaxFiles int `json:"max_files,omitempty"`
	// Labels and Env name labels and variables of the container that tell logs apart: details of each line, see `bivouac logs`.
	Labels []string `json:"labels,omitempty"`
	Env    []string `json:"env,omitempty"`
}

// TerminalSize is a terminal's size in characters; zero means the kernel's default.
type TerminalSize struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// Ulimit is a resource limit of setrlimit(2).
type Ulimit struct {
	// Name is the lower-case name without RLIMIT_, such as nofile.
	Name string `json:"name"`
	// Soft and Hard are in the limit's own unit; -1 means unlimited.
	Soft int64 `json:"soft"`
	Hard int64 `json:"hard"`
}

// Limits are the limits that need a delegated cgroup. Zero means none.
type Limits struct {
	// Memory and Swap in bytes; Swap is what may be swapped beyond Memory, -1 unlimited.
	Memory int64 `json:"memory,omitempty"`
	Swap   int64 `json:"swap,omitempty"`
	// CPUs is how many CPUs' time may be used, such as 1.5.
	CPUs float64 `json:"cpus,omitempty"`
	// PIDs is the greatest number of tasks.
	PIDs int64 `json:"pids,omitempty"`
	// BestEffort starts the container also where the limits cannot be enforced.
	BestEffort bool `json:"best_effort,omitempty"`
}

// IsZero tells whether nothing is limited.
func (l Limits) IsZero() bool { return l.Memory == 0 && l.Swap == 0 && l.CPUs == 0 && l.PIDs == 0 }

// checkText refuses what would not reach the keeper as it is: messages are JSON, whose text is UTF-8.
func (s *Spec) checkText() error {
	texts := slices.Concat([]string{s.Image, s.Name, s.Hostname, s.User, s.WorkingDir, s.Seccomp, s.Get.CAFile}, s.Args, s.Env, s.GroupAdd, s.ExtraHosts)
	if s.Entrypoint != nil {
		texts = append(texts, *s.Entrypoint...)
	}
	for _, m := range s.Mounts {
		texts = append(texts, m.Source, m.Target)
	}
	for name, value := range s.Labels {
		texts = append(texts, name, value)
	}
	return checkUTF8(fmt.Sprintf("run %q", s.Image), texts)
}

// checkUTF8 names the first text that is not UTF-8.
func checkUTF8(doing string, texts []string) error {
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return Errorf(CodeInvalid, "%s: %q is not valid UTF-8", doing, t).WithRemedy("pass such bytes in a file, or escaped")
		}
	}
	return nil
}
