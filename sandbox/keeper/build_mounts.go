package keeper

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/build"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns/emulate"
)

// addMounts adds the step's mounts to the container.
func (r *buildRun) addMounts() error {
	for i, m := range r.step.Mounts {
		if m.Target == "" { // a secret that is in the environment alone
			continue
		}
		mount, err := r.mount(i, m)
		if err != nil {
			return err
		}
		if err := checkMount(mount); err != nil {
			return err
		}
		r.c.volumes.mounts = append(r.c.volumes.mounts, mount)
	}
	return nil
}

func (r *buildRun) mount(i int, m build.Mount) (sandbox.Mount, error) {
	out := sandbox.Mount{Type: sandbox.MountBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	var err error
	switch m.Kind {
	case build.MountTmpfs:
		out = sandbox.Mount{Type: sandbox.MountTmpfs, Target: m.Target, Size: m.Size, Exec: true, ReadOnly: m.ReadOnly}
	case build.MountSecret:
		out.ReadOnly = true
		out.Source, err = r.secretFile(i, m)
	case build.MountSSH:
		out.Source, err = r.agentSocket(i, m)
	}
	return out, err
}

// secrets is a directory in memory, wherever changed files go.
func (r *buildRun) secrets() (string, error) {
	dir := filepath.Join(r.c.k.run, "build-"+r.c.id[:12])
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		r.ends = append(r.ends, func() error { return os.RemoveAll(dir) })
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make place for secrets: %w", noSpace(err))
	}
	return dir, nil
}

func (r *buildRun) secretFile(i int, m build.Mount) (string, error) {
	dir, err := r.secrets()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, strconv.Itoa(i))
	if err := os.WriteFile(file, m.Value, 0o600); err != nil {
		return "", fmt.Errorf("make the secret %s: %w", m.ID, noSpace(err))
	}
	return file, r.give(file, m)
}

// give gives a file the mode and the owner that the step asks for. With a single id the owner is an attribute, which the
// program sees.
func (r *buildRun) give(file string, m build.Mount) error {
	if err := os.Chmod(file, m.Mode.Perm()); err != nil {
		return err
	}
	if m.UID == 0 && m.GID == 0 {
		return nil
	}
	if !r.c.k.single() {
		if err := os.Lchown(file, int(m.UID), int(m.GID)); err != nil {
			return sandbox.Errorf(sandbox.CodeUnmappedID, "give the mount on %s to %d:%d: %v", m.Target, m.UID, m.GID, err).
				WithRemedy("choose smaller ids, or have a larger range in /etc/subuid and /etc/subgid")
		}
		return nil
	}
	owner := emulate.Owner{UID: m.UID, GID: m.GID}
	err := unix.Lsetxattr(file, emulate.XattrName, owner.Marshal(), 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) { // before Linux 6.6, and of sockets: they belong to root then
		return nil
	}
	return err
}

// agentSocket makes a socket whose connections lead to the user's agent.
func (r *buildRun) agentSocket(i int, m build.Mount) (string, error) {
	dir, err := r.secrets()
	if err != nil {
		return "", err
	}
	handle, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer handle.Close()
	name := strconv.Itoa(i)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: sandbox.SocketPath(handle, name)})
	if err != nil {
		return "", fmt.Errorf("make a socket for the agent %s: %w", m.ID, err)
	}
	l.SetUnlinkOnClose(false)
	a := &agent{listener: l, socket: m.Socket}
	a.all.Go(a.serve)
	r.ends = append(r.ends, a.close)
	file := filepath.Join(dir, name)
	return file, r.give(file, m)
}

// agent forwards a socket.
type agent struct {
	listener *net.UnixListener
	socket   string
	all      sync.WaitGroup
	mu       sync.Mutex
	closed   bool
	conns    []net.Conn
}

func (a *agent) serve() {
	for {
		conn, err := a.listener.AcceptUnix()
		if err != nil {
			return // it is closed
		}
		a.all.Go(func() { a.forward(conn) })
	}
}

func (a *agent) forward(conn *net.UnixConn) {
	defer conn.Close() //nolint:errcheck // nothing is waiting to be written
	up, err := net.Dial("unix", a.socket)
	if err != nil {
		return // the program sees that there is no agent
	}
	defer up.Close()
	if !a.remember(conn, up) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { copyHalf(up.(*net.UnixConn), conn) })
	both.Go(func() { copyHalf(conn, up.(*net.UnixConn)) })
	both.Wait()
}

func copyHalf(to, from *net.UnixConn) {
	_, _ = io.Copy(to, from) // whoever breaks off ends it
	_ = to.CloseWrite()
}

func (a *agent) remember(conns ...net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = append(a.conns, conns...)
	return !a.closed
}

func (a *agent) close() error {
	err := a.listener.Close()
	a.mu.Lock()
	a.closed = true
	for _, c := range a.conns {
		_ = c.Close() // whether or not it has ended
	}
	a.mu.Unlock()
	a.all.Wait()
	return err
}
