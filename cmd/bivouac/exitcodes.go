package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

// The exit codes that belong to no error code. Those of `run` are Docker's: whatever lies below 125 is the program's.
const (
	exitUsage         = 2
	exitRunFailed     = 125
	exitNotExecutable = 126
	exitNoProgram     = 127
)

// exitCodes gives each kind of error the exit code of the verbs other than run. The numbers are stable: scripts depend
// on them.
var exitCodes = []struct {
	code    sandbox.Code
	exit    int
	meaning string
}{
	{sandbox.CodeInternal, 1, "anything that has no number of its own"},
	{"usage", exitUsage, "the command line makes no sense"},
	{sandbox.CodeUnsupported, 10, "this machine or kernel cannot do it, see bivouac doctor"},
	{sandbox.CodeInvalid, 11, "the request contradicts itself or the image"},
	{sandbox.CodeProtocol, 12, "the keeper is not there, or is of another version"},
	{sandbox.CodeAlreadyFinished, 13, "the container has ended"},
	{sandbox.CodeNotRunning, 14, "the container was not started yet"},
	{sandbox.CodeBadReference, 20, "the image's name cannot be read"},
	{sandbox.CodeNotFound, 21, "there is no such image, tag or file"},
	{sandbox.CodeUnauthorized, 22, "the registry wants other credentials"},
	{sandbox.CodeUnreachable, 23, "the registry does not answer"},
	{sandbox.CodeInsecure, 24, "the registry is only to be had without trusted TLS"},
	{sandbox.CodeNoPlatform, 25, "the image has nothing for the platform"},
	{sandbox.Code(rootfs.RateLimited), 26, "the registry wants to be asked later"},
	{sandbox.Code(rootfs.Blocked), 27, "registries.conf forbids the registry"},
	{sandbox.CodeDigestMismatch, 30, "content differs from its digest"},
	{sandbox.CodeTruncated, 31, "content ends early"},
	{sandbox.CodeBadArchive, 32, "a layer or archive is malformed or hostile"},
	{sandbox.CodeTooLarge, 33, "the image exceeds a limit"},
	{sandbox.CodeUnmappedID, 34, "a file's owner is outside the mapped range of ids"},
	{sandbox.Code(rootfs.BadImage), 35, "a manifest, index or configuration is malformed"},
	{sandbox.CodeNoSpace, 40, "the disk is full"},
	{sandbox.CodeNoXattr, 41, "the store's file system lacks extended attributes"},
	{sandbox.Code(rootfs.BadConfig), 42, "a configuration file or the store cannot be used"},
	{sandbox.CodeUnknownUser, 50, "the image has no such user"},
	{sandbox.CodeNameInUse, 51, "another container has the name"},
	{sandbox.CodeMount, 52, "a mount's source or target cannot be used"},
	{sandbox.CodeLimits, 53, "a limit cannot be enforced"},
	{sandbox.CodePort, 54, "a port of the host cannot be bound"},
	{sandbox.CodeRefused, 55, "nothing in the container accepts the connection"},
	{sandbox.CodeCheckpoint, 56, "the container's processes cannot be checkpointed or restored"},
	{sandbox.CodeStale, 57, "a snapshot is damaged, or was made on another machine or kernel"},
	{sandbox.CodeInUse, 58, "a container, or another program, has the object"},
	{sandbox.CodeBuild, 59, "a step of a build failed"},
	{sandbox.CodeNotExecutable, exitNotExecutable, "the program cannot be executed"},
	{sandbox.CodeNoProgram, exitNoProgram, "the program is not in the image"},
}

// exitCodeOf is the exit code with which every verb but run ends after err; 0 for nil.
func exitCodeOf(err error) int {
	if err == nil {
		return 0
	}
	if stopped := (*interruption)(nil); errors.As(err, &stopped) {
		return 128 + int(stopped.signal)
	}
	code := codeOf(err)
	for _, c := range exitCodes {
		if c.code == code {
			return c.exit
		}
	}
	return 1
}

// codeOf finds the kind of error, on whichever side of the keeper's socket it arose.
func codeOf(err error) sandbox.Code {
	usage, stored, unsupported := (*usageError)(nil), (*rootfs.Error)(nil), (*userns.Unsupported)(nil)
	switch {
	case errors.As(err, &usage):
		return "usage"
	case errors.As(err, &stored):
		return sandbox.Code(stored.Code)
	case errors.As(err, &unsupported):
		return sandbox.CodeUnsupported
	}
	return sandbox.CodeOf(err)
}

func newExitCodesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("\"bivouac run\", exec, attach, test and try end with the exit code of their program (128 and the signal's number if a\n" +
		"signal killed it), or with 124 if --timeout was reached, 125 if bivouac failed, 126 if the program cannot be executed\n" +
		"and 127 if there is none.\n\n" +
		"The other commands end with 0, or with what the error is:\n\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&text, "  %3d  %-16s %s\n", c.exit, c.code, c.meaning)
	}
	text.WriteString("  130  interrupted      by Ctrl-C; 128 and the number of another signal")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: text.String()}
}
