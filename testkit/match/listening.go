package match

import (
	"context"
	"fmt"
	"strings"

	"github.com/onsi/gomega/types"

	"github.com/bivouac-run/bivouac/sandbox"
)

// BeListeningOn succeeds when something in the container listens on a TCP port, on whatever address.
func BeListeningOn(port int) types.GomegaMatcher {
	return &listening{port: port, protocol: "tcp", look: look{"BeListeningOn"}}
}

// BeListeningOnUDP succeeds when something in the container has bound a UDP port.
func BeListeningOnUDP(port int) types.GomegaMatcher {
	return &listening{port: port, protocol: "udp", look: look{"BeListeningOnUDP"}}
}

type listening struct {
	look
	port     int
	protocol string
	seen     []string
}

// Match implements types.GomegaMatcher.
func (m *listening) Match(actual any) (bool, error) {
	m.seen = nil
	c, err := m.container(actual)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	all, err := c.Listening(ctx)
	if code := sandbox.CodeOf(err); code == sandbox.CodeAlreadyFinished || code == sandbox.CodeNotRunning {
		return false, nil // what does not run does not listen
	}
	if err != nil {
		return false, err
	}
	found := false
	for _, l := range all {
		if l.Path == "" {
			m.seen = append(m.seen, fmt.Sprintf("%s:%d/%s", l.IP, l.Port, l.Protocol))
		}
		found = found || int(l.Port) == m.port && l.Protocol == m.protocol
	}
	return found, nil
}

// FailureMessage implements types.GomegaMatcher.
func (m *listening) FailureMessage(actual any) string {
	seen := "It listens on nothing."
	if len(m.seen) > 0 {
		seen = "It listens on " + strings.Join(m.seen, ", ") + "."
	}
	return message(actual, fmt.Sprintf("to be listening on port %d/%s", m.port, m.protocol), seen)
}

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *listening) NegatedFailureMessage(actual any) string {
	return message(actual, fmt.Sprintf("not to be listening on port %d/%s", m.port, m.protocol), "")
}
