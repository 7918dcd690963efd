package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// doors are the sockets by which other programs of the same user reach this keeper's containers.
type doors struct {
	// users is the inode number of the user namespace whose processes are answered, 0 for nobody.
	users atomic.Uint64

	// receive is [server.receive], which this cannot refer to: it refers to all requests, and so to this.
	receive func(*server)

	mu     sync.Mutex
	closed bool
	open   map[*container]*door
	guests map[*server]bool
	// detached counts the containers that outlive the caller.
	detached sync.WaitGroup
}

// door is one container's socket.
type door struct {
	all      *doors
	c        *container
	listener *net.UnixListener
	path     string
}

// show makes the container reachable if that was asked for. Where it cannot be, that is no reason not to run, but for a
// warning.
func (k *keeper) show(c *container) (warning string) {
	if !c.spec.Listed {
		return ""
	}
	if err := k.openDoor(c); err != nil {
		return fmt.Sprintf("bivouac ps and exec will not find this container: %v", err)
	}
	return ""
}

// showEarly is show for a container that is not kept: others are shown once they start.
func (k *keeper) showEarly(c *container) string {
	if c.record != nil {
		return ""
	}
	return k.show(c)
}

// visited tells whether there are guests of the container.
func (ds *doors) visited(c *container) bool { return ds.guestOf(c) != nil }

func (ds *doors) guestOf(c *container) *server {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for s := range ds.guests {
		if s.door.c == c {
			return s
		}
	}
	return nil
}

// awaitNobody returns once the container has no guests: true, or false where it is being ended.
func (ds *doors) awaitNobody(c *container) bool {
	for {
		s := ds.guestOf(c)
		if s == nil {
			return true
		}
		select {
		case <-s.left:
		case <-c.life.Done():
			return false
		}
	}
}

// openDoor makes the container's socket, once.
func (k *keeper) openDoor(c *container) error {
	k.doors.mu.Lock()
	defer k.doors.mu.Unlock()
	if k.doors.open[c] != nil || k.doors.closed || c.isDiscarding() {
		return nil
	}
	dir, err := sandbox.OpenRuntimeDir(true)
	if err != nil {
		return err
	}
	defer dir.Close()
	d := &door{all: &k.doors, c: c, path: filepath.Join(dir.Name(), c.id+sandbox.SocketSuffix)}
	if d.listener, err = listen(dir, c.id+sandbox.SocketSuffix); err != nil {
		return fmt.Errorf("listen on %s: %w", d.path, err)
	}
	if k.doors.open == nil {
		k.doors.open, k.doors.guests = map[*container]*door{}, map[*server]bool{}
	}
	k.doors.open[c] = d
	go d.accept(k)
	return nil
}

// listen makes a socket of a directory, for its owner alone. It gets its name once it listens: a client takes one that
// refuses connections for the rest of a killed keeper.
func listen(dir *os.File, name string) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) }) // the file's mode, before it is there
		return errors.Join(err, failed)
	}}
	draft := "." + name
	// A keeper that was killed may have left one of a container that is kept, of which this one has the lock.
	if err := unix.Unlinkat(int(dir.Fd()), draft, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	l, err := config.Listen(context.Background(), "unixpacket", sandbox.SocketPath(dir, draft))
	if err != nil {
		return nil, err
	}
	listener := l.(*net.UnixListener)
	listener.SetUnlinkOnClose(false)
	if err := unix.Renameat(int(dir.Fd()), draft, int(dir.Fd()), name); err != nil {
		return nil, errors.Join(err, listener.Close(), unix.Unlinkat(int(dir.Fd()), draft, 0))
	}
	return listener, nil
}

// close removes the container's socket. Who is connected stays so.
func (ds *doors) close(c *container) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d := ds.open[c]; d != nil {
		d.shut()
	}
}

func (d *door) shut() {
	delete(d.all.open, d.c)
	_ = os.Remove(d.path)
	_ = d.listener.Close()
}

// lock keeps new doors closed, and closes those whose containers end with the caller.
func (ds *doors) lock(keep func(*container) bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.closed = true
	for c, d := range ds.open {
		if !keep(c) {
			d.shut()
		}
	}
}

// accept serves everybody who comes until the door is closed.
func (d *door) accept(k *keeper) {
	for {
		conn, err := d.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, perhaps
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go d.serve(k, wire.FromConn(conn))
	}
}

// serve answers a guest as the caller is answered. When it leaves, what it executed ends; the container goes on.
func (d *door) serve(k *keeper, conn *wire.Conn) {
	s := newServer(conn, func() (*keeper, error) { return k, nil })
	s.door = d
	defer func() { _ = conn.Close() }()
	if !d.welcome(s) || s.sendHello() != nil {
		return
	}
	d.all.mu.Lock()
	d.all.guests[s] = true
	d.all.mu.Unlock()
	d.all.receive(s)
	s.cancelAll()
	s.handlers.Wait()
	d.all.mu.Lock()
	delete(d.all.guests, s)
	d.all.mu.Unlock()
	close(s.left)
}

// helloTimeout is how long a guest may take to say who it is.
const helloTimeout = 5 * time.Second

// welcome tells whether the guest is one of the user's own programs. It proves so by an open file of its user namespace,
// which must be the one that the caller is in. A container's processes are in another, even where they run as the same
// user and are given the directory of the sockets; they have no way to open this one.
func (d *door) welcome(s *server) bool {
	late := time.AfterFunc(helloTimeout, func() { _ = s.conn.Close() })
	defer late.Stop()
	m, err := s.conn.Receive()
	if err != nil {
		return false
	}
	defer m.CloseFiles()
	if m.Kind == sandbox.KindHello && len(m.Files) == 1 && d.all.mayEnter(m.Files[0]) {
		return true
	}
	_ = s.conn.Send(0, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeInvalid, "connect to a container: from another user namespace than the one it was started in").
		WithRemedy("do it where it was started: not from a container, nor below unshare -U"))
	readOff(s.conn) // what is not read when the connection is closed would take our answer away
	return false
}

// readOff reads until the other side is gone.
func readOff(conn *wire.Conn) {
	for {
		m, err := conn.Receive()
		if err != nil {
			return
		}
		m.CloseFiles()
	}
}

func (ds *doors) mayEnter(f *os.File) bool {
	users := ds.users.Load()
	return users != 0 && userNamespaceOf(f) == users
}

// userNamespaceOf returns the inode number of the user namespace that f is, 0 for any other file.
func userNamespaceOf(f *os.File) uint64 {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		return 0 // other files answer the next call too, as they like
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWUSER {
		return 0
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	return st.Ino
}
