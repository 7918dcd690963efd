package build

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Worker does what needs registries, mounts and containers. Its methods are called from several goroutines at once, at most
// [Parallel] of them in Run and Mount together but for mounts that are held for a Run. All paths are absolute, as the process of the
// package sees them; it is user 0 of the user namespace to which the store's layers belong.
type Worker interface {
	// Pull returns the image of a reference, with its layers unpacked, for FROM, --from and contexts of the form
	// docker-image://REFERENCE. Platform is os/architecture[/variant], never empty; events, never nil, may be called until it returns.
	Pull(ctx context.Context, ref, platform string, events func(rootfs.Event)) (*rootfs.Image, error)
	// Push pushes an image of the store that has no name to a reference of a registry, for [Spec.CacheTo].
	Push(ctx context.Context, image *rootfs.Image, ref string, events func(rootfs.Event)) error
	// Mount mounts an overlay that nobody else sees and returns where. Unmount is called once; after it nothing uses the mount, and
	// the upper directory has all that was written.
	Mount(ctx context.Context, o Overlay) (root string, unmount func() error, err error)
	// Run runs one program to its end, and returns when none of its processes is left and nothing is mounted any more. What it
	// leaves in Upper of the step beside the program's own changes, such as mount points, is for the worker to remove, or to be
	// named by RunStep.Omit.
	//
	// Errors: [*ExitError] for a program that failed, context.Canceled; others are the worker's own.
	Run(ctx context.Context, step *RunStep) error
}

// Overlay is a mount of layers on each other.
type Overlay struct {
	// Lowers are directories, the lowest first, at most [overlay.MaxLower], at least one.
	Lowers []string
	// Upper and Work are directories on the store's file system, made by the caller, Work empty; Upper has mode and owner of the
	// root. Both empty: the mount is read-only.
	Upper, Work string
}

// RunStep is one RUN.
type RunStep struct {
	// Overlay is the root. For FROM scratch it has one empty directory as lower.
	Overlay
	// Args are program and arguments, shell included. Env is all of the environment, in order, without that of secrets; PATH is
	// always there, HOME is not unless the image sets it: it is that of the user.
	Args, Env []string
	// User is as USER says: NAME or NUMBER[:GROUP], looked up in the root; empty is 0. Dir is absolute; the worker makes it if it is
	// missing.
	User, Dir string
	// Platform is os/architecture[/variant] of the image that is being built.
	Platform string
	// Network is host, none, or empty for that of [Spec.Network].
	Network string
	// Mounts are to be mounted in this order.
	Mounts []Mount
	// Stdin is what a heredoc gives to the program; nil is empty.
	Stdin io.Reader
	// Stdout and Stderr take what it writes, from any goroutine.
	Stdout, Stderr io.Writer
	// Name tells the step in messages, as the events do: [build 2/4] RUN make.
	Name string
	// Omit is for Run to set: paths, from the root, that are left out of the layer, since the worker and not the program made them.
	Omit []string
}

// MountKind is the kind of a [Mount].
type MountKind string

// The kinds of mounts.
const (
	MountBind   MountKind = "bind"   // Source, a directory or file of a context, a stage or an image
	MountCache  MountKind = "cache"  // Source, a directory that stays from build to build
	MountTmpfs  MountKind = "tmpfs"  // empty, of Size bytes
	MountSecret MountKind = "secret" // a file with Value, in memory
	MountSSH    MountKind = "ssh"    // Socket, an agent's
)

// Mount is one --mount of RUN, or one of the defaults. All checks of options are done, and what it needs is there and locked.
type Mount struct {
	Kind MountKind
	// Source is an existing directory or file without symlinks in its path. What the program does to it changes nothing but
	// Source, and is to be allowed unless ReadOnly. Of bind and cache only.
	Source string
	// Target is absolute in the root, or empty for a secret that is in the environment only; symlinks in it are the root's.
	Target   string
	ReadOnly bool
	// Size limits a tmpfs, in bytes; 0 is the worker's default.
	Size int64
	// ID is that of a secret or an agent.
	ID string
	// Value is a secret's content, Env the variable that has it, or empty.
	Value []byte
	Env   string
	// Socket is the path of an agent's socket. Env of the first is SSH_AUTH_SOCK, set already to Target in RunStep.Env.
	Socket string
	// Mode, UID and GID are those of a secret's file or an agent's socket.
	Mode     fs.FileMode
	UID, GID uint32
}

// ExitError is a program that did not end well.
type ExitError struct {
	Args []string
	// Code is the exit code, 128 and the signal's number for one that a signal ended, as a shell counts.
	Code int
	// OOMKilled tells that the memory limit ended it.
	OOMKilled bool
}

func (e *ExitError) Error() string {
	if e.OOMKilled {
		return fmt.Sprintf("process %s did not complete successfully: exit code: %d: out of memory", quoted(e.Args), e.Code)
	}
	return fmt.Sprintf("process %s did not complete successfully: exit code: %d", quoted(e.Args), e.Code)
}
