package keeper

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socket is our end of a connection with a container's first process. It waits in the runtime's poller: a blocked system
// call would hold a processor of the scheduler, and what is to run next would wait up to 10 ms for it.
type socket struct{ conn *net.UnixConn }

// socketPair returns two connected ends of a kind, the other one for a child process.
func socketPair(kind int) (ours *socket, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create socket pair: %w", err)
	}
	file := os.NewFile(uintptr(fds[0]), "container")
	defer func() { _ = file.Close() }()
	theirs = os.NewFile(uintptr(fds[1]), "container")
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open socket: %w", err), theirs.Close())
	}
	return &socket{conn.(*net.UnixConn)}, theirs, nil
}

func (s *socket) close() { _ = s.conn.Close() }

// receive reads one message, and the file that may come with it. At the end the message is empty.
func (s *socket) receive() ([]byte, *os.File, error) {
	buf, oob := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
	if errors.Is(err, io.EOF) {
		return nil, nil, nil
	}
	if err != nil || oobn == 0 {
		return buf[:n], nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, nil, fmt.Errorf("receive file: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, nil, fmt.Errorf("receive file: %d descriptors, %w", len(fds), err)
	}
	unix.CloseOnExec(fds[0])
	return buf[:n], os.NewFile(uintptr(fds[0]), "received"), nil
}
