package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A shell that starts a process in the background and ends leaves it to the runner.
func TestEndOrphans(t *testing.T) {
	if err := adoptOrphans(); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("sh", "-c", "sleep 0.1 & sleep 1000 >/dev/null 2>&1 &").Run(); err != nil {
		t.Fatal(err)
	}
	leaked := endOrphans(5 * time.Second)
	if len(leaked) != 1 || !strings.HasSuffix(leaked[0], " sleep 1000") {
		t.Errorf("got %q, want the process that did not end by itself", leaked)
	}
	if left := children(); len(left) != 0 {
		t.Errorf("still there: %v", left)
	}
}
