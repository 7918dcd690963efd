package testkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

// fakeBuild plays events to what builds a directory, and returns what was asked for.
func fakeBuild(t *testing.T, events []sandbox.BuildEvent, failure error, opts ...BuildOption) (string, sandbox.BuildSpec, error) {
	t.Helper()
	var asked sandbox.BuildSpec
	e := newFakeEngine()
	e.fakeBuild = func(spec sandbox.BuildSpec, tell func(sandbox.BuildEvent)) (sandbox.ImageInfo, error) {
		asked = spec
		for _, event := range events {
			tell(event)
		}
		return sandbox.ImageInfo{ID: "sha256:1"}, failure
	}
	k := newKeeper(func(context.Context) (engine, error) { return e, nil })
	id, err := buildImage(t.Context(), k, "some/dir", opts)
	return id, asked, err
}

func TestBuildOptions(t *testing.T) {
	id, got, err := fakeBuild(t, nil, nil, BuildArg("A", "1"), BuildArg("B", "2"), Target("x"), Dockerfile("other"), nil,
		Secret("s", []byte("v")), BuildSpec(func(s *sandbox.BuildSpec) { s.NoCache = s.Target == "x" }))
	dir, _ := os.Getwd()
	want := sandbox.BuildSpec{
		Context: filepath.Join(dir, "some/dir"), Network: sandbox.NetworkHost, Args: map[string]string{"A": "1", "B": "2"}, Target: "x",
		Dockerfile: "other", Secrets: []sandbox.BuildSecret{{ID: "s", Value: []byte("v")}}, NoCache: true,
	}
	if err != nil || id != "sha256:1" || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q %v\n%+v\nwant\n%+v", id, err, got, want)
	}
	if _, got, _ := fakeBuild(t, nil, nil, DockerfileText("FROM x")); got.Text != "FROM x" {
		t.Errorf("got %+v", got)
	}
}

func TestAFailedBuildShowsWhy(t *testing.T) {
	failure := sandbox.Errorf(sandbox.CodeBuild, "Dockerfile:2: it failed")
	failure.Detail = "   1 |     FROM x\n   2 | >>> RUN make\n"
	events := []sandbox.BuildEvent{
		{Step: 1, Kind: "start", Name: "[1/2] FROM x"}, {Step: 1, Kind: "log", Text: []byte("of a step that went well\n")}, {Step: 1, Kind: "done"},
		{Step: 2, Kind: "start", Name: "[2/2] RUN make"}, {Step: 2, Kind: "log", Text: []byte("no ru")},
		{Step: 2, Kind: "log", Text: []byte("le\n")}, {Step: 2, Kind: "failed", Text: []byte("exit code: 2")},
	}
	_, _, err := fakeBuild(t, events, failure, BuildArg("A", "b c"), Secret("s", []byte("hush")))
	const want = `build some/dir: Dockerfile:2: it failed
       1 |     FROM x
       2 | >>> RUN make
the end of its output:
    [2/2] RUN make
    no rule
reproduce: bivouac build --progress plain --build-arg 'A=b c' --secret 'id=s,src=...' some/dir`
	if got := strings.ReplaceAll(err.Error(), "id=s,src=... ", "'id=s,src=...' "); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if sandbox.CodeOf(err) != sandbox.CodeBuild {
		t.Errorf("the code is %s", sandbox.CodeOf(err))
	}
}

func TestABuildThatTheMachineCannotDoSkips(t *testing.T) {
	t.Setenv("BIVOUAC_REQUIRE", "")
	_, _, err := fakeBuild(t, nil, sandbox.Errorf(sandbox.CodeUnsupported, "no user namespaces"))
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("got %v", err)
	}
	tb := &fakeTB{name: "Test"}
	tb.test(func() { giveUp(tb, err) })
	if len(tb.skipped) != 1 || len(tb.fatal) != 0 {
		t.Errorf("skipped %q, failed %q", tb.skipped, tb.fatal)
	}
}
