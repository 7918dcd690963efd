// Package wire carries messages and open files between a caller and its keeper over one SOCK_SEQPACKET unix socket.
//
// A message is JSON. One that exceeds what a datagram carries travels in a sealed memory file instead, so size never
// matters to the layers above. Message numbers pair an answer with its question; the meaning of kinds and bodies is
// defined by package sandbox.
package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxInline is the largest JSON text sent as a datagram: well below the default send buffer (212,992 bytes).
const maxInline = 64 << 10

// maxFiles is how many descriptors one message may carry; the kernel's own limit (SCM_MAX_FD) is 253.
const maxFiles = 64

// maxMessage bounds a message in a memory file, so that a confused peer cannot exhaust memory.
const maxMessage = 256 << 20

// Message is one datagram.
type Message struct {
	// ID is the number of the request that this message opens, answers or reports on. It starts at 1.
	ID uint64 `json:"id"`
	// Kind names what the body is.
	Kind string `json:"kind"`
	// Body is the JSON form of a type that the kind implies; it may be empty.
	Body json.RawMessage `json:"body,omitempty"`
	// Files are open files that travel along. The receiver owns those it receives.
	Files []*os.File `json:"-"`
	// FilesLost tells that the receiver could not open all files, as it has too many open; Files is then empty, and so may
	// be Body.
	FilesLost bool `json:"-"`
}

// Decode parses the body into v.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("decode %s message: %w", m.Kind, err)
	}
	return nil
}

// CloseFiles closes the files of a received message that nobody wants.
func (m *Message) CloseFiles() {
	for _, f := range m.Files {
		f.Close()
	}
	m.Files = nil
}

// Conn is one end. Send may be called from many goroutines, Receive from one at a time.
type Conn struct {
	c  *net.UnixConn
	mu sync.Mutex
}

// Pair returns two connected ends: one wrapped, and one as a file for a child process.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "keeper-socket")
	ours, err := FromFile(os.NewFile(uintptr(fds[0]), "caller-socket"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// FromFile wraps a connected SOCK_SEQPACKET socket and takes the file over.
func FromFile(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open keeper socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("open keeper socket: a %s connection where a unix socket was expected", c.LocalAddr().Network())
	}
	return &Conn{c: u}, nil
}

// FromConn wraps a connected SOCK_SEQPACKET socket.
func FromConn(c *net.UnixConn) *Conn { return &Conn{c: c} }

// CloseRead ends what comes in: Receive returns io.EOF. Messages can still be sent.
func (c *Conn) CloseRead() error { return c.c.CloseRead() }

// Close ends the connection; a blocked Receive returns.
func (c *Conn) Close() error { return c.c.Close() }

// Send writes one message; body is marshalled to JSON. The files stay the caller's.
func (c *Conn) Send(id uint64, kind string, body any, files ...*os.File) error {
	m := Message{ID: id, Kind: kind}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode %s message: %w", kind, err)
		}
		m.Body = b
	}
	if len(files) >= maxFiles {
		return fmt.Errorf("send %s message: %d files exceed the limit of %d", kind, len(files), maxFiles-1)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s message: %w", kind, err)
	}
	if len(text) <= maxInline {
		return c.write(kind, inline, text, files)
	}
	return c.writeLarge(m, text, files)
}

// The first byte of a datagram tells where its JSON is.
const (
	inline = 'i'
	memory = 'm' // in the first of the files; what follows is the same without the body
)

func (c *Conn) writeLarge(m Message, text []byte, files []*os.File) error {
	f, err := memoryFile(text)
	if err != nil {
		return fmt.Errorf("send %s message: %w", m.Kind, err)
	}
	defer f.Close()
	m.Body = nil
	head, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s message: %w", m.Kind, err)
	}
	return c.write(m.Kind, memory, head, append([]*os.File{f}, files...))
}

func (c *Conn) write(kind string, where byte, text []byte, files []*os.File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	message, oob := append([]byte{where}, text...), rights(files)
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		_, _, err := c.c.WriteMsgUnix(message, oob, nil)
		if errors.Is(err, unix.ETOOMANYREFS) && time.Since(begun) < inFlightLimit {
			continue
		}
		if err != nil {
			return fmt.Errorf("send %s message: %w", kind, err)
		}
		return nil
	}
}

// inFlightLimit is how long a message with files waits for its peer to receive others. The kernel lets a user have no more
// files under way in sockets than open in one process (unix(7), ETOOMANYREFS).
const inFlightLimit = 10 * time.Second

func rights(files []*os.File) []byte {
	if len(files) == 0 {
		return nil
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	return unix.UnixRights(fds...)
}

func memoryFile(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "message")
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, fmt.Errorf("write memory file: %w", err)
	}
	return f, nil
}

// Receive blocks for the next message. At the end of the connection it returns io.EOF.
func (c *Conn) Receive() (*Message, error) {
	buf := make([]byte, maxInline+1)
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := c.c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, closed(err)
	}
	files, err := receivedFiles(oob[:oobn])
	if err != nil {
		return nil, err
	}
	m := &Message{Files: files}
	if flags&unix.MSG_TRUNC != 0 {
		m.CloseFiles()
		return nil, errors.New("receive message: truncated")
	}
	if flags&unix.MSG_CTRUNC != 0 { // more files than this process may have open (unix(7))
		m.CloseFiles()
		m.FilesLost = true
	}
	if n == 0 {
		m.CloseFiles()
		return nil, io.EOF
	}
	if err := m.parse(buf[:n]); err != nil {
		m.CloseFiles()
		return nil, err
	}
	return m, nil
}

// closed turns the ways in which a peer's end shows into io.EOF.
func closed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return io.EOF
	}
	return fmt.Errorf("receive message: %w", err)
}

func receivedFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive files: %w", err)
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials or timestamps: not asked for, not used
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func (m *Message) parse(datagram []byte) error {
	text := datagram[1:]
	if datagram[0] == memory && !m.FilesLost {
		var err error
		if text, err = m.takeMemory(); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(text, m); err != nil {
		return fmt.Errorf("parse message: %w", err)
	}
	return nil
}

func (m *Message) takeMemory() ([]byte, error) {
	if len(m.Files) == 0 {
		return nil, errors.New("parse message: its memory file is missing")
	}
	f := m.Files[0]
	m.Files = m.Files[1:]
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxMessage))
	if err != nil {
		return nil, fmt.Errorf("read memory file: %w", err)
	}
	return text, nil
}
