package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// version and commit may be set by the linker. Otherwise they are what the go command knows.
var version, commit string

// versionInfo is what `bivouac version` prints.
type versionInfo struct {
	Version   string
	Protocol  int // between a program and its keeper
	Commit    string
	GoVersion string
	Os, Arch  string
	Kernel    string

	Client, Server versionSide // this program is both
}

// versionSide is what Docker's templates know of its two programs. There is no API, and so no version of one.
type versionSide struct {
	Version, GitCommit, GoVersion, Os, Arch, KernelVersion string
}

func newVersionCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell which bivouac this is",
		Long: `Tell which bivouac this is, and on what it runs: all that a bug report needs besides "bivouac doctor".

The protocol is what programs that use the Go packages must have in common with the bivouac command. Templates know also Docker's
.Client and .Server, which are the same here.`,
		Example: `  bivouac version
  bivouac version --format '{{.Version}}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return writeVersion(cmd.OutOrStdout(), format) },
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", fmt.Sprintf(formatUsage, "Version"))
	return cmd
}

func writeVersion(w io.Writer, format string) error {
	v := currentVersion()
	if format != "" {
		return writeRows(w, format, []versionInfo{v}, v)
	}
	_, err := fmt.Fprintf(w, "bivouac %s\n  protocol  %d\n  commit    %s\n  go        %s\n  platform  %s/%s\n  kernel    %s\n",
		v.Version, v.Protocol, v.Commit, v.GoVersion, v.Os, v.Arch, v.Kernel)
	return err
}

func currentVersion() versionInfo {
	v := versionInfo{Version: version, Protocol: sandbox.ProtocolVersion, Commit: commit, GoVersion: runtime.Version(),
		Os: runtime.GOOS, Arch: runtime.GOARCH, Kernel: kernelRelease()}
	if build, ok := debug.ReadBuildInfo(); ok {
		v.fill(build)
	}
	if v.Version == "" {
		v.Version = sandbox.Version
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	side := versionSide{v.Version, v.Commit, v.GoVersion, v.Os, v.Arch, v.Kernel}
	v.Client, v.Server = side, side
	return v
}

// fill takes from the build what the linker was not told.
func (v *versionInfo) fill(build *debug.BuildInfo) {
	if v.Version == "" && build.Main.Version != "(devel)" {
		v.Version = build.Main.Version
	}
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" && v.Commit == "" {
			v.Commit = s.Value
		}
	}
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// versionLine is what --version prints, in the form that Docker made usual.
func versionLine() string {
	v := currentVersion()
	return fmt.Sprintf("bivouac version %s, build %s", v.Version, v.Commit[:min(12, len(v.Commit))])
}
