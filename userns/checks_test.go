package userns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func checksByName(t *testing.T, o CheckOptions) map[string]Check {
	t.Helper()
	byName := map[string]Check{}
	for _, c := range Checks(t.Context(), o) {
		byName[c.Name] = c
	}
	return byName
}

// Whatever the machine offers, an answer explains itself: a yes says what was seen, anything else also what mends it.
func TestChecksExplainThemselves(t *testing.T) {
	checks := Checks(t.Context(), CheckOptions{StoreDir: t.TempDir()})
	if len(checks) != 10 {
		t.Errorf("%d checks, want 10", len(checks))
	}
	for _, c := range checks {
		t.Logf("%-24s %-8s %s; %s", c.Name, c.Answer, c.Detail, c.Remedy)
		if c.Means == "" || c.Detail == "" {
			t.Errorf("%s explains nothing: %+v", c.Name, c)
		}
		if (c.Answer == Yes) != (c.Remedy == "") {
			t.Errorf("%s is %s and its remedy %q", c.Name, c.Answer, c.Remedy)
		}
		if strings.ContainsAny(c.Detail+c.Remedy, "\n") {
			t.Errorf("%s has more than one line: %+v", c.Name, c)
		}
	}
}

// The suite itself needs what the required checks probe: where it runs, they say yes.
func TestChecksAgreeWithTheSuite(t *testing.T) {
	checks := Checks(t.Context(), CheckOptions{StoreDir: t.TempDir()})
	if !Runnable(checks) {
		t.Errorf("not runnable: %+v", checks)
	}
	byName := checksByName(t, CheckOptions{StoreDir: t.TempDir()})
	mapped := !detected(t).Single()
	if got := byName["newuidmap and newgidmap"].Answer == Yes; got != mapped {
		t.Errorf("newuidmap %v, detected a mapping %v", got, mapped)
	}
}

func TestChecksLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	Checks(t.Context(), CheckOptions{StoreDir: filepath.Join(dir, "not", "there")})
	for limit := range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(3*limit)*time.Millisecond)
		Checks(ctx, CheckOptions{StoreDir: dir})
		cancel()
	}
	if !eventually(func() bool { entries, _ := os.ReadDir(dir); return len(entries) == 0 }) {
		entries, _ := os.ReadDir(dir)
		t.Errorf("left %v", entries)
	}
}

func TestChecksUnwritableStore(t *testing.T) {
	c := checksByName(t, CheckOptions{StoreDir: "/proc/bivouac"})["overlay"]
	if c.Answer != No || !strings.Contains(c.Remedy, "BIVOUAC_HOME") {
		t.Errorf("%+v", c)
	}
}

