package network

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// unixRequest is struct unix_diag_req of linux/unix_diag.h.
type unixRequest struct {
	Family, Protocol uint8
	Pad              uint16
	States           uint32
	Inode            uint32
	Show             uint32
	Cookie           [2]uint32
}

// Len is for netlink's sake.
func (r *unixRequest) Len() int { return binary.Size(r) }

// Serialize is for netlink's sake.
func (r *unixRequest) Serialize() []byte { return serialized(r) }

// unixMessage is struct unix_diag_msg; attributes follow.
type unixMessage struct {
	Family, Type, State, Pad uint8
	Inode                    uint32
	Cookie                   [2]uint32
}

// From linux/unix_diag.h.
const (
	showName      = 1 // UDIAG_SHOW_NAME
	attributeName = 0 // UNIX_DIAG_NAME
)

func (n *Namespace) unixListeners() ([]Listener, error) {
	q := &unixRequest{Family: unix.AF_UNIX, States: 1 << tcpListen, Show: showName, Cookie: [2]uint32{nl.TCPDIAG_NOCOOKIE, nl.TCPDIAG_NOCOOKIE}}
	messages, err := n.diagnose(q, unix.NLM_F_DUMP)
	if err != nil {
		return nil, listError("unix", err)
	}
	var all []Listener
	for _, m := range messages {
		l, err := parseUnixMessage(m)
		if err != nil {
			return nil, err
		}
		if l.Path != "" {
			all = append(all, l)
		}
	}
	return all, nil
}

func parseUnixMessage(b []byte) (Listener, error) {
	var m unixMessage
	size, err := binary.Decode(b, binary.NativeEndian, &m)
	if err != nil {
		return Listener{}, fmt.Errorf("parse sock_diag message of %d bytes: %w", len(b), err)
	}
	padding := make([]byte, -len(b)&3) // nl counts on every attribute being padded
	attributes, err := nl.ParseRouteAttr(slices.Concat(b[size:], padding))
	if err != nil {
		return Listener{}, fmt.Errorf("parse sock_diag attributes: %w", err)
	}
	l := Listener{Protocol: "unix", Inode: uint64(m.Inode)}
	for _, a := range attributes {
		if a.Attr.Type == attributeName {
			l.Path = socketName(a.Value)
		}
	}
	return l, nil
}

// socketName writes an abstract name, which begins with a zero byte, as other tools do.
func socketName(name []byte) string {
	if len(name) > 0 && name[0] == 0 {
		return "@" + string(name[1:])
	}
	return string(bytes.TrimRight(name, "\x00"))
}
