package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// keptStore is an empty store with a directory for sockets.
func keptStore(t testing.TB) (containers, sockets string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("BIVOUAC_HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "none"))
	containers, sockets = filepath.Join(dir, "containers"), filepath.Join(dir, "sockets")
	for _, d := range []string{filepath.Join(containers, sandbox.NamesDir), sockets} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return containers, sockets
}

// keptID is an id that begins with a text.
func keptID(beginning string) string { return beginning + strings.Repeat("0", 64-len(beginning)) }

func addRecord(t testing.TB, containers, id, name string, state sandbox.RecordState) string {
	t.Helper()
	dir := filepath.Join(containers, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fixed := sandbox.RecordFixed{
		Version: sandbox.RecordVersion, Created: time.Unix(1e9, 0), IDMap: "map",
		Info: sandbox.Info{ID: id, Name: name, Args: []string{"true"}}, Spec: sandbox.Spec{Name: name, Keep: true, Image: "image"},
	}
	writeJSON(t, filepath.Join(dir, sandbox.StateFile), state)
	writeJSON(t, filepath.Join(dir, sandbox.RecordFile), fixed)
	if err := os.Symlink("../"+id, filepath.Join(containers, sandbox.NamesDir, name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// listenAt is a keeper that accepts callers and says nothing.
func listenAt(t testing.TB, sockets, id string) {
	t.Helper()
	dir, err := os.Open(sockets)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: sandbox.SocketPath(dir, id+sandbox.SocketSuffix), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

func TestRecordsThatAreDamagedAreExitedContainers(t *testing.T) {
	containers, _ := keptStore(t)
	addRecord(t, containers, keptID("a"), "whole", sandbox.RecordState{State: sandbox.StateCreated})
	for i, text := range []string{"", "{", `{"version": 99}`, "null", `{"version": 1, "info": {"id": "other"}}`} {
		id := keptID(fmt.Sprint("b", i))
		dir := addRecord(t, containers, id, fmt.Sprint("damaged", i), sandbox.RecordState{State: sandbox.StateRunning})
		if err := os.WriteFile(filepath.Join(dir, sandbox.RecordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := sandbox.Find(t.Context(), id[:5])
		if err != nil || st.State != sandbox.StateExited || st.Failure == "" || st.Name != fmt.Sprint("damaged", i) {
			t.Errorf("%q: got %+v, %v", text, st, err)
		}
	}
	if err := os.Mkdir(filepath.Join(containers, keptID("c")), 0o700); err != nil { // half-made
		t.Fatal(err)
	}
	list, err := sandbox.Containers(t.Context())
	if err != nil || len(list) != 6 {
		t.Errorf("got %d containers, %v", len(list), err)
	}
}

func TestTheStateIsWhatTheKeeperMakesTrue(t *testing.T) {
	containers, sockets := keptStore(t)
	running := sandbox.RecordState{State: sandbox.StateRunning, Sockets: sockets, Ports: []sandbox.PortMapping{{Port: 80}}}
	addRecord(t, containers, keptID("a"), "alive", running)
	listenAt(t, sockets, keptID("a"))
	addRecord(t, containers, keptID("b"), "killed", running)
	dir := addRecord(t, containers, keptID("c"), "unknown", running)
	if err := os.WriteFile(filepath.Join(dir, sandbox.StateFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		state sandbox.State
		code  int
	}{"alive": {sandbox.StateRunning, 0}, "killed": {sandbox.StateExited, 255}, "unknown": {sandbox.StateExited, 255}} {
		st, err := sandbox.Find(t.Context(), name)
		if err != nil || st.State != want.state || st.Exit.Code != want.code || (st.Failure == "") != (want.code == 0) || (len(st.Ports) == 0) != (want.code != 0) {
			t.Errorf("%s: got %+v, %v", name, st, err)
		}
	}
	if _, err := sandbox.Attach(t.Context(), "killed"); sandbox.CodeOf(err) != sandbox.CodeNotRunning {
		t.Errorf("attach: %v", err)
	}
}

func TestFind(t *testing.T) {
	containers, _ := keptStore(t)
	for _, n := range []string{"abc1", "abc2", "ad"} {
		addRecord(t, containers, keptID(n), "name-"+n, sandbox.RecordState{State: sandbox.StateExited})
	}
	addRecord(t, containers, keptID("f"), "ad", sandbox.RecordState{State: sandbox.StateExited}) // called as another's id begins
	for _, c := range []struct {
		text, id string
		code     sandbox.Code
	}{
		{keptID("abc1"), keptID("abc1"), ""}, {"name-abc2", keptID("abc2"), ""}, {"abc2", keptID("abc2"), ""}, {"ad", keptID("f"), ""},
		{"abc", "", sandbox.CodeInvalid}, {"nothing", "", sandbox.CodeNotFound}, {"", "", sandbox.CodeNotFound}, {"../" + keptID("abc1"), "", sandbox.CodeNotFound},
	} {
		st, err := sandbox.Find(t.Context(), c.text)
		if st.ID != c.id || !errors.Is(err, &sandbox.Error{Code: c.code}) && (c.code != "" || err != nil) {
			t.Errorf("%q: got %q, %v", c.text, st.ID, err)
		}
	}
	if _, err := sandbox.Find(t.Context(), "abc"); !strings.Contains(err.Error(), "2 containers match") {
		t.Error(err)
	}
}

// crowd is a store with 100 containers, of which every tenth runs.
func crowd(t testing.TB) {
	containers, sockets := keptStore(t)
	for i := range 100 {
		id, state := keptID(fmt.Sprintf("%03d", i)), sandbox.RecordState{State: sandbox.StateExited, Exit: sandbox.Exit{Code: 1}}
		if i%10 == 0 {
			state = sandbox.RecordState{State: sandbox.StateRunning, Sockets: sockets}
			listenAt(t, sockets, id)
		}
		addRecord(t, containers, id, fmt.Sprint("name", i), state)
	}
}

func TestAHundredContainersAreListedAtOnce(t *testing.T) {
	crowd(t)
	best := time.Hour
	for range 5 {
		began := time.Now()
		list, err := sandbox.Containers(t.Context())
		if err != nil || len(list) != 100 {
			t.Fatalf("got %d, %v", len(list), err)
		}
		best = min(best, time.Since(began))
	}
	if best > time.Second { // it is some milliseconds on a machine that does nothing else
		t.Errorf("it took %v", best)
	}
}

func BenchmarkContainers(b *testing.B) {
	crowd(b)
	for b.Loop() {
		if _, err := sandbox.Containers(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReadLog(t *testing.T) {
	containers, _ := keptStore(t)
	dir := addRecord(t, containers, keptID("a"), "a", sandbox.RecordState{State: sandbox.StateExited})
	line := func(second int64, text string, continues bool) string {
		out, err := json.Marshal(sandbox.LogEntry{Time: time.Unix(second, 0), Stream: sandbox.StreamOutput, Text: []byte(text), Continues: continues})
		if err != nil {
			t.Fatal(err)
		}
		return string(out) + "\n"
	}
	// A crash of the machine has left zeros in the middle, half a line at the end.
	files := map[string]string{
		"log.9":  line(1, "one\n", false) + line(2, "two ", false),
		"log.10": line(3, "more\n", true) + "\x00\x00\x00" + line(4, "three\n", false) + "rubbish\n" + line(5, "four\n", false) + `{"time":`,
		"log.x":  line(6, "no file of it\n", false),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tail := func(n int) *int { return &n }
	for _, c := range []struct {
		spec sandbox.LogsSpec
		want string
	}{
		{sandbox.LogsSpec{}, "one|two |more|three|four|"},
		{sandbox.LogsSpec{Follow: true}, "one|two |more|three|four|"},
		{sandbox.LogsSpec{Tail: tail(3)}, "two |more|three|four|"},
		{sandbox.LogsSpec{Tail: tail(1)}, "four|"},
		{sandbox.LogsSpec{Tail: tail(0)}, ""},
		{sandbox.LogsSpec{Tail: tail(99)}, "one|two |more|three|four|"},
		{sandbox.LogsSpec{Since: time.Unix(3, 0)}, "more|three|four|"},
		{sandbox.LogsSpec{Until: time.Unix(2, 0)}, "one|two |"},
		{sandbox.LogsSpec{Since: time.Unix(4, 0), Until: time.Unix(4, 0)}, "three|"},
		{sandbox.LogsSpec{Tail: tail(1), Until: time.Unix(4, 0)}, "three|"},
	} {
		got := ""
		for e, err := range sandbox.ReadLog(t.Context(), keptID("a"), c.spec) {
			if err != nil {
				t.Fatal(err)
			}
			got += strings.TrimSuffix(string(e.Text), "\n") + "|"
		}
		if got != c.want {
			t.Errorf("%+v: got %q, want %q", c.spec, got, c.want)
		}
	}
	for _, err := range sandbox.ReadLog(t.Context(), keptID("b"), sandbox.LogsSpec{}) {
		if sandbox.CodeOf(err) != sandbox.CodeNotFound {
			t.Error(err)
		}
	}
}
