package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bivouac-run/bivouac/userns"
)

// dockerCaps are the capabilities of a container by default (moby daemon/pkg/oci/caps/defaults.go).
var dockerCaps = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// Docker's lists (moby daemon/pkg/oci/defaults.go).
var (
	dockerMasked = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	dockerReadonly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// makeBundle makes a bundle of the OCI runtime specification in an empty directory: busybox, confined as by bivouac, with
// the ids of m.
func makeBundle(corpus, dir string, m userns.Mapping) error {
	if err := unpackBusybox(corpus, filepath.Join(dir, "rootfs")); err != nil {
		return err
	}
	profile, err := dockerProfile()
	if err != nil {
		return err
	}
	text, err := json.Marshal(bundleSpec(profile, m))
	if err != nil {
		return fmt.Errorf("encode bundle: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
}

// dockerProfile returns Docker's seccomp profile for dockerCaps, in full: for all that this machine executes.
func dockerProfile() (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.GetDefaultProfile(bundleSpec(nil, userns.Mapping{}))
	if err != nil {
		return nil, fmt.Errorf("make seccomp profile: %w", err)
	}
	return profile, nil
}

// bundleSpec specifies what bivouac does by default: the same namespaces, mounts,
// capabilities and masks. It leaves out what bivouac adds, which costs the others less: the overlay, /etc/hosts and its
// like, and on machines with cgroup v2 its file system.
func bundleSpec(profile *specs.LinuxSeccomp, m userns.Mapping) *specs.Spec {
	return &specs.Spec{
		Version: "1.0.2", // that of the oldest runtime that is measured
		Process: &specs.Process{
			Args:            []string{"/bin/true"},
			Env:             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cwd:             "/",
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{Bounding: dockerCaps, Effective: dockerCaps, Permitted: dockerCaps},
		},
		Root:     &specs.Root{Path: "rootfs"},
		Hostname: "bench",
		Mounts:   bundleMounts(),
		Linux: &specs.Linux{
			UIDMappings:   bundleIDs(m.UIDs),
			GIDMappings:   bundleIDs(m.GIDs),
			Namespaces:    bundleNamespaces(),
			Seccomp:       profile,
			MaskedPaths:   dockerMasked,
			ReadonlyPaths: dockerReadonly,
		},
	}
}

func bundleIDs(maps []userns.IDMap) []specs.LinuxIDMapping {
	out := make([]specs.LinuxIDMapping, len(maps))
	for i, m := range maps {
		out[i] = specs.LinuxIDMapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size}
	}
	return out
}

func bundleNamespaces() []specs.LinuxNamespace {
	return []specs.LinuxNamespace{
		{Type: specs.UserNamespace}, {Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
		{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.CgroupNamespace},
	}
}

func bundleMounts() []specs.Mount {
	mount := func(kind, target string, options ...string) specs.Mount {
		return specs.Mount{Type: kind, Source: kind, Destination: target, Options: options}
	}
	return []specs.Mount{
		mount("proc", "/proc", "nosuid", "noexec", "nodev"),
		mount("tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
		mount("tmpfs", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
		mount("mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"),
		mount("sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
	}
}
