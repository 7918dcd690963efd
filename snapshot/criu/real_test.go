package criu

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refusePersonality is a filter that has personality(2) fail with EPERM.
func refusePersonality() []byte {
	var out []byte
	for _, f := range []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: unix.SYS_PERSONALITY},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	} {
		out = binary.NativeEndian.AppendUint16(out, f.Code)
		out = append(out, f.Jt, f.Jf)
		out = binary.NativeEndian.AppendUint32(out, f.K)
	}
	return out
}

// dump dumps a workload that has counted a little.
func dump(t *testing.T, i *Installation, dir string, tr *tree, o DumpOptions, h Hooks) (last int, key string, err error) {
	t.Helper()
	lines := bufio.NewReader(tr.output)
	for n := 0; n < 5; n++ {
		last, _ = counted(t, lines)
	}
	key, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/1", tr.pid))
	must(t, err)
	s := serve(t, i, dir, nil)
	o.Images, o.LogFile, o.LogLevel, o.PID = descriptor(imagesFD), "dump.log", 4, tr.pid
	begin := time.Now()
	err = Dump(t.Context(), s.conn, o, h)
	t.Logf("dump: %v", time.Since(begin))
	var refused *Error
	if errors.As(err, &refused) {
		t.Log(s.log())
	}
	return last, key, err
}

// restore restores a workload and returns its output.
func restore(t *testing.T, i *Installation, dir, key string, h Hooks) (int, *bufio.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	s := serve(t, i, dir, w)
	w.Close()
	begin := time.Now()
	pid, err := Restore(t.Context(), s.conn, RestoreOptions{Images: descriptor(imagesFD), LogFile: "restore.log", LogLevel: 4,
		Inherit: []Inherited{{key, inheritedFD}}}, h)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	t.Logf("restore: %v", time.Since(begin))
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL); r.Close() })
	return pid, bufio.NewReader(r)
}

func TestDumpAndRestore(t *testing.T) {
	i := installed(t)
	if !inside(t) {
		return
	}
	tr, dir := startWorkload(t), t.TempDir()
	var hooks []string
	hook := func(name string) func() error { return func() error { hooks = append(hooks, name); return nil } }
	last, key, err := dump(t, i, dir, tr, DumpOptions{}, Hooks{PreDump: hook("pre-dump"), PostDump: hook("post-dump")})
	must(t, err)
	_ = tr.cmd.Wait()
	all, err := Processes(dir)
	must(t, err)
	if len(all) != 1 || all[0].PID != tr.pid || len(all[0].Threads) < 2 {
		t.Errorf("processes %+v, want %d with threads", all, tr.pid)
	}

	pid, lines := restore(t, i, dir, key, Hooks{PreResume: hook("pre-resume"),
		PostRestore: func(pid int) error { hooks = append(hooks, fmt.Sprint("post-restore ", pid == tr.pid)); return nil }})
	if pid != tr.pid {
		t.Errorf("restored as %d, was %d", pid, tr.pid)
	}
	if next, _ := counted(t, lines); next < last || next > last+50 {
		t.Errorf("counts from %d, had come to %d", next, last)
	}
	if got := strings.Join(hooks, ","); got != "pre-dump,post-dump,post-restore true,pre-resume" {
		t.Errorf("hooks %s", got)
	}
}

// After a failed hook, and after the end of a context, the processes go on.
func TestFailedDumpLeavesRunning(t *testing.T) {
	i := installed(t)
	if !inside(t) {
		return
	}
	tr := startWorkload(t)
	no := errors.New("no")
	if _, _, err := dump(t, i, t.TempDir(), tr, DumpOptions{}, Hooks{PostDump: func() error { return no }}); !errors.Is(err, no) {
		t.Errorf("%v, want the hook's error", err)
	}
	if _, _, err := dump(t, i, t.TempDir(), tr, DumpOptions{LeaveRunning: true}, Hooks{}); err != nil {
		t.Errorf("dump of what a failed dump left: %v", err)
	}
	lines := bufio.NewReader(tr.output)
	for n := 0; n < 20; n++ {
		counted(t, lines)
	}
}

