package userns

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// inside is a command that plays a role in the namespaces of m.
func inside(m Mapping, role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), EnterEnv(m), roleVariable+"="+role)
	return cmd
}

func detected(t testing.TB) Mapping {
	t.Helper()
	m, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mappings are the ways in that this user has: the best one, and the single one in any case.
func mappings(t testing.TB) map[string]Mapping {
	return map[string]Mapping{"detected": detected(t), "single": own()}
}

func TestEnter(t *testing.T) {
	for name, m := range mappings(t) {
		t.Run(name, func(t *testing.T) { testEnter(t, m) })
	}
}

func testEnter(t *testing.T, m Mapping) {
	r := runReport(t, inside(m, "report", "keeper", "--flag"))
	if r.PID != 1 || r.ParentPID != 0 || r.UID != 0 || r.GID != 0 {
		t.Errorf("pid %d of parent %d with uid %d and gid %d, want 1, 0, 0, 0", r.PID, r.ParentPID, r.UID, r.GID)
	}
	if want := []string{"keeper", "--flag"}; !slices.Equal(r.Args, want) {
		t.Errorf("arguments %q, want %q", r.Args, want)
	}
	if got := r.Mapping.String(); got != m.String() {
		t.Errorf("mapping %s, want %s", got, m)
	}
	if r.Session != 0 || !r.OwnGroup {
		t.Errorf("session %d, own group %v, want a session outside and an own group", r.Session, r.OwnGroup)
	}
	if last := r.ProcMounts[len(r.ProcMounts)-1]; !strings.Contains(last, "nosuid,nodev,noexec") {
		t.Errorf("/proc is mounted as %q", last)
	}
	if r.Variable || strings.Contains(r.RawEnvironment, EnterVariable) {
		t.Error("the variable is still in the environment")
	}
}

func runReport(t *testing.T, cmd *exec.Cmd) report {
	t.Helper()
	var r report
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return r
}

// A container's root keeps the ids that the container has: the test enters twice.
func TestEnterNested(t *testing.T) {
	for name, m := range mappings(t) {
		t.Run(name, func(t *testing.T) {
			r := runReport(t, inside(m, "nested"))
			if r.PID != 1 || r.UID != 0 || r.Mapping.Single() != m.Single() {
				t.Errorf("pid %d, uid %d, mapping %s below %s", r.PID, r.UID, r.Mapping, m)
			}
			if r.Mapping.UIDs[0].HostID != 0 {
				t.Errorf("root is not the outer root: %s", r.Mapping)
			}
		})
	}
}

func TestEnterExitCode(t *testing.T) {
	for _, code := range []int{0, 1, 42, 255} {
		err := inside(own(), fmt.Sprintf("exit=%d", code)).Run()
		if got := exitCode(err); got != code {
			t.Errorf("exit code %d, want %d", got, code)
		}
	}
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// sleeper is a started pair of processes: the outer one and process 1 inside.
type sleeper struct {
	cmd   *exec.Cmd
	inner int // process 1's number outside
}

func startSleeper(t *testing.T, m Mapping, files ...*os.File) sleeper {
	t.Helper()
	cmd := inside(m, "sleep")
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child said %q", line)
	}
	children := strings.Fields(slurp(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid)))
	if len(children) != 1 {
		t.Fatalf("children %q, want one", children)
	}
	inner, _ := strconv.Atoi(children[0])
	return sleeper{cmd, inner}
}

func TestEnterInnerDiesWithOuter(t *testing.T) {
	for name, m := range mappings(t) {
		t.Run(name, func(t *testing.T) {
			s := startSleeper(t, m)
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = s.cmd.Wait()
			if !endsWithin(s.inner, 20*time.Second) {
				t.Errorf("process %d survived", s.inner)
			}
		})
	}
}

func endsWithin(pid int, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if !alive(pid) {
			return true
		}
	}
	return false
}

// alive tells whether a process runs: a zombie that nobody has reaped yet does not.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !bytes.Contains(status, []byte("State:\tZ"))
}

