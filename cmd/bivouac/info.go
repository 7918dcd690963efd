package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/docker/cli/pkg/kvfile"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

func newInfoCommand() *cobra.Command {
	format := ""
	cmd := &cobra.Command{
		Use:   "info [flags]",
		Short: "Show what this program has, and where",
		Long: `Show how many containers and images there are, where they are kept, and what machine this is. What this machine can do, and
what would mend it, is told by bivouac doctor.

Templates know .ServerVersion .Containers .ContainersRunning .ContainersPaused .ContainersStopped .Images .Driver .CgroupVersion
.KernelVersion .OperatingSystem .OSType .Architecture .NCPU .MemTotal .DockerRootDir .Name .SecurityOptions .LoggingDriver
.Swarm.LocalNodeState, as Docker's do.`,
		Example: `  bivouac info
  bivouac info --format '{{.Images}} images in {{.DockerRootDir}}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := collectInfo(cmd.Context())
			if err != nil {
				return err
			}
			if format != "" {
				return writeRows(cmd.OutOrStdout(), format, []systemInfo{i}, systemInfo{})
			}
			return writeInfo(cmd.OutOrStdout(), &i)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "print with `FORMAT`: json or a Go template")
	return cmd
}

// systemInfo has Docker's names for what it tells.
type systemInfo struct {
	ServerVersion                                                      string
	Containers, ContainersRunning, ContainersPaused, ContainersStopped int
	Images                                                             int
	Driver, CgroupVersion, KernelVersion, OSType, Architecture         string
	NCPU                                                               int
	MemTotal                                                           int64
	DockerRootDir, Name                                                string
	SecurityOptions                                                    []string
	OperatingSystem, LoggingDriver                                     string
	Swarm                                                              systemSwarm
}

// systemSwarm says what scripts ask for: that there is none.
type systemSwarm struct{ LocalNodeState string }

func collectInfo(ctx context.Context) (i systemInfo, err error) {
	if i.DockerRootDir, err = rootfs.DefaultDir(); err != nil {
		return i, err
	}
	list, _ := sandbox.Containers(ctx) // those that answer
	for _, c := range list {
		i.Containers++
		switch c.State {
		case sandbox.StateRunning, sandbox.StateRestarting:
			i.ContainersRunning++
		case sandbox.StatePaused:
			i.ContainersPaused++
		default:
			i.ContainersStopped++
		}
	}
	store, err := rootfs.Open(i.DockerRootDir, rootfs.StoreOptions{})
	if err != nil {
		return i, err
	}
	images, err := store.List()
	ids := map[string]bool{}
	for _, image := range images {
		ids[image.ID.String()] = true
	}
	i.Images = len(ids)
	i.machine()
	return i, err
}

// machine fills in what is not ours.
func (i *systemInfo) machine() {
	i.ServerVersion, i.Driver, i.OSType, i.Architecture = sandbox.Version, "overlay", runtime.GOOS, runtime.GOARCH
	i.OperatingSystem, i.LoggingDriver, i.Swarm = systemName("/etc/os-release"), "json-file", systemSwarm{"inactive"}
	i.NCPU, i.SecurityOptions = runtime.NumCPU(), []string{"seccomp", "rootless"}
	i.Name, _ = os.Hostname()
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		i.KernelVersion = unix.ByteSliceToString(name.Release[:])
		i.Architecture = unix.ByteSliceToString(name.Machine[:]) // as Docker has it here: x86_64, aarch64
	}
	var memory unix.Sysinfo_t
	if unix.Sysinfo(&memory) == nil {
		i.MemTotal = int64(memory.Totalram) * int64(memory.Unit) //nolint:unconvert // 32 bits wide on some machines
	}
	var st unix.Statfs_t
	i.CgroupVersion = "1"
	if unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		i.CgroupVersion = "2"
	}
}

// systemName is what a distribution calls itself (os-release(5)), or else just Linux.
func systemName(path string) string {
	values, err := kvfile.Parse(path, nil)
	if err != nil {
		return "Linux"
	}
	for _, line := range values {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return "Linux"
}

func writeInfo(w io.Writer, i *systemInfo) error {
	var out bytes.Buffer
	for _, line := range []struct {
		name  string
		value any
	}{
		{"Containers", i.Containers}, {" Running", i.ContainersRunning}, {" Paused", i.ContainersPaused}, {" Stopped", i.ContainersStopped},
		{"Images", i.Images}, {"Server Version", i.ServerVersion}, {"Storage Driver", i.Driver}, {"Cgroup Version", i.CgroupVersion},
		{"Security Options", strings.Join(i.SecurityOptions, ", ")}, {"Kernel Version", i.KernelVersion}, {"Operating System", i.OperatingSystem}, {"OSType", i.OSType},
		{"Architecture", i.Architecture}, {"CPUs", i.NCPU}, {"Total Memory", units.BytesSize(float64(i.MemTotal))}, {"Name", i.Name},
		{"Store", i.DockerRootDir},
	} {
		fmt.Fprintf(&out, "%s: %v\n", line.name, line.value)
	}
	return show(w, out.Bytes())
}
