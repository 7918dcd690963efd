package criu

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// descendants lists a process and its children, and theirs.
func descendants(t *testing.T, root int) []int {
	t.Helper()
	all := []int{root}
	for i := 0; i < len(all); i++ {
		files, err := filepath.Glob("/proc/" + strconv.Itoa(all[i]) + "/task/*/children")
		must(t, err)
		for _, file := range files {
			content, _ := os.ReadFile(file)
			for _, child := range strings.Fields(string(content)) {
				all = append(all, atoi(child))
			}
		}
	}
	return all
}

// What Inspect sees, a dump fails on; and its log says the same.
func TestInspectAndDiagnoseAgree(t *testing.T) {
	i := installed(t)
	if !inside(t) {
		return
	}
	tests := []struct {
		acquired        string
		seen, diagnosed Resource
	}{
		{"io_uring", ResourceIOURing, ResourceIOURing},
		{"userfaultfd", ResourceUserfaultfd, ResourceUserfaultfd},
		{"queue", ResourceMessageQueue, ResourceOutsideFile},
		{"memfd", ResourceMemfdProgram, ""}, // the restore fails
		{"deleted", ResourceDeletedMapping, ResourceDeletedMapping},
		{"strict filter", ResourceSeccomp, ResourceSeccomp},
		{"user namespace", ResourceUserNamespace, ResourceUserNamespace},
		{"pid namespace", ResourcePIDNamespace, ResourcePIDNamespace},
		{"uts namespace", ResourceOtherNamespace, ResourceOtherNamespace},
		{"traced", ResourceTraced, ResourceTraced},
		{"mptcp", "", ResourceMPTCP},
		{"go listener", "", ResourceMPTCP},
		{"dead terminal", "", ""},
	}
	for _, test := range tests {
		t.Run(test.acquired, func(t *testing.T) {
			tr := startWorkload(t, test.acquired)
			lines := bufio.NewReader(tr.output)
			counted(t, lines)
			begin := time.Now()
			report, err := Inspect("/proc", tr.pid, descendants(t, tr.pid), 0)
			t.Logf("%v %+v %v", time.Since(begin), report, err)
			must(t, err)
			var seen Resource
			for _, p := range report.Problems {
				seen = p.Resource
				if p.Command == "" || p.PID == 0 {
					t.Errorf("whose? %+v", p)
				}
			}
			if seen != test.seen {
				t.Errorf("saw %q", seen)
			}
			dir := t.TempDir()
			s := serve(t, i, dir, nil)
			err = Dump(t.Context(), s.conn, DumpOptions{PID: tr.pid, Images: descriptor(imagesFD), LogFile: "dump.log", LogLevel: 2}, Hooks{})
			if test.diagnosed == "" {
				must(t, err)
				return
			}
			log, err := os.ReadFile(dir + "/dump.log")
			must(t, err)
			if f := Diagnose(log); f == nil || f.Resource != test.diagnosed {
				t.Errorf("%+v\n%s", f, log)
			} else {
				t.Logf("%+v", *f)
			}
			counted(t, lines)
		})
	}
}

// Nothing is wrong with a process without anything special.
func TestInspectFindsNothing(t *testing.T) {
	if !inside(t) {
		return
	}
	tr := start(t, exec.Command("/bin/sleep", "100"))
	report, err := Inspect("/proc", tr.pid, []int{tr.pid}, 0)
	must(t, err)
	if len(report.Problems) > 0 || report.Threads != 1 || report.MaxPID != tr.pid {
		t.Errorf("%+v", report)
	}
	if report.Streams[0] != "/dev/null" || !strings.HasPrefix(report.Streams[1], "pipe:[") {
		t.Errorf("streams %q", report.Streams)
	}
}

func BenchmarkInspect(b *testing.B) {
	var pids []int
	for range 6 {
		cmd := exec.Command("/bin/sleep", "100")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		pids = append(pids, cmd.Process.Pid)
	}
	for b.Loop() {
		if _, err := Inspect("/proc", pids[0], pids, 0); err != nil {
			b.Fatal(err)
		}
	}
}
