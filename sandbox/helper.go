package sandbox

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"

	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// help runs a credential helper for the keeper, in our own environment.
func (c *Client) help(r *call, m *wire.Message) error {
	var request HelperRequest
	if err := m.Decode(&request); err != nil {
		return err
	}
	return c.conn.Send(r.id, KindHelped, request.run())
}

func (h HelperRequest) run() HelperResult {
	name := regexp.MustCompile(`^docker-credential-[\w.-]+$`)
	if !name.MatchString(h.Program) || h.Action != "get" {
		return HelperResult{Failed: fmt.Sprintf("%q %q is no credential helper", h.Program, h.Action)}
	}
	cmd := exec.Command(h.Program, h.Action)
	cmd.Stdin = bytes.NewReader(h.Input)
	output, err := cmd.Output()
	result := HelperResult{Output: output}
	if err != nil {
		result.Failed = err.Error()
	}
	return result
}
