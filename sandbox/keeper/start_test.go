package keeper

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

func TestStartErrorsAreForTheUser(t *testing.T) {
	const chain = "unable to start container process: error during container init: "
	for text, want := range map[string]*sandbox.Error{
		chain + "mkdir /etc/passwd: not a directory":                         {Code: sandbox.CodeInvalid, Message: `make the working directory "/etc/passwd": not a directory`},
		chain + "can't mask paths: open /dev/null: no such file":             {Code: sandbox.CodeMount, Message: "start container: /dev/null is not there"},
		chain + `error mounting "/a" to rootfs at "/b": mkdir /b: read-only`: {Code: sandbox.CodeMount, Message: "mount /a on /b: read-only"},
		"runc:[1]: failed to unshare: No space left on device":               {Code: sandbox.CodeInternal, Message: "start container: the kernel's limit"},
		"open x: Too many open files":                                        {Code: sandbox.CodeInternal, Message: "start container: open x"},
	} {
		got := toWire(startError(errors.New(text)))
		if got.Code != want.Code || !strings.HasPrefix(got.Message, want.Message) || got.Remedy == "" {
			t.Errorf("%s: got %+v", text, got)
		}
	}
}

func TestExecErrorsAreForTheUser(t *testing.T) {
	c, exec := &container{image: &rootfs.Image{}}, report{}
	for stage, name := range stageNames {
		if name == "execute the program" {
			exec.stage = stage
		}
	}
	for errno, want := range map[unix.Errno]string{unix.E2BIG: "give it less", unix.ENOEXEC: "architecture", unix.EACCES: "permissions", unix.ENOENT: "$PATH"} {
		exec.errno = errno
		if err := c.execError("x", exec); !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v lacks %q", errno, err, want)
		}
	}
}