func TestRestoredProcessesAreFiltered(t *testing.T) {
	i := installed(t)
	if !inside(t) {
		return
	}
	tr, dir := startWorkload(t), t.TempDir()
	if err := CheckConfined("/proc", []int{tr.pid}, Confinement{Capabilities: ^uint64(0), Filtered: true}); err == nil {
		t.Error("a process without a filter is filtered")
	}
	_, key, err := dump(t, i, dir, tr, DumpOptions{}, Hooks{})
	must(t, err)
	_ = tr.cmd.Wait()
	must(t, AddSeccomp(dir, refusePersonality(), 0))
	if err := AddSeccomp(dir, refusePersonality(), 0); !errors.Is(err, errFiltered) {
		t.Errorf("a second filter: %v", err)
	}
	checked := false
	pid, lines := restore(t, i, dir, key, Hooks{PreResume: func() error {
		checked = true
		if err := CheckConfined("/proc", []int{tr.pid}, Confinement{}); err == nil {
			t.Error("root of the namespaces has no capabilities")
		}
		return CheckConfined("/proc", []int{tr.pid}, Confinement{Capabilities: ^uint64(0), Filtered: true})
	}})
	if !checked {
		t.Error("no pre-resume")
	}
	counted(t, lines) // of before
	if _, errno := counted(t, lines); errno != int(unix.EPERM) {
		t.Errorf("personality: errno %d, want EPERM", errno)
	}
	must(t, CheckConfined("/proc", []int{pid}, Confinement{Capabilities: ^uint64(0), Filtered: true}))
}

// Nothing that the container has is CRIU's: neither what its loader would preload nor a configuration.
func TestContainerCannotReachCRIU(t *testing.T) {
	i := installed(t)
	if !inside(t) {
		return
	}
	must(t, unix.Mount("etc", "/etc", "tmpfs", 0, ""))
	must(t, os.WriteFile("/etc/ld.so.preload", []byte("/evil.so\n"), 0o644))
	must(t, os.Mkdir("/etc/criu", 0o755))
	must(t, os.WriteFile("/etc/criu/default.conf", []byte("evil-option\n"), 0o644))
	dir := t.TempDir()
	s := serve(t, i, dir, nil)
	err := Dump(t.Context(), s.conn, DumpOptions{PID: 1 << 21, Images: descriptor(imagesFD), LogFile: "dump.log"}, Hooks{})
	var refused *Error
	if !errors.As(err, &refused) {
		t.Errorf("dump of nothing: %v", err)
	}
	_ = s.cmd.Wait()
	if text := s.stderr.String(); strings.Contains(text, "evil") {
		t.Error(text)
	}
}

func TestCheck(t *testing.T) {
	i := installed(t)
	must(t, i.Check(t.Context(), "/proc/self/exe", "check"))
	i.Loader, i.Libraries, i.Path = "", nil, "/nowhere"
	if err := i.Check(t.Context(), "/proc/self/exe", "check"); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("check of nothing: %v", err)
	}
}

// droppable returns what a process has in mappings of MAP_DROPPABLE, where the vDSO keeps the state of its getrandom.
func droppable(t *testing.T, pid int) []byte {
	t.Helper()
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	must(t, err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	must(t, err)
	defer mem.Close()
	var all []byte
	var begin, end int64
	for line := range strings.Lines(string(smaps)) {
		var from, to int64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			begin, end = from, to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && strings.Contains(flags, " dp") {
			part := make([]byte, end-begin)
			_, err := mem.ReadAt(part, begin)
			must(t, err)
			all = append(all, part...)
		}
	}
	return all
}

// CRIU leaves it out, so that clones do not repeat random numbers.
func TestRandomStateIsNotRestored(t *testing.T) {
	i := installed(t)
	if !inside(t) {
		return
	}
	tr, dir := startWorkload(t, "random"), t.TempDir()
	lines := bufio.NewReader(tr.output)
	counted(t, lines)
	if state := droppable(t, tr.pid); len(bytes.Trim(state, "\x00")) == 0 {
		t.Skip("this kernel's vDSO has no getrandom (Linux 6.11)")
	}
	_, key, err := dump(t, i, dir, tr, DumpOptions{}, Hooks{})
	must(t, err)
	_ = tr.cmd.Wait()
	restore(t, i, dir, key, Hooks{PreResume: func() error {
		state := droppable(t, tr.pid)
		if len(state) == 0 || len(bytes.Trim(state, "\x00")) > 0 {
			t.Errorf("%d bytes of state: %x", len(state), bytes.Trim(state, "\x00"))
		}
		return nil
	}})
}
