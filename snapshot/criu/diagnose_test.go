package criu

import (
	"strings"
	"testing"
)

func TestDiagnose(t *testing.T) {
	const rlimit = "(00.012858) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
	tests := []struct {
		name, log string
		resource  Resource
		pid       int
		text      string // in the message
	}{
		{"outside file", rlimit +
			"(00.011731) Error (criu/files-reg.c:1790): Can't lookup mount=24 for fd=10 path=/dev/null\n" +
			"(00.011736) ----------------------------------------\n" +
			"(00.011745) Error (criu/cr-dump.c:1545): Dump files (pid: 8) failed with -1\n" +
			"(00.012041) Error (criu/cr-dump.c:1975): Dumping FAILED.\n",
			ResourceOutsideFile, 8, "fd=10 path=/dev/null"},
		{"program from outside", "(00.02) Error (criu/files-reg.c:1790): Can't lookup mount=27 for fd=-3 path=/a b\n",
			ResourceOutsideFile, 0, "/a b"},
		{"io_uring", rlimit +
			"(00.1) Dumping task (pid: 101 comm: mariadbd)\n" +
			"(00.2) Error (compel/src/lib/infect-rpc.c:68): Command 66 for daemon failed with -1\n" +
			"(00.3) Error (criu/parasite-syscall.c:588): send_fds failed (-22)\n" +
			"(00.4) Error (criu/cr-dump.c:1545): Dump files (pid: 101) failed with -1\n",
			ResourceIOURing, 101, "io_uring"},
		{"go listener", "(00.1) Error (criu/sk-inet.c:137): inet: Unsupported proto 262 for socket 9a\n", ResourceMPTCP, 0, "multipath"},
		{"dialled unix socket", rlimit + "Warn  (criu/sk-unix.c:657): unix: Trying to resolve unix socket with obsolete method\n" +
			"Error (criu/sk-unix.c:351): unix: Unix socket 15068260 not found\n" +
			"Error (criu/cr-dump.c:1545): Dump files (pid: 100) failed with -1\n", ResourceConnection, 100, "other end"},
		{"nested pid namespace", "(00.1) Error (criu/namespaces.c:460): Can't dump nested pid namespace for 107\n",
			ResourcePIDNamespace, 107, "pid namespace"},
		{"pid clash", "(00.006)    105: Error (criu/cr-restore.c:1230): Can't fork for 107: File exists\n", ResourcePID, 107, "taken"},
		{"killed", "(00.007202) Error (criu/cr-restore.c:1269): 8 killed by signal 11: Segmentation fault\n", ResourceKernel, 8, "signal: 11"},
		{"restorer", "pie: 33: Error (criu/pie/restorer.c:546): seccomp: SECCOMP_SET_MODE_FILTER returned -22 on tid 33\n",
			ResourceSeccomp, 33, "seccomp"},
		{"deleted mapping", "(00.1) Error (criu/proc_parse.c:376): Can't open mapped [/lib/x.so (deleted)]: Operation not permitted\n",
			ResourceDeletedMapping, 0, "/lib/x.so (deleted)"},
		{"disk", "(00.1) Error (criu/bfd.c:300): bfd: Error writing data to file: No space left on device\n", ResourceDisk, 0, "full"},
		{"traced", "(00.1) Error (compel/src/lib/infect.c:261): Unseizable non-zombie 104 found, state S, err -1/10\n",
			ResourceTraced, 104, "traced"},
		{"unknown", rlimit + "(00.1) Error (criu/x.c:1): The moon (pid: 7) is full\n(00.2) Error (criu/y.c:1): Dumping FAILED.\n",
			"", 0, "not known"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose([]byte(test.log))
			if f == nil {
				t.Fatal("no failure")
			}
			if f.Resource != test.resource || f.PID != test.pid || !strings.Contains(f.Message, test.text) {
				t.Errorf("%+v, want %q of %d with %q", *f, test.resource, test.pid, test.text)
			}
			if !strings.Contains(test.log, f.Line) || f.Line == "" || strings.Contains(f.Line, "Error (") {
				t.Errorf("line %q is not one of the log's", f.Line)
			}
		})
	}
	if f := Diagnose([]byte(tests[2].log)); f == nil || f.Command != "mariadbd" {
		t.Errorf("%+v, want the command", f)
	}
}

func TestDiagnoseIgnoresHarmlessErrors(t *testing.T) {
	log := "(00.012858) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n" +
		"(00.02) Error (compel/src/lib/ptrace.c:27): suspending seccomp failed: Operation not permitted\n" +
		"(00.02) Error (criu/cr-restore.c:1764): failed to suspend seccomp, restore will probably fail...\n" +
		"(00.03) Restore finished successfully. Tasks resumed.\n"
	if f := Diagnose([]byte(log)); f != nil {
		t.Errorf("%+v", *f)
	}
}

func FuzzDiagnose(f *testing.F) {
	f.Add([]byte("(00.1) Error (criu/x.c:1): The moon is full\n"))
	f.Add([]byte("pie: 33: Error (criu/pie/restorer.c:546): seccomp: x returned -22 on tid 99999999999999999999\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		failure := Diagnose(log)
		if failure == nil {
			return
		}
		if failure.Message == "" || failure.PID < 0 || len(failure.Line) > maxLine {
			t.Errorf("%+v", *failure)
		}
	})
}
