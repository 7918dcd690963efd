package keeper

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// firstEnv is the environment of the first process until it becomes the program. HOME keeps libcontainer from reading
// the image's passwd for it.
var firstEnv = []string{"_BIVOUAC_INIT=1", "HOME=/"}

// goOneThread makes libcontainer's init, which gets this variable from us, start with a single scheduler thread.
var goOneThread = sync.OnceValue(func() error { return os.Setenv("GOMAXPROCS", "1") })

// start runs the container and returns once its program is being executed. The quick way is tried first where there is
// one; libcontainer's own init then has the last word on what cannot be done, and says it.
func (c *container) start(stdio []*os.File) error {
	if err := errors.Join(goOneThread(), checkStdio(c.spec.Terminal != nil, stdio)); err != nil {
		return err
	}
	c.wake()
	done, err := c.startQuickly(stdio)
	if done {
		return err
	}
	if c.asleep {
		return checkpointError("libcontainer's own init cannot restore them").WithRemedy("unset %s, and see bivouac doctor for what the quick start needs", startEnv)
	}
	c.plan.stage = nil
	failed, err := c.attempt(stdio)
	return cmp.Or(failed, err)
}

// attempt makes the processes of the container. It tells apart what failed before there was a container to execute the
// program in, and why the program could not be executed.
func (c *container) attempt(stdio []*os.File) (failed, err error) {
	plan, err := c.plan.file()
	if err != nil {
		return nil, err
	}
	defer plan.Close()
	ours, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	defer theirs.Close()
	c.first = &libcontainer.Process{
		Init: true, Args: []string{"/proc/self/exe"}, Env: firstEnv, Cwd: c.proc.dir, LogLevel: "2",
		ExtraFiles: []*os.File{plan, theirs},
	}
	c.setUser()
	if err := c.launch(stdio); err != nil {
		theirs.Close()
		c.destroy()
		return c.explain(ours, err), nil
	}
	theirs.Close()
	first := c.first
	return nil, c.awaitExec(ours, c.proc.args[0], func(listener *os.File) { serveEmulation(listener, c.emulated(), first) })
}

// destroy forgets libcontainer's container, with what it left of one that it could not make.
func (c *container) destroy() {
	if c.lc != nil {
		if _, err := c.first.Pid(); err == nil { // where no process could be made, libcontainer's Signal panics
			_ = c.lc.Signal(unix.SIGKILL)
		}
		_ = c.lc.Destroy()
		c.lc = nil
	}
	c.leaveCgroup()
	_ = os.RemoveAll(filepath.Join(c.k.run, "state", c.id))
}

// setUser has libcontainer become the user. A user whose id is emulated really is root without capabilities.
func (c *container) setUser() {
	if c.k.single() {
		return
	}
	c.first.UID, c.first.GID, c.first.AdditionalGroups = c.user.uid, c.user.gid, c.user.groups
}

func (c *container) launch(stdio []*os.File) error {
	console, err := connect(c.first, c.spec.Terminal, stdio)
	if err != nil {
		return err
	}
	defer console.close()
	if c.asleep {
		c.waker = c.callCRIU(stdio)
	}
	if c.lc, err = libcontainer.Create(filepath.Join(c.k.run, "state"), c.id, c.config); err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	if err := c.lc.Start(c.first); err != nil {
		return startError(err)
	}
	if c.terminal, err = console.take(); err != nil {
		return err
	}
	if err := c.fillMemory(); err != nil {
		return err
	}
	if c.asleep {
		pid, err := c.first.Pid()
		if err != nil {
			return fmt.Errorf("restore container %s: %w", c.displayName(), err)
		}
		c.waker.first <- pid
	}
	if err := c.lc.Exec(); err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	c.exited = c.k.children.wait(c.first)
	return nil
}

// mountFailure is how libcontainer tells of a failed mount, at the end of a chain of causes.
const mountFailure = `error mounting "(.*?)" to rootfs at "(.*?)": (?:.*: )?(.*)`

// workdirFailure is how it tells that the working directory cannot be made.
const workdirFailure = `error during container init: mkdir (.*): (.*)`

