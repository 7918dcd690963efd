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
	"path/filepath"
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

// Containers lists this user's containers, the newest first: those that are kept, by their records, and those that others can
// find while they are there, as those of `bivouac run` and detached ones. Sockets that a killed keeper left are removed.
// Errors are about containers that do not answer; the others are listed.
func Containers(ctx context.Context) ([]Status, error) {
	list, all, err := everything(ctx)
	for _, a := range all {
		list = append(list, a.Status)
		_ = a.Close() // whose container goes on
	}
	slices.SortStableFunc(list, func(a, b Status) int { return b.Created.Compare(a.Created) })
	return list, err
}

// everything returns the containers that are kept, and connections with all others.
func everything(ctx context.Context) ([]Status, []*Attached, error) {
	kept, err := Records()
	if err != nil {
		return nil, nil, err
	}
	list, ids := make([]Status, len(kept)), make(map[string]bool, len(kept))
	for i, r := range kept {
		list[i], ids[r.ID] = r.Status, true
	}
	all, err := attachAll(ctx, ids)
	return list, all, err
}

// Find returns one of [Containers], by its name, its id, or the beginning of an id that no other has.
//
// Errors: CodeNotFound; CodeInvalid if several match.
func Find(ctx context.Context, container string) (Status, error) {
	st, a, err := find(ctx, container)
	if a != nil {
		_ = a.Close() // whose container goes on
	}
	return st, err
}

// find also returns the connection with a container that is not kept.
func find(ctx context.Context, container string) (Status, *Attached, error) {
	dir, err := ContainersDir()
	if err != nil {
		return Status{}, nil, err
	}
	r := &records{dir: dir}
	defer r.close()
	if rec, ok := r.named(container); ok {
		return rec.Status, nil, nil
	}
	list, all, failed := everything(ctx)
	for _, a := range all {
		list = append(list, a.Status)
	}
	found, err := match(list, container)
	if CodeOf(err) == CodeNotFound && failed != nil {
		err = failed
	}
	var connected *Attached
	for _, a := range all {
		if err == nil && a.ID == found.ID {
			connected = a
		} else {
			_ = a.Close() // whose container goes on
		}
	}
	return found, connected, err
}

// Attach connects to one of [Containers] that a keeper has, by its name, its id, or the beginning of an id that no other has.
//
// Errors: CodeNotFound; CodeInvalid if several match; CodeNotRunning for one that is kept and that no keeper has, for which
// there is [Client.Open].
func Attach(ctx context.Context, container string) (*Attached, error) {
	st, a, err := find(ctx, container)
	if err != nil || a != nil {
		return a, err
	}
	return AttachKept(ctx, st)
}

// AttachKept is [Attach] for a container that is kept and that was found.
func AttachKept(ctx context.Context, st Status) (*Attached, error) {
	idle := Errorf(CodeNotRunning, "connect to container %s: its program does not run", st.Name).WithRemedy("start it: bivouac start %s", st.Name)
	containers, err := ContainersDir()
	if err != nil {
		return nil, err
	}
	state, _, err := ReadState(filepath.Join(containers, st.ID))
	if err != nil || state.Sockets == "" {
		return nil, idle
	}
	dir, err := openOwnDir(state.Sockets)
	if err != nil {
		return nil, idle
	}
	defer dir.Close()
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	a, err := attachSocket(ctx, dir, st.ID+SocketSuffix)
	if err == nil && a == nil {
		return nil, idle
	}
	return a, err
}

// match prefers ids to names, and names to beginnings of ids, as Docker does.
func match(all []Status, container string) (Status, error) {
	for _, fits := range []func(Status) bool{
		func(s Status) bool { return s.ID == container },
		func(s Status) bool { return s.Name == container },
		func(s Status) bool { return container != "" && strings.HasPrefix(s.ID, container) },
	} {
		found := slices.DeleteFunc(slices.Clone(all), func(s Status) bool { return !fits(s) })
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return Status{}, Errorf(CodeInvalid, "find container %q: %d containers match", container, len(found)).WithRemedy("give more of the id; see bivouac ps -a")
		}
	}
	return Status{}, notFound(container)
}

// attachTimeout is how long a keeper may take to answer for a container.
const attachTimeout = 5 * time.Second

// attachAll connects at the same time to every container but those of the given ids.
func attachAll(ctx context.Context, but map[string]bool) ([]*Attached, error) {
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
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return but[strings.TrimSuffix(e.Name(), SocketSuffix)] })
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	found, errs := make([]*Attached, len(entries)), make([]error, len(entries))
	var all sync.WaitGroup
	for i, e := range entries {
		all.Go(func() { found[i], errs[i] = attachSocket(ctx, dir, e.Name()) })
	}
	all.Wait()
	return slices.DeleteFunc(found, func(a *Attached) bool { return a == nil }), errors.Join(errs...)
}

// attachSocket returns nil without an error where there is no container any more.
func attachSocket(ctx context.Context, dir *os.File, name string) (*Attached, error) {
	id, ok := strings.CutSuffix(name, SocketSuffix)
	if !ok || strings.HasPrefix(name, ".") { // a keeper is about to listen on that one, and refuses until then
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

// removeStale removes a killed keeper's socket. A container that is kept may have got another keeper by now, whose socket is
// put back.
func removeStale(dir *os.File, name string) error {
	path, aside := SocketPath(dir, name), SocketPath(dir, "."+name+".stale")
	err := os.Rename(path, aside)
	switch {
	case err != nil:
	case listens(aside) == nil:
		err = os.Rename(aside, path)
	default:
		err = os.Remove(aside)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
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
