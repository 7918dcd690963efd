package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper/bridge"
	"github.com/bivouac-run/bivouac/snapshot/criu"
)

// criuFinder looks for CRIU once.
type criuFinder struct {
	once  sync.Once
	found *criu.Installation
	err   error
}

// find returns a CRIU that is new enough.
//
// Errors: CodeCheckpoint.
func (f *criuFinder) find() (*criu.Installation, error) {
	f.once.Do(func() { f.found, f.err = criu.Find(context.Background()) })
	if f.err != nil {
		return nil, checkpointError("%v", f.err).WithRemedy("%s", criu.Remedy)
	}
	return f.found, nil
}

// checkpointError is of CodeCheckpoint.
func checkpointError(format string, args ...any) *sandbox.Error {
	return sandbox.Errorf(sandbox.CodeCheckpoint, "checkpoint processes: "+format, args...)
}

// criuRun is a CRIU that is executed in a container to serve one request.
type criuRun struct {
	process *guestProcess
	conn    *net.UnixConn
	work    string // CRIU's working directory
	images  string // paths as CRIU has them
	streams []int  // CRIU's descriptors of the streams
	ended   func()
}

// criuOptions say how CRIU is executed.
type criuOptions struct {
	images   string // directory
	writable bool
	streams  []*os.File
	notify   []byte
	serve    func(listener *os.File)
}

// logFile is CRIU's log in its working directory.
const logFile = "criu.log"

// startCRIU executes CRIU in the namespaces of the container, as root of these and unconfined, once the number of the
// container's first process comes from first; it is closed if that is not to be. The directories that CRIU needs are
// descriptors of mounts that are nowhere.
func (c *container) startCRIU(first <-chan int, o criuOptions) (*criuRun, error) {
	i, err := c.k.criu.find()
	if err != nil {
		return nil, err
	}
	g := &guest{notify: o.notify, time: c.clock != nil, cgroup: c.cgroupDir()}
	defer g.close()
	r := &criuRun{work: filepath.Join(c.area.dir, "criu")}
	if err := r.furnish(g, i, filepath.Join(c.k.run, "criu"), o); err != nil {
		r.end()
		return nil, err
	}
	if r.process, err = c.enterAs(g, first); err == nil {
		err = r.process.await(o.serve)
	}
	if err != nil {
		r.end()
		return nil, err
	}
	helper := int64(r.process.cmd.Process.Pid)
	c.helper.Store(helper)
	r.ended = func() { c.helper.CompareAndSwap(helper, 0) }
	return r, nil
}

// enterAs has a guest enter the container. One that has a cgroup is there before the guest, which starts in that.
func (c *container) enterAs(g *guest, first <-chan int) (p *guestProcess, err error) {
	if g.cgroup == "" {
		if p, err = startGuest(g); err != nil {
			return nil, err
		}
	}
	pid, ok := <-first
	switch {
	case !ok:
		return p, errors.New("the container was not started")
	case p == nil:
		if p, err = startGuest(g); err != nil {
			return nil, err
		}
	}
	return p, p.enter(pid)
}

// furnish gives the guest CRIU and the files that it needs: where the images are, where it works, where it keeps what it has
// found out about the kernel, and a socket to be asked by.
func (r *criuRun) furnish(g *guest, i *criu.Installation, kernel string, o criuOptions) error {
	command, err := i.Command(guestFiles)
	if err != nil {
		return err
	}
	g.exe = command.Exe
	for _, f := range command.Files {
		g.take(f)
	}
	var at [3]int
	for n, d := range []struct {
		dir      string
		writable bool
	}{{o.images, o.writable}, {r.work, true}, {kernel, true}} {
		f, err := detachedDir(d.dir, d.writable)
		if err != nil {
			return err
		}
		at[n] = g.take(f)
	}
	ours, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return err
	}
	r.conn, r.images = ours.conn, descriptorPath(at[0])
	g.args, g.env = command.Args(g.take(theirs), "--work-dir", descriptorPath(at[1])), command.Env(at[2])
	for _, s := range o.streams {
		r.streams = append(r.streams, g.lend(s))
	}
	return nil
}

func descriptorPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// detachedDir clones the mount at a directory, which is made if it is missing, to nowhere: ".." leads nowhere from there.
func detachedDir(dir string, writable bool) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", dir, noSpace(err))
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone the mount of %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), dir)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	if !writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return nil, errors.Join(fmt.Errorf("restrict the mount of %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// criuEnd is how long CRIU may take to end after its answer.
const criuEnd = 10 * time.Second

// isCRIU tells whether a process in the container is a CRIU of ours, which it may take a moment to end after its work.
func (c *container) isCRIU(pid int) bool {
	helper := c.helper.Load()
	if helper == 0 {
		return false
	}
	status, ok := readStatus(pid)
	return ok && status.parent == int(helper)
}

// end returns when CRIU has ended. One that does not is killed.
func (r *criuRun) end() {
	if r.conn != nil {
		_ = r.conn.Close()
	}
	if r.process != nil {
		r.process.wait(criuEnd)
	}
	if r.ended != nil {
		r.ended()
	}
}

// explain makes an error of CRIU's: which resource of which process is in the way.
func (r *criuRun) explain(doing string, err error) error {
	var said *criu.Error
	if !errors.As(err, &said) && !errors.Is(err, criu.ErrGone) {
		return err
	}
	log, _ := os.ReadFile(filepath.Join(r.work, logFile)) // without it there is the answer
	if f := criu.Diagnose(log); f != nil && f.Resource == criu.ResourceDisk {
		return sandbox.Errorf(sandbox.CodeNoSpace, "%s: %v", doing, f).WithRemedy("free some disk space, see bivouac snapshot rm")
	} else if f != nil {
		return sandbox.Errorf(sandbox.CodeCheckpoint, "%s: %v", doing, f).WithRemedy("%s", f.Remedy)
	}
	return sandbox.Errorf(sandbox.CodeCheckpoint, "%s: %v", doing, err)
}

// bridged serves the filter of a dump.
func (c *container) bridged() (notify []byte, serve func(*os.File), err error) {
	notify, err = bridge.Filter()
	return notify, func(listener *os.File) {
		defer listener.Close()
		if err := bridge.Serve(listener, bridge.Options{Filters: c.filters(), MaxShared: uint64(c.spec.Limits.Memory)}); err != nil {
			fmt.Fprintf(os.Stderr, "bivouac: help CRIU: %v\n", err)
		}
	}, err
}