func TestEnterOuterEndsWithInner(t *testing.T) {
	for _, number := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		s := startSleeper(t, own())
		if err := syscall.Kill(s.inner, number); err != nil {
			t.Fatal(err)
		}
		if number == syscall.SIGSTOP { // a stopped child is not an ended one
			_ = syscall.Kill(s.inner, syscall.SIGKILL)
		}
		if got := exitCode(s.cmd.Wait()); got != 128+int(syscall.SIGKILL) {
			t.Errorf("exit code %d, want 137", got)
		}
	}
}

func TestEnterOuterLetsGo(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, m := range mappings(t) {
		s := startSleeper(t, m, w)
		if !eventually(func() bool { return slices.Equal(descriptors(t, s.cmd.Process.Pid), []string{"0", "1", "2"}) }) {
			t.Errorf("%s: outer has descriptors %q", name, descriptors(t, s.cmd.Process.Pid))
		}
		if !slices.Contains(descriptors(t, s.inner), "3") {
			t.Errorf("%s: inner lost descriptor 3", name)
		}
	}
}

func eventually(condition func() bool) bool {
	for range 10000 {
		if condition() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

func descriptors(t *testing.T, pid int) []string {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What goes wrong is one line that says what, and 125.
func TestEnterFails(t *testing.T) {
	many := own()
	many.UIDs = append(many.UIDs, IDMap{1, 4000000, 65536})
	refusing := t.TempDir()
	for _, tool := range helpers {
		writeScript(t, filepath.Join(refusing, tool), "echo "+tool+": not\necho allowed >&2; echo today >&2; exit 1")
	}
	foreign := own()
	foreign.UIDs[0].HostID++
	tests := map[string]struct {
		value string
		path  string
		want  []string
	}{
		"garbage":        {"garbage", "", []string{`"garbage"`, "unset it"}},
		"control":        {"u:\x1b[2J\n", "", []string{"u: [2J "}},
		"no helper":      {many.String(), t.TempDir(), []string{"map ids", "newuidmap", "No such file", "apt-get install uidmap", "BIVOUAC_IDMAP=single"}},
		"helper refuses": {many.String(), refusing, []string{"map ids: ", "allowed", "today", "/etc/subuid"}},
		"not my id":      {foreign.String(), "", []string{"write /proc/", "uid_map", "Operation not permitted"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := inside(Mapping{}, "report")
			cmd.Env = append(os.Environ(), EnterVariable+"="+tt.value, roleVariable+"=report")
			if tt.path != "" {
				cmd.Env = append(cmd.Env, "PATH="+tt.path)
			}
			expectFailure(t, cmd, tt.want)
		})
	}
}

func expectFailure(t *testing.T, cmd *exec.Cmd, want []string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if got := exitCode(cmd.Run()); got != 125 {
		t.Errorf("exit code %d, want 125", got)
	}
	text := stderr.String()
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "bivouac: ") || !strings.HasSuffix(text, "\n") {
		t.Errorf("not one line: %q", text)
	}
	for _, part := range want {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}

func writeScript(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// Ctrl-C is the caller's: neither the outer process nor process 1 may notice, whether or not the outer one can leave the
// terminal's session.
func TestEnterIgnoresTerminal(t *testing.T) {
	tests := map[string]*exec.Cmd{
		"below a caller":  roleCommand("caller"),
		"session leader":  inside(own(), "survive"),
		"and with ranges": inside(detected(t), "survive"),
	}
	for name, cmd := range tests {
		t.Run(name, func(t *testing.T) {
			terminal, err := pty.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer terminal.Close()
			lines := bufio.NewReader(terminal)
			expectLine(t, lines, "ready")
			_, _ = io.WriteString(terminal, "\x03\x1c\x1a")
			expectLine(t, lines, "survived")
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func roleCommand(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// expectLine reads up to a line that ends with want; the terminal puts its echo of control characters before it.
func expectLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasSuffix(strings.TrimSpace(line), want) {
		t.Fatalf("read %q (%v), want %q", line, err, want)
	}
}

func BenchmarkEnter(b *testing.B) {
	commands := map[string]func() *exec.Cmd{"plain": func() *exec.Cmd { return roleCommand("exit=0") }}
	for name, m := range mappings(b) {
		commands[name] = func() *exec.Cmd { return inside(m, "exit=0") }
	}
	for name, command := range commands {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := command().Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