// isNamespaceLimit tells of what the kernel says where a user has as many namespaces as user.max_*_namespaces allow.
func isNamespaceLimit(text string) bool {
	return strings.Contains(text, "failed to unshare") && strings.Contains(text, "No space left on device")
}

// startError says of libcontainer's chain of causes what concerns the user, where it is known.
func startError(err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	if m := regexp.MustCompile(mountFailure).FindStringSubmatch(text); m != nil {
		return sandbox.Errorf(sandbox.CodeMount, "mount %s on %s: %s", m[1], m[2], m[3]).
			WithRemedy("check that source and target are both directories or both files, and that the image lets the target be made")
	}
	if m := regexp.MustCompile(workdirFailure).FindStringSubmatch(text); m != nil {
		return sandbox.Errorf(sandbox.CodeInvalid, "make the working directory %q: %s", m[1], m[2]).WithRemedy("choose another one with --workdir")
	}
	if strings.Contains(text, "mask paths: open /dev/null") {
		return sandbox.Errorf(sandbox.CodeMount, "start container: /dev/null is not there: what is mounted on /dev lacks it").
			WithRemedy("mount nothing there, or use an image without a volume there")
	}
	if isNamespaceLimit(text) {
		return sandbox.Errorf(sandbox.CodeInternal, "start container: the kernel's limit of namespaces is reached").
			WithRemedy("run fewer containers at once, or raise it: sudo sysctl -w user.max_user_namespaces=28633")
	}
	e := sandbox.Errorf(sandbox.CodeInternal, "start container: %s", text)
	text = strings.ToLower(text) // C's words and Go's differ in that
	switch {
	case strings.Contains(text, "too many open files"):
		return e.WithRemedy("raise --ulimit nofile, or your own limit of open files")
	case strings.Contains(text, "no space left on device"):
		return e.WithRemedy("free some memory or disk space")
	case strings.Contains(text, "resource temporarily unavailable"):
		return e.WithRemedy("raise --ulimit nproc, or your own limit of processes")
	}
	return e
}

// awaitExec reads what the process of a plan reports until its end of the socket is closed by executing the program. serve
// gets the listener of its notifying filter.
func (c *container) awaitExec(s *socket, program string, serve func(listener *os.File)) error {
	for {
		message, file, err := s.receive()
		if err != nil {
			return fmt.Errorf("read the process's report: %w", err)
		}
		switch r, failed := parseReport(message); {
		case failed:
			return c.execError(program, r)
		case file != nil:
			go serve(file)
		case len(message) == 0:
			return nil
		}
	}
}

// serveEmulation answers for the ids that the machine's user does not have, until the process and what it has started end.
// Without answers they would wait forever, so the process ends with its emulation.
func serveEmulation(listener *os.File, o emulate.Options, p *libcontainer.Process) {
	defer listener.Close()
	if err := emulate.Serve(listener, o); err != nil {
		fmt.Fprintf(os.Stderr, "bivouac: emulate ids: %v\n", err)
		_ = p.Signal(unix.SIGKILL)
	}
}

func (c *container) emulated() emulate.Options { return c.emulatedAs(c.user) }

func (c *container) execError(program string, r report) error {
	if !r.atExec() {
		return sandbox.Errorf(sandbox.CodeInternal, "start %q: %s", program, r)
	}
	if r.errno == unix.ENOENT || r.errno == unix.ENOTDIR {
		if c.image.Host {
			return noHostProgram(program)
		}
		return sandbox.Errorf(sandbox.CodeNoProgram, "execute %q: not found in the image, or its interpreter is not", program).
			WithRemedy("check the path and $PATH of the image")
	}
	e := sandbox.Errorf(sandbox.CodeNotExecutable, "execute %q: %v", program, r.errno)
	switch r.errno {
	case unix.ENOEXEC:
		return e.WithRemedy("it may be for another architecture, or a script without #!")
	case unix.E2BIG:
		return e.WithRemedy("give it less: one argument or variable may have 128 KiB, all together a quarter of the stack's limit")
	}
	return e.WithRemedy("check its permissions for the container's user")
}