// A path may hold what separates an overlay's options.
func TestChecksStrangeStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a,b:c\d e`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if c := checksByName(t, CheckOptions{StoreDir: dir})["overlay"]; c.Answer != Yes {
		t.Errorf("%+v", c)
	}
}

// A helper that refuses is its own fault and not that of the namespaces.
func TestChecksRefusingHelper(t *testing.T) {
	a := attempt{mapping: own(), refused: &refusal{"map ids: newuidmap: not allowed; compare the files"}}
	if v := a.refusedVerdict(); v.answer != No || v.detail != "map ids: newuidmap: not allowed" || v.remedy != "compare the files" {
		t.Errorf("%+v", v)
	}
	if v := a.namespaces(); v.answer != Yes {
		t.Errorf("%+v", v)
	}
}

func TestChecksForcedSingle(t *testing.T) {
	t.Setenv(ModeVariable, "single")
	byName := checksByName(t, CheckOptions{StoreDir: t.TempDir()})
	if c := byName["newuidmap and newgidmap"]; c.Answer == Yes {
		t.Errorf("%+v", c)
	}
	if c := byName["user namespaces"]; c.Answer != Yes || !strings.Contains(c.Detail, "single id") {
		t.Errorf("%+v", c)
	}
}

func TestChecksWithoutHelpers(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	byName := checksByName(t, CheckOptions{StoreDir: t.TempDir()})
	if c := byName["newuidmap and newgidmap"]; c.Answer != No || !strings.Contains(c.Remedy, "uidmap") {
		t.Errorf("%+v", c)
	}
	if byName["overlay"].Answer != Yes {
		t.Errorf("%+v", byName["overlay"])
	}
}

func TestReadProbes(t *testing.T) {
	refused := inside(Mapping{}, "report") // has no maps, so it is refused
	out, err := refused.Output()
	_, got := readProbes(out, "bivouac: make namespaces: no; sysctl\n", err)
	if r, ok := errors.AsType[*refusal](got); !ok || r.line != "make namespaces: no; sysctl" {
		t.Errorf("%v", got)
	}
	for _, out := range []string{"", "PASS\n", `[{"answer":"maybe"}]`} {
		if _, err := readProbes([]byte(out), "", nil); err == nil {
			t.Errorf("%q is taken for an answer", out)
		}
	}
}

// What could not be tried is unknown, and what is required and unknown does not run.
func TestFailedAttempt(t *testing.T) {
	tests := map[string]struct {
		err  error
		want Answer
	}{
		"refused":     {&refusal{"make namespaces: Operation not permitted; sudo sysctl"}, No},
		"root":        {&Unsupported{Feature: "running as root", Remedy: "run it as somebody", Err: errors.New("no")}, No},
		"interrupted": {context.DeadlineExceeded, Unknown},
	}
	for name, tt := range tests {
		a := attempt{err: tt.err, inside: untried(tt.err)}
		if v := a.namespaces(); v.answer != tt.want || v.remedy == "" {
			t.Errorf("%s: %+v", name, v)
		}
		for _, c := range a.inside {
			if c.Answer != Unknown || Runnable([]Check{c}) == c.Required {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

func TestAnswerText(t *testing.T) {
	for _, a := range []Answer{Unknown, Yes, No} {
		var back Check
		text, err := json.Marshal(Check{Answer: a})
		if err != nil || json.Unmarshal(text, &back) != nil || back.Answer != a {
			t.Errorf("%s became %s and that %s", a, text, back.Answer)
		}
	}
	if text, _ := json.Marshal(Check{Answer: No}); !strings.Contains(string(text), `"answer":"no"`) {
		t.Errorf("%s", text)
	}
}

func TestRunnable(t *testing.T) {
	for want, checks := range map[bool][]Check{
		true:  {{Answer: Yes, Required: true}, {Answer: No}, {Answer: Unknown}},
		false: {{Answer: Yes, Required: true}, {Answer: Unknown, Required: true}},
	} {
		if Runnable(checks) != want || !want && Runnable(slices.Concat(checks, checks)) {
			t.Errorf("%v, want %v", checks, want)
		}
	}
}

func BenchmarkChecks(b *testing.B) {
	for b.Loop() {
		Checks(b.Context(), CheckOptions{})
	}
}

// The refusals that the test can make by itself: a container whose limit of namespaces is 0, and one with parts of its
// /proc hidden. Both are told from a missing privilege.
func TestRefusedByOuterContainer(t *testing.T) {
	tests := map[string]struct{ line, remedy string }{
		"exhausted": {"make user, mount and process namespaces: No space left on device", "user.max_user_namespaces"},
		"masked":    {"mount /proc: Operation not permitted", "systempaths=unconfined"},
	}
	for role, tt := range tests {
		t.Run(role, func(t *testing.T) {
			cmd := inside(detected(t), role)
			var out bytes.Buffer
			cmd.Stdout = &out
			expectFailure(t, cmd, []string{tt.line, tt.remedy})
			var checks []Check
			if err := json.Unmarshal(out.Bytes(), &checks); err != nil {
				t.Fatal(err)
			}
			if c := checks[0]; Runnable(checks) || c.Answer != No || c.Detail != tt.line || !strings.Contains(c.Remedy, tt.remedy) {
				t.Errorf("%+v", c)
			}
			if c := checks[4]; c.Name != "overlay" || c.Answer != Unknown {
				t.Errorf("%+v", c)
			}
		})
	}
}
