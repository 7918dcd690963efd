package sandbox

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// The kinds of messages that measure a container.
const (
	KindSize = "size" // [SizeRequest]; done: [SizeAnswer]
	KindPID  = "pid"  // [PIDRequest]; done: nothing, with a pidfd of the first process

	KindContainerSizes = "container-sizes" // [ContainerSizesRequest]; done: [ContainerSizesAnswer]
)

// SizeRequest asks how much a container has written to its file system.
type SizeRequest struct{ ContainerRequest }

// SizeAnswer is in bytes as du(1) counts them.
type SizeAnswer struct {
	Bytes int64 `json:"bytes"`
}

// ContainerSizesRequest asks the same of containers that are kept, whoever has them.
type ContainerSizesRequest struct {
	IDs []string `json:"ids"`
}

// ContainerSizesAnswer has the bytes by ids, without containers that are not there.
type ContainerSizesAnswer struct {
	Bytes map[string]int64 `json:"bytes,omitempty"`
}

// PIDRequest asks for the first process.
type PIDRequest struct{ ContainerRequest }

// Size returns how much the container has written to its file system, in bytes as du(1) counts them.
//
// Errors: CodeAlreadyFinished after Discard.
func (ct *Container) Size(ctx context.Context) (int64, error) {
	var a SizeAnswer
	err := ct.client.ask(ctx, KindSize, SizeRequest{ct.request()}, &a)
	return a.Bytes, err
}

// ContainerSizes returns how much containers that are kept have written to their file systems, in bytes as du(1) counts them, by
// their ids, whoever has them. Those that are not there are missing.
func (c *Client) ContainerSizes(ctx context.Context, ids []string) (map[string]int64, error) {
	var a ContainerSizesAnswer
	err := c.ask(ctx, KindContainerSizes, ContainerSizesRequest{ids}, &a)
	return a.Bytes, err
}

// PID returns the number that the container's first process has for this process. The kernel tells it of a pidfd (proc_pid_fdinfo(5)).
//
// Errors: CodeNotRunning, CodeAlreadyFinished.
func (ct *Container) PID(ctx context.Context) (int, error) {
	m, err := ct.client.askMessage(ctx, KindPID, PIDRequest{ct.request()})
	if err != nil {
		return 0, err
	}
	defer m.CloseFiles()
	if len(m.Files) != 1 {
		return 0, Errorf(CodeProtocol, "find the first process of container %s: the keeper sent %d files", ct.Name, len(m.Files))
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.Files[0].Fd()))
	if err != nil {
		return 0, fmt.Errorf("find the first process of container %s: %w", ct.Name, err)
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(number))
			if err == nil && pid > 0 {
				return pid, nil
			}
		}
	}
	return 0, Errorf(CodeAlreadyFinished, "find the first process of container %s: it has ended", ct.Name)
}
