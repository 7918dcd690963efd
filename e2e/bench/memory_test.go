package main

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestParsePSS(t *testing.T) {
	const text = `00400000-7ffd1a3c4000 ---p 00000000 00:00 0                              [rollup]
Rss:                1400 kB
Pss:                 321 kB
Pss_Dirty:            96 kB
`
	if got := parsePSS([]byte(text)); got != 321*1024 {
		t.Errorf("got %d", got)
	}
	if got := parsePSS(nil); got != 0 {
		t.Errorf("of nothing: got %d", got)
	}
}

func TestParseRSS(t *testing.T) {
	if got := parseRSS([]byte("700 350 280 9 0 66 0\n")); got != 350*int64(os.Getpagesize()) {
		t.Errorf("got %d", got)
	}
	if got := parseRSS(nil); got != 0 {
		t.Errorf("of nothing: got %d", got)
	}
}

// A grandchild's memory counts, and that of who is set apart does not.
func TestWatcher(t *testing.T) {
	child := startFamily(t, `sh -c 'x=$(head -c 30000000 /dev/zero | tr "\0" x); echo ready; sleep 60; echo $x' & wait`)
	all := descendants()
	if !slices.Contains(all, child) || len(all) < 2 {
		t.Fatalf("no child %d, or no grandchild, among %v", child, all)
	}
	if w := watchFor(4*interval, nil); w.peak < 30e6 {
		t.Errorf("got a peak of %d bytes", w.peak)
	}
	// What the script starts after the list was made, its sleep, is small.
	if w := watchFor(4*interval, all); w.peak > 2e6 {
		t.Errorf("got %d bytes of processes set apart", w.peak)
	}
}

func watchFor(period time.Duration, apart []int) *watcher {
	w := watch(apart)
	time.Sleep(period)
	w.end()
	return w
}

// startFamily starts a script that prints a line when it is ready, and ends it and its descendants after the test.
func startFamily(t *testing.T, script string) (pid int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range descendants() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one that has just ended is as good
		}
		_ = cmd.Wait() // it was killed
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("wait for script: %v", err)
	}
	return cmd.Process.Pid
}
