package testkit_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

// wayOut names the way in which a process of TestHelperThatEnds ends.
const wayOut = "BIVOUAC_TESTKIT_END"

// TestHelperThatEnds is run by other tests as a process of its own: it starts containers, tells of them, and ends in one of
// the ways in which test binaries do.
func TestHelperThatEnds(t *testing.T) {
	way, number, found := strings.Cut(os.Getenv(wayOut), ":")
	if !found {
		return // an ordinary run
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	name := image(t, "busybox:latest")
	var all sync.WaitGroup
	containers := make([]*testkit.Container, n)
	for i := range containers {
		all.Go(func() {
			containers[i] = testkit.Start(t, name, testkit.Args("sh", "-c", "sleep 1000 & nc -l -p 80"), testkit.Ready(testkit.Port(80).Inside()))
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, c := range containers {
		fmt.Println("address", c.Addr(80))
		fmt.Println("id", c.ID())
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it has been looked at
	end(t, way)
}

func end(t *testing.T, way string) {
	switch way {
	case "panic":
		panic("as it happens")
	case "panic elsewhere":
		go panic("as it happens")
		select {}
	case "exit":
		os.Exit(3)
	case "fail":
		t.Fatal("as it happens")
	case "return":
		return
	}
	t.Fatalf("%q is no way to end", way)
}

// helper is a process that runs TestHelperThatEnds.
type helper struct {
	cmd       *exec.Cmd
	proceed   func() error // lets it end
	addresses []string
	ids       []string
	family    map[string]string // its descendants: pid and start time to command
	stderr    bytes.Buffer
	stdout    strings.Builder
}

func (h *helper) output() string { return h.stdout.String() + h.stderr.String() }

// startHelper returns when n containers run.
func startHelper(t *testing.T, way string, n int, args ...string) *helper {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd: exec.Command(self, append([]string{"-test.run=^TestHelperThatEnds$"}, args...)...)}
	h.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", wayOut, way, n))
	h.cmd.Stderr = &h.stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.proceed = stdin.Close
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.cmd.Process.Kill() })
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		text := lines.Text()
		if address, ok := strings.CutPrefix(text, "address "); ok {
			h.addresses = append(h.addresses, address)
		}
		if id, ok := strings.CutPrefix(text, "id "); ok {
			h.ids = append(h.ids, id)
		}
		fmt.Fprintln(&h.stdout, text)
		if text == "ready" {
			h.family = descendants(h.cmd.Process.Pid)
			return h
		}
	}
	t.Fatalf("the helper did not get ready: %v\n%s", h.cmd.Wait(), h.output())
	return nil
}

// process is what /proc says of one.
type process struct {
	pid, ppid   int
	id, command string
	zombie      bool
}

func processes() []process {
	var all []process
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		text := string(data)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		p := process{command: text[:strings.LastIndexByte(text, ')')+1], zombie: fields[0] == "Z"}
		p.pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
		p.ppid, _ = strconv.Atoi(fields[1])
		p.id = fmt.Sprint(p.pid, " ", fields[19])
		all = append(all, p)
	}
	return all
}

func descendants(pid int) map[string]string {
	children := map[int][]process{}
	for _, p := range processes() {
		children[p.ppid] = append(children[p.ppid], p)
	}
	found := map[string]string{}
	var add func(pid int)
	add = func(pid int) {
		for _, p := range children[pid] {
			found[p.id] = p.command
			add(p.pid)
		}
	}
	add(pid)
	return found
}

// left tells what there still is of the helper.
func (h *helper) left() []string {
	var left []string
	for _, p := range processes() {
		if _, ok := h.family[p.id]; ok && !p.zombie {
			left = append(left, "process "+p.command)
		}
	}
	for _, address := range h.addresses {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			left = append(left, "listener "+address)
		}
	}
	return append(left, h.files()...)
}

// files are those that carry the name of one of the helper's containers, where containers could leave some.
func (h *helper) files() []string {
	var all []string
	for _, pattern := range []string{
		filepath.Join(os.Getenv("XDG_DATA_HOME"), "bivouac/scratch/*"), filepath.Join(os.Getenv("XDG_DATA_HOME"), "bivouac/run/*"),
		filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "bivouac/*"),
	} {
		found, _ := filepath.Glob(pattern)
		for _, file := range found {
			if slices.ContainsFunc(h.ids, func(id string) bool { return strings.HasPrefix(filepath.Base(file), id[:12]) }) {
				all = append(all, "file "+file)
			}
		}
	}
	return all
}

// graceOfNothing is when nothing may be left of a test binary. The kernel needs a moment to end a tree of processes: about 100 ms
// for those of 20 containers, and longer where others keep the machine busy.
const graceOfNothing = 5 * time.Second

func byItself(h *helper) error { return h.proceed() }

func TestNothingIsLeft(t *testing.T) {
	image(t, "")
	began := time.Now()
	endHelper(t, "return", nil, byItself)
	timeout := 3*time.Second + 4*time.Since(began) // long enough to start them all
	for way, test := range map[string]struct {
		args []string
		end  func(*helper) error
	}{
		"kill":            {nil, func(h *helper) error { return h.cmd.Process.Kill() }},
		"interrupt":       {nil, func(h *helper) error { return h.cmd.Process.Signal(syscall.SIGINT) }},
		"hang-up":         {nil, func(h *helper) error { return h.cmd.Process.Signal(syscall.SIGHUP) }},
		"timeout":         {[]string{"-test.timeout=" + timeout.String()}, func(*helper) error { return nil }},
		"panic":           {nil, byItself},
		"panic elsewhere": {nil, byItself},
		"exit":            {nil, byItself},
		"fail":            {nil, byItself},
		"return":          {nil, byItself},
	} {
		t.Run(way, func(t *testing.T) {
			spent := endHelper(t, way, test.args, test.end)
			if spent > graceOfNothing {
				t.Errorf("it took %v until nothing was left", spent)
			}
		})
	}
}

// endHelper has a helper with 20 containers end and returns how long after that something of it was still there.
func endHelper(t *testing.T, way string, args []string, end func(*helper) error) time.Duration {
	t.Helper()
	h := startHelper(t, way, 20, args...)
	if len(h.family) < 2*20 || len(h.addresses) != 20 {
		t.Fatalf("%d processes and %d addresses are too few", len(h.family), len(h.addresses))
	}
	if err := end(h); err != nil {
		t.Fatal(err)
	}
	_ = h.cmd.Wait() // most ways are failures
	ended := time.Now()
	left := h.left()
	for len(left) > 0 {
		if time.Since(ended) > time.Minute {
			t.Fatalf("this is left: %q", left)
		}
		time.Sleep(5 * time.Millisecond)
		left = h.left()
	}
	spent := time.Since(ended)
	t.Logf("nothing was left after %v", spent)
	return spent
}

func TestManyTestBinariesAtOnce(t *testing.T) {
	image(t, "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			h := startHelper(t, "return", 3)
			if err := errors.Join(h.proceed(), h.cmd.Wait()); err != nil {
				t.Errorf("binary %d: %v\n%s", i, err, h.output())
			}
			for deadline := time.Now().Add(time.Minute); len(h.left()) > 0; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) { // another binary may have had a port of this one meanwhile
					t.Errorf("binary %d left %q", i, h.left())
					return
				}
			}
		})
	}
	all.Wait()
}
