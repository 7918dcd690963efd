package pack

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// gnuTar has another reader of sparse files look at a stream.
func gnuTar(t *testing.T, stream []byte) {
	t.Helper()
	cmd := exec.Command("tar", "-tvf", "-")
	cmd.Stdin = bytes.NewReader(stream)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), " 3221225472 ") || !strings.Contains(string(out), " big\n") {
		t.Errorf("tar: %v\n%s", err, out)
	}
}
