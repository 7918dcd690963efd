package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// testKeeper is one that has containers' records and nothing else.
func testKeeper(t *testing.T) *keeper {
	t.Helper()
	home := t.TempDir()
	t.Setenv("BIVOUAC_HOME", home)
	return &keeper{home: home, idMap: "here"}
}

func testID(beginning string) string { return beginning + strings.Repeat("0", 64-len(beginning)) }

// keep makes a container that is kept, as its creation does, and gives its lock back.
func (k *keeper) keepTest(t *testing.T, id, name string, state sandbox.RecordState) string {
	t.Helper()
	dir := filepath.Join(k.containersDir(), id)
	err := k.alone(func() error {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		return k.linkName(name, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lockDirectory(dir)
	if err != nil || lock == nil {
		t.Fatal(err)
	}
	r := &record{dir: dir, lock: lock, state: state, fixed: sandbox.RecordFixed{
		Version: sandbox.RecordVersion, Info: sandbox.Info{ID: id, Name: name}, Spec: sandbox.Spec{Name: name}, IDMap: k.idMap,
	}}
	if err := r.save(); err != nil {
		t.Fatal(err)
	}
	r.close()
	return dir
}

func TestARecordIsTakenOverByOneKeeperAtATime(t *testing.T) {
	k := testKeeper(t)
	id := testID("a")
	dir := k.keepTest(t, id, "a", sandbox.RecordState{State: sandbox.StateRunning, Restarts: 3})
	r, err := k.takeRecord(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.current(); s.State != sandbox.StateExited || s.Exit.Code != sandbox.LostExit || s.Failure != sandbox.KeeperGone {
		t.Errorf("after a crash: %+v", s)
	}
	if err := r.change(func(s *sandbox.RecordState) { s.State = sandbox.StateRunning }); err != nil {
		t.Fatal(err)
	}
	if _, err := k.takeRecord(t.Context(), id); sandbox.CodeOf(err) != sandbox.CodeInUse {
		t.Errorf("while it runs: %v", err)
	}
	if err := r.change(func(s *sandbox.RecordState) { s.State = sandbox.StateExited }); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, r.close) // a short operation of another keeper
	second, err := k.takeRecord(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.change(func(s *sandbox.RecordState) { s.State = sandbox.StateRunning }); err != nil {
		t.Fatal(err)
	}
	if s, _, err := sandbox.ReadState(dir); err != nil || s.State != sandbox.StateExited {
		t.Errorf("who gave it back has written %+v, %v", s, err)
	}
	second.close()
	for _, id := range []string{testID("b"), "../" + id, ""} {
		if _, err := k.takeRecord(t.Context(), id); sandbox.CodeOf(err) != sandbox.CodeNotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestDamagedRecordsAreNotOpenedButRemoved(t *testing.T) {
	k := testKeeper(t)
	id := testID("a")
	dir := k.keepTest(t, id, "a", sandbox.RecordState{State: sandbox.StateExited})
	if err := os.WriteFile(filepath.Join(dir, sandbox.RecordFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.takeRecord(t.Context(), id); sandbox.CodeOf(err) != sandbox.CodeInvalid || !strings.Contains(fmt.Sprint(err), "bivouac rm") {
		t.Errorf("open: %v", err)
	}
	r, err := k.lockRecord(t.Context(), id)
	if err == nil {
		err = k.erase(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rest, _ := filepath.Glob(filepath.Join(k.containersDir(), "*", "*")); len(rest) != 0 {
		t.Errorf("left: %v", rest)
	}
}

func TestRecordsOfAnotherMapping(t *testing.T) {
	k := testKeeper(t)
	k.keepTest(t, testID("a"), "a", sandbox.RecordState{State: sandbox.StateExited})
	k.idMap = "there"
	r, err := k.takeRecord(t.Context(), testID("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := k.checkOwner(r); sandbox.CodeOf(err) != sandbox.CodeUnsupported || !strings.Contains(err.Error(), "here") || !strings.Contains(err.Error(), "there") {
		t.Error(err)
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	k := testKeeper(t)
	k.keepTest(t, testID("a"), "a", sandbox.RecordState{State: sandbox.StateCreated})
	take := func(name, id string) error { return k.alone(func() error { return k.linkName(name, id) }) }
	if err := take("a", testID("b")); sandbox.CodeOf(err) != sandbox.CodeNameInUse {
		t.Errorf("of a container that is kept: %v", err)
	}
	lock, err := lockName(k.containersDir(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := take("b", testID("b")); sandbox.CodeOf(err) != sandbox.CodeNameInUse {
		t.Errorf("of one that is not: %v", err)
	}
	lock.Unlock()
	for name, target := range map[string]string{"gone": testID("c"), "renamed": testID("a"), "strange": "..", "stranger": "/etc"} {
		if err := os.Symlink("../"+target, k.nameLink(name)); err != nil {
			t.Fatal(err)
		}
		if err := take(name, testID("a")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheNextKeeperRemovesWhatIsHalfMade(t *testing.T) {
	k := testKeeper(t)
	whole := k.keepTest(t, testID("a"), "a", sandbox.RecordState{State: sandbox.StateCreated})
	for _, id := range []string{testID("b"), testID("c")} {
		if err := os.MkdirAll(filepath.Join(k.containersDir(), id, "upper", "d"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../"+id, k.nameLink(id[:1])); err != nil {
			t.Fatal(err)
		}
	}
	working, err := lockDirectory(filepath.Join(k.containersDir(), testID("c")))
	if err != nil {
		t.Fatal(err)
	}
	defer working.Close()
	k.sweepContainers()
	for path, there := range map[string]bool{
		whole: true, k.nameLink("a"): true, filepath.Join(k.containersDir(), testID("b")): false, k.nameLink("b"): false,
		filepath.Join(k.containersDir(), testID("c")): true, k.nameLink("c"): true,
	} {
		if _, err := os.Lstat(path); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRestartPolicies(t *testing.T) {
	run := func(code int, length time.Duration) *program {
		began := time.Unix(0, 0)
		return &program{exit: sandbox.Exit{Code: code}, began: began, finished: began.Add(length)}
	}
	for _, c := range []struct {
		policy  sandbox.RestartPolicy
		manual  bool
		runs    []*program
		pauses  []time.Duration // those before each restart
		comment string
	}{
		{policy: sandbox.RestartPolicy{}, runs: []*program{run(1, 0)}, comment: "none"},
		{policy: sandbox.RestartPolicy{Name: sandbox.RestartAlways}, runs: []*program{run(0, 0), run(1, 0), run(0, calmRun), run(0, 0)},
			pauses: []time.Duration{firstPause, 2 * firstPause, firstPause, 2 * firstPause}, comment: "always"},
		{policy: sandbox.RestartPolicy{Name: sandbox.RestartUnlessStopped}, manual: true, runs: []*program{run(1, 0)}, comment: "stopped"},
		{policy: sandbox.RestartPolicy{Name: sandbox.RestartOnFailure, MaxRetries: 2}, runs: []*program{run(1, 0), run(2, 0), run(3, 0)},
			pauses: []time.Duration{firstPause, 2 * firstPause}, comment: "twice"},
		{policy: sandbox.RestartPolicy{Name: sandbox.RestartOnFailure}, runs: []*program{run(1, 0), run(0, 0)}, pauses: []time.Duration{firstPause}, comment: "success"},
	} {
		k := &container{spec: &sandbox.Spec{Restart: c.policy}, record: &record{}, manual: c.manual}
		var pauses []time.Duration
		for _, p := range c.runs {
			if pause, ok := k.plansRestart(p); ok {
				pauses = append(pauses, pause)
				k.restarts++
			}
		}
		if fmt.Sprint(pauses) != fmt.Sprint(c.pauses) {
			t.Errorf("%s: got %v, want %v", c.comment, pauses, c.pauses)
		}
	}
	last := &container{spec: &sandbox.Spec{Restart: sandbox.RestartPolicy{Name: sandbox.RestartAlways}}, record: &record{}, backoff: lastPause - 1}
	if pause, _ := last.plansRestart(run(1, 0)); pause != lastPause {
		t.Errorf("got %v", pause)
	}
}

func TestBadRestartPolicies(t *testing.T) {
	for _, s := range []sandbox.Spec{
		{Keep: true, Restart: sandbox.RestartPolicy{Name: "sometimes"}},
		{Keep: true, Restart: sandbox.RestartPolicy{Name: sandbox.RestartAlways, MaxRetries: 1}},
		{Keep: true, Restart: sandbox.RestartPolicy{Name: sandbox.RestartOnFailure, MaxRetries: -1}},
		{Keep: true, Restart: sandbox.RestartPolicy{MaxRetries: 1}},
		{Restart: sandbox.RestartPolicy{Name: sandbox.RestartAlways}},
	} {
		if err := checkRestartPolicy(&s); sandbox.CodeOf(err) != sandbox.CodeInvalid {
			t.Errorf("%+v: %v", s.Restart, err)
		}
	}
}

func TestNamedLogsGoOnAndAreTurnedOver(t *testing.T) {
	dir := t.TempDir()
	o := sandbox.LogOptions{MaxSize: leastLogSize, MaxFiles: 3}
	entry := func(n int) []byte {
		text, err := json.Marshal(sandbox.LogEntry{Stream: sandbox.StreamOutput, Text: fmt.Appendf(nil, "%01000d\n", n)})
		if err != nil {
			t.Fatal(err)
		}
		return append(text, '\n')
	}
	for run := range 4 {
		l, err := openNamedLog(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			l.append(entry(3*run+n), 0)
		}
		l.close()
		numbers, err := sandbox.LogNumbers(dir)
		if err != nil || len(numbers) > 3 {
			t.Fatalf("files: %v, %v", numbers, err)
		}
		last := filepath.Join(dir, fmt.Sprint(sandbox.LogPrefix, numbers[len(numbers)-1]))
		f, err := os.OpenFile(last, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil { // killed in the middle of a line
			_, err = f.WriteString(`{"time"`)
			_ = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []byte
	numbers, err := sandbox.LogNumbers(dir)
	if err != nil || len(numbers) != 3 {
		t.Fatalf("got %v, %v", numbers, err)
	}
	for _, n := range numbers {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(sandbox.LogPrefix, n)))
		if err != nil || len(text) > leastLogSize {
			t.Fatalf("file %d: %d bytes, %v", n, len(text), err)
		}
		all = append(all, text...)
	}
	lines := strings.Split(strings.TrimSuffix(string(all), `{"time"`), "\n")
	if len(lines) != 7 { // two entries in each file, and the end
		t.Fatalf("got %d lines", len(lines))
	}
	for i, line := range lines[:6] {
		if line+"\n" != string(entry(6+i)) {
			t.Errorf("line %d: %.80s", i, line)
		}
	}
}

func TestAStateIsWrittenAlsoWithoutRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("something longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := overwrite(path, []byte("short")); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "short" {
		t.Errorf("got %q, %v", text, err)
	}
}
