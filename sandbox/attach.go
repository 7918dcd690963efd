package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// Attached is a container that another program has started. Closing the connection leaves it as it is; what was executed
// in it over the connection ends.
type Attached struct {
	*Container
	// Status is how it was when the connection was made.
	Status Status
}

// Close ends the connection.
func (a *Attached) Close() error { return a.client.Close() }

// Containers lists this user's containers that other programs can find: those of `bivouac run`, and detached ones. Sockets
// that a killed keeper left are removed. Errors are about containers that do not answer; the others are listed.
func Containers(ctx context.Context) ([]Status, error) {
	all, err := attachAll(ctx)
	list := make([]Status, len(all))
	for i, a := range all {
		list[i] = a.Status
		_ = a.Close() // whose container goes on
	}
	return list, err
}

// Attach connects to one of [Containers], by its name, its id, or the beginning of an id that no other has.
//
// Errors: CodeNotFound; CodeInvalid if several match.
func Attach(ctx context.Context, container string) (*Attached, error) {
	all, failed := attachAll(ctx)
	matching := match(all, container)
	for _, a := range all {
		if len(matching) != 1 || a != matching[0] {
			_ = a.Close() // whose container goes on
		}
	}
	switch {
	case len(matching) == 1:
		return matching[0], nil
	case len(matching) > 1:
		return nil, Errorf(CodeInvalid, "find container %q: %d running containers match", container, len(matching)).WithRemedy("give more of the id; see bivouac ps")
	case failed != nil:
		return nil, failed
	}
	return nil, Errorf(CodeNotFound, "find container %q: no running container has that name or id", container).WithRemedy("see bivouac ps -a")
}

// match prefers ids to names, and names to beginnings of ids, as Docker does.
func match(all []*Attached, container string) []*Attached {
	for _, fits := range []func(*Attached) bool{
		func(a *Attached) bool { return a.ID == container },
		func(a *Attached) bool { return a.Name == container },
		func(a *Attached) bool { return container != "" && strings.HasPrefix(a.ID, container) },
	} {
		found := slices.DeleteFunc(slices.Clone(all), func(a *Attached) bool { return !fits(a) })
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// attachTimeout is how long a keeper may take to answer for a container.
const attachTimeout = 5 * time.Second

// attachAll connects to every container at the same time. They are in the order of their creation, the newest first.
func attachAll(ctx context.Context) ([]*Attached, error) {
	dir, err := OpenRuntimeDir(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list containers' sockets: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	found, errs := make([]*Attached, len(entries)), make([]error, len(entries))
	var all sync.WaitGroup
	for i, e := range entries {
		all.Go(func() { found[i], errs[i] = attachSocket(ctx, dir, e.Name()) })
	}
	all.Wait()
	found = slices.DeleteFunc(found, func(a *Attached) bool { return a == nil })
	slices.SortFunc(found, func(a, b *Attached) int { return b.Status.Created.Compare(a.Status.Created) })
	return found, errors.Join(errs...)
}

// attachSocket returns nil without an error where there is no container any more.
func attachSocket(ctx context.Context, dir *os.File, name string) (*Attached, error) {
	id, ok := strings.CutSuffix(name, SocketSuffix)
	if !ok {
		return nil, nil
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: SocketPath(dir, name), Net: "unixpacket"})
	switch {
	case errors.Is(err, syscall.ECONNREFUSED): // nobody listens any more
		return nil, removeStale(dir, name)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("connect to container %.12s: %w", id, err)
	}
	a, err := attachConn(ctx, id, wire.FromConn(conn))
	switch {
	case CodeOf(err) == CodeAlreadyFinished:
		return nil, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, Errorf(CodeProtocol, "connect to container %.12s: its keeper does not answer", id).WithRemedy("it may have been stopped; continue or kill it")
	}
	return a, err
}

func attachConn(ctx context.Context, id string, conn *wire.Conn) (*Attached, error) {
	client, err := newGuest(conn)
	if err != nil {
		return nil, fmt.Errorf("connect to container %.12s: %w", id, err)
	}
	a, err := client.attach(ctx)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return a, nil
}

// removeStale removes a killed keeper's socket. Names are random, so nobody can have made it anew meanwhile.
func removeStale(dir *os.File, name string) error {
	if err := os.Remove(SocketPath(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of a container that is gone: %w", err)
	}
	return nil
}

// newGuest greets a keeper that somebody else has started. It only answers who is in the same user namespace as the one who
// did, which a container's processes are not.
func newGuest(conn *wire.Conn) (*Client, error) {
	c := &Client{conn: conn, waiting: map[uint64]*call{}, starts: make(chan struct{}, maxStarts), done: make(chan struct{}), wait: func() error { return nil }}
	var random [8]byte
	rand.Read(random[:]) // never fails
	// Numbers of requests are the containers' for some purposes, so those of different clients must differ.
	c.last = binary.LittleEndian.Uint64(random[:]) >> 1
	ns, err := os.Open("/proc/self/ns/user")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open own user namespace: %w", err), conn.Close())
	}
	defer ns.Close()
	if err := conn.Send(0, KindHello, newHello(), ns); err != nil {
		return nil, errors.Join(c.lost(err), conn.Close())
	}
	go c.receive()
	return c, nil
}

// attach asks for the socket's container, and waits for the end of its program if it runs.
func (c *Client) attach(ctx context.Context) (*Attached, error) {
	r, err := c.request(KindAttach, AttachRequest{})
	if err != nil {
		return nil, err
	}
	m, err := c.next(ctx, r)
	if err != nil {
		return nil, err
	}
	a := &Attached{Container: &Container{client: c, id: r.id}}
	if err := m.Decode(&a.Status); err != nil {
		return nil, err
	}
	a.Info = a.Status.Info
	if a.Status.State == StateCreated {
		return a, nil
	}
	w, err := c.request(KindWait, WaitRequest{a.request()})
	if err != nil {
		return nil, err
	}
	a.program = c.endingOf(w)
	return a, nil
}
