package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// parseRun reads a command line of run as far as its specification.
func parseRun(t *testing.T, args ...string) (*sandbox.Spec, error) {
	t.Helper()
	f := &runFlags{}
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	set.SetInterspersed(false)
	f.register(set)
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	return f.spec(set, set.Args())
}

func mustParseRun(t *testing.T, args ...string) *sandbox.Spec {
	t.Helper()
	s, err := parseRun(t, args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return s
}

// refuseRun asserts that a command line is refused by one line that has the parts.
func refuseRun(t *testing.T, args []string, parts ...string) {
	t.Helper()
	s, err := parseRun(t, args...)
	if err == nil {
		t.Fatalf("%q: became %+v", args, s)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %q does not contain %q", args, err, part)
		}
	}
}

func TestWithoutFlagsTheImageDecides(t *testing.T) {
	want := &sandbox.Spec{
		Image: "alpine", Args: []string{}, Listed: true, Monitor: true, Network: sandbox.NetworkNone, Get: sandbox.ImageOptions{Pull: sandbox.PullMissing},
	}
	if got := mustParseRun(t, "alpine"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFlagsReachTheSpecification(t *testing.T) {
	want := &sandbox.Spec{
		Image: "alpine", Args: []string{"echo", "-n", "--name=x"}, Name: "n", Hostname: "h", User: "u:g", WorkingDir: "/w", StopSignal: "INT",
		Labels: map[string]string{"a": "b=c", "d": ""}, Listed: true, Monitor: true, Init: true, ReadOnly: true, Keep: true, Network: sandbox.NetworkHost, CapAdd: []string{"SYS_TIME", "CHOWN"}, CapDrop: []string{"ALL"},
		Get: sandbox.ImageOptions{
			Pull: sandbox.PullAlways, Platform: "linux/arm64", PlainHTTP: true, CAFile: "ca.pem", IgnoreChownErrors: true, MaxUnpackedSize: 1 << 30,
		},
	}
	got := mustParseRun(t, "--name", "n", "--hostname", "h", "-u", "u:g", "-w", "/w", "--stop-signal", "INT", "-l", "a=b=c", "--label", "d", "--init", "--read-only",
		"--net", "host", "--cap-add", "SYS_TIME,CHOWN", "--cap-drop", "ALL", "--pull", "always", "--platform", "linux/arm64", "--plain-http",
		"--tls-ca", "ca.pem", "--ignore-chown-errors", "--max-unpacked-size", "1g", "alpine", "echo", "-n", "--name=x")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAnEntrypointIsReplacedOrRemoved(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  *[]string
	}{
		{nil, nil},
		{[]string{"--entrypoint", "/bin/sh"}, &[]string{"/bin/sh"}},
		{[]string{"--entrypoint", "a program with spaces"}, &[]string{"a program with spaces"}},
		{[]string{"--entrypoint", ""}, &[]string{}},
		{[]string{"--entrypoint="}, &[]string{}},
		{[]string{"--entrypoint", "x", "--entrypoint", ""}, &[]string{}},
	} {
		if got := mustParseRun(t, append(test.flags, "alpine", "arg")...); !reflect.DeepEqual(got.Entrypoint, test.want) {
			t.Errorf("%q: got %v", test.flags, got.Entrypoint)
		}
	}
}

func TestWhatIsKept(t *testing.T) {
	for _, test := range []struct {
		kept bool
		args []string
	}{
		{false, []string{"alpine"}}, {false, []string{"--rm", "alpine"}}, {false, []string{"--rm", "--name", "x", "alpine"}},
		{false, []string{"-d", "--rm", "alpine"}}, {false, []string{"-d", "host:"}}, {false, []string{"--name", "x", "host:"}},
		{true, []string{"--rm=false", "alpine"}}, {true, []string{"-d", "alpine"}}, {true, []string{"--name", "x", "alpine"}},
		{true, []string{"--restart", "always", "alpine"}}, {true, []string{"--rm=false", "host:"}},
	} {
		if got := mustParseRun(t, test.args...); got.Keep != test.kept {
			t.Errorf("%q: kept %v", test.args, got.Keep)
		}
	}
	refuseRun(t, []string{"--rm", "--restart", "always", "alpine"}, "--rm", "--restart")
}

func TestPullPolicies(t *testing.T) {
	for _, policy := range []string{"missing", "always", "never"} {
		if got := mustParseRun(t, "--pull", policy, "alpine"); string(got.Get.Pull) != policy {
			t.Errorf("%s became %s", policy, got.Get.Pull)
		}
	}
	for _, policy := range []string{"", "sometimes", "Always", "true"} {
		refuseRun(t, []string{"--pull=" + policy, "alpine"}, "--pull", "missing, always, never")
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("OUTSIDE", "out")
	t.Setenv("EMPTY", "")
	file := filepath.Join(t.TempDir(), "env")
	text := "# a comment\n\nA=file\n  INDENTED=1\nB=a = b # not a comment\nOUTSIDE\nABSENT_OUTSIDE\nQUOTED=\"q\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		flags []string
		want  []string
	}{
		{"none", nil, nil},
		{"a value", []string{"-e", "A=1"}, []string{"A=1"}},
		{"an empty value", []string{"-e", "A="}, []string{"A="}},
		{"a value with everything in it", []string{"-e", "A=b=c, d\n"}, []string{"A=b=c, d\n"}},
		{"from outside", []string{"-e", "OUTSIDE", "-e", "EMPTY", "-e", "ABSENT_OUTSIDE"}, []string{"OUTSIDE=out", "EMPTY="}},
		{"a file comes first", []string{"-e", "A=flag", "--env-file", file},
			[]string{"A=file", "INDENTED=1", "B=a = b # not a comment", "OUTSIDE=out", `QUOTED="q"`, "A=flag"}},
		{"two files in their order", []string{"--env-file", file, "--env-file", os.DevNull, "-e", "Z=1"},
			[]string{"A=file", "INDENTED=1", "B=a = b # not a comment", "OUTSIDE=out", `QUOTED="q"`, "Z=1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := mustParseRun(t, append(test.flags, "alpine")...).Env; !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestEnvironmentThatMakesNoSense(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("A=1\nwith space=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuseRun(t, []string{"-e", "", "alpine"}, "--env", "NAME=VALUE")
	refuseRun(t, []string{"-e", "=x", "alpine"}, "--env", "NAME=VALUE")
	refuseRun(t, []string{"--env-file", "/no/such/file", "alpine"}, "--env-file", "/no/such/file")
	refuseRun(t, []string{"--env-file", bad, "alpine"}, "--env-file", "with space")
	refuseRun(t, []string{"--env-file", t.TempDir(), "alpine"}, "--env-file")
}

func TestUlimits(t *testing.T) {
	for text, want := range map[string]sandbox.Ulimit{
		"nofile=1024":        {Name: "nofile", Soft: 1024, Hard: 1024},
		"nofile=1024:2048":   {Name: "nofile", Soft: 1024, Hard: 2048},
		"core=0":             {Name: "core"},
		"memlock=-1":         {Name: "memlock", Soft: -1, Hard: -1},
		"stack=8388608:-1":   {Name: "stack", Soft: 8388608, Hard: -1},
		"nproc=100:00000200": {Name: "nproc", Soft: 100, Hard: 200},
	} {
		if got := mustParseRun(t, "--ulimit", text, "alpine").Ulimits; !slices.Equal(got, []sandbox.Ulimit{want}) {
			t.Errorf("%s: got %+v", text, got)
		}
	}
	for _, text := range []string{"", "nofile", "nofile=", "nofile=x", "nofile=1:2:3", "nofile=2:1", "fly=1", "=1"} {
		refuseRun(t, []string{"--ulimit", text, "alpine"}, "--ulimit")
	}
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags []string
		want  sandbox.Limits
	}{
		{"none", nil, sandbox.Limits{}},
		{"memory, and as much swap", []string{"-m", "64m"}, sandbox.Limits{Memory: 64 << 20, Swap: 64 << 20}},
		{"memory without a unit", []string{"-m", "4096"}, sandbox.Limits{Memory: 4096, Swap: 4096}},
		{"swap is what exceeds memory", []string{"-m", "1g", "--memory-swap", "3g"}, sandbox.Limits{Memory: 1 << 30, Swap: 2 << 30}},
		{"no swap", []string{"-m", "1g", "--memory-swap", "1g"}, sandbox.Limits{Memory: 1 << 30}},
		{"unlimited swap", []string{"-m", "1g", "--memory-swap", "-1"}, sandbox.Limits{Memory: 1 << 30, Swap: -1}},
		{"CPUs", []string{"--cpus", "1.5"}, sandbox.Limits{CPUs: 1.5}},
		{"processes", []string{"--pids-limit", "100"}, sandbox.Limits{PIDs: 100}},
		{"unlimited processes", []string{"--pids-limit", "-1"}, sandbox.Limits{}},
		{"as well as possible", []string{"--limits", "best-effort", "-m", "1k"}, sandbox.Limits{Memory: 1 << 10, Swap: 1 << 10, BestEffort: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := mustParseRun(t, append(test.flags, "alpine")...).Limits; got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	for _, test := range []struct {
		flags []string
		part  string
	}{
		{[]string{"-m", "much"}, `--memory "much"`},
		{[]string{"-m", "-1"}, "--memory"},
		{[]string{"-m", "0"}, "--memory"},
		{[]string{"-m", "1x"}, "--memory"},
		{[]string{"--memory-swap", "1g"}, "needs a --memory"},
		{[]string{"-m", "2g", "--memory-swap", "1g"}, "needs a --memory that is not larger"},
		{[]string{"-m", "2g", "--memory-swap", "-2"}, "--memory-swap"},
		{[]string{"--cpus", "-1"}, "--cpus"},
		{[]string{"--cpus", "many"}, "--cpus"},
		{[]string{"--pids-limit", "-2"}, "--pids-limit"},
		{[]string{"--limits", "none"}, "strict, best-effort"},
		{[]string{"--max-unpacked-size", "0"}, "--max-unpacked-size"},
	} {
		refuseRun(t, append(test.flags, "alpine"), test.part)
	}
}

func TestTheMachinesOwnRootStartsWhereTheUserIs(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"host:"}, dir},
		{[]string{"-w", "/tmp", "host:"}, "/tmp"},
		{[]string{"alpine"}, ""},
		{[]string{"rootfs:."}, ""},
	} {
		if got := mustParseRun(t, test.args...).WorkingDir; got != test.want {
			t.Errorf("%q: got %q, want %q", test.args, got, test.want)
		}
	}
}

func TestATerminalNeedsOneToTypeAt(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	before := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = before }()

	refuseRun(t, []string{"-it", "alpine"}, "--tty", "leave out -t, or -i")
	if got := mustParseRun(t, "-t", "alpine"); got.Terminal == nil {
		t.Error("there is no terminal for output alone")
	}
	if got := mustParseRun(t, "-i", "alpine"); got.Terminal != nil {
		t.Error("a terminal was not asked for")
	}
}

func TestTimeouts(t *testing.T) {
	f := &runFlags{}
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.register(set)
	if err := set.Parse([]string{"--timeout", "1m30s"}); err != nil || f.timeout != 90*time.Second {
		t.Errorf("got %v, %v", f.timeout, err)
	}
	refuseRun(t, []string{"--timeout", "30", "alpine"}, "--timeout")
	refuseRun(t, []string{"--timeout", "soon", "alpine"}, "--timeout")
}

func TestDetachedContainersStay(t *testing.T) {
	for _, accepted := range [][]string{{"-d"}, {"-d", "--rm"}, {"-d", "--rm=false"}, {"-d", "-it"}, {"--detach", "--name", "n"}} {
		mustParseRun(t, append(accepted, "alpine")...)
	}
	refuseRun(t, []string{"-d", "--timeout", "3s", "alpine"}, "--timeout", "--detach")
}

func TestWhatCanBeCheckpointed(t *testing.T) {
	if got := mustParseRun(t, "--checkpointable", "alpine"); !got.Checkpointable {
		t.Error("it was lost")
	}
	for _, flags := range [][]string{{"--tty"}, {"--init"}, {"--network", "host"}} {
		refuseRun(t, append(append([]string{"--checkpointable"}, flags...), "alpine"), "--checkpointable", strings.Join(flags, " "))
	}
}
