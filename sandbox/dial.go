package sandbox

import (
	"context"
	"fmt"
	"net"
)

// Dial connects to something in the container, without any port of the host. The connection is the kernel's own; nothing
// is forwarded.
//
// Network is tcp, udp or unix. The address is IP:PORT inside the container's network namespace; without an IP, or with
// localhost, it is whatever address the server uses. For unix it is an absolute path in the container.
//
// Errors: CodeRefused where nothing listens; CodeInvalid; CodeNotRunning; CodeAlreadyFinished.
func (ct *Container) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	m, err := ct.client.askMessage(ctx, KindDial, DialRequest{ct.request(), network, address})
	if err != nil {
		return nil, err
	}
	defer m.CloseFiles()
	if len(m.Files) != 1 {
		return nil, Errorf(CodeProtocol, "dial %s %s: the keeper answered with %d sockets", network, address, len(m.Files))
	}
	c, err := net.FileConn(m.Files[0])
	if err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
	}
	return c, nil
}
