package sandbox

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
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
	if path := goTool(ctx); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("bivouac"); err == nil {
		return path, nil
	}
	return "", Errorf(CodeProtocol, "find the bivouac executable: not in $BIVOUAC, not a tool of this Go module, not on $PATH").
		WithRemedy("go get -tool github.com/bivouac-run/bivouac/cmd/bivouac")
}

// goTool asks the go command for the tool's executable. The keeper needs cgo, also where the tests are built without.
func goTool(ctx context.Context) string {
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", "bivouac")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
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
