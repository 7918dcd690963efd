package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// findKeeper returns the executable to start: the given one, $BIVOUAC, `go tool -n bivouac` in the module under test, or
// bivouac of $PATH.
func findKeeper(ctx context.Context, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if path := os.Getenv("BIVOUAC"); path != "" {
		return path, nil
	}
	path, toolErr := goTool(ctx)
	if path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("bivouac"); err == nil {
		return path, nil
	}
	if toolErr != nil {
		return "", toolErr
	}
	return "", Errorf(CodeProtocol, "find the bivouac executable: not in $BIVOUAC, not a tool of this Go module, not on $PATH").
		WithRemedy("go get -tool github.com/bivouac-run/bivouac/cmd/bivouac")
}

// goTool asks the go command for the tool's executable, which it builds where that is missing. The keeper needs cgo, also
// where the tests are built without. An error tells of a tool that cannot be built; without one there may be none.
func goTool(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", "bivouac")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return strings.TrimSpace(string(out)), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("build the bivouac executable by go tool: %w", context.Cause(ctx))
	case errors.As(err, &failed) && !bytes.Contains(failed.Stderr, []byte("no such tool")):
		return "", Errorf(CodeProtocol, "build the bivouac executable by go tool: %s", lastLines(failed.Stderr)).
			WithRemedy("it needs cgo and a C compiler such as gcc; or set $BIVOUAC to an executable that was built elsewhere")
	}
	return "", nil
}

// lastLines puts what a program said last on one line.
func lastLines(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if extra := t.buf.Len() - tailSize; extra > 0 {
		t.buf.Next(extra)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}
