package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// parseRestore reads a command line of restore as far as its specification.
func parseRestore(t *testing.T, args ...string) (sandbox.RestoreSpec, error) {
	t.Helper()
	f := &restoreFlags{}
	set := pflag.NewFlagSet("restore", pflag.ContinueOnError)
	f.register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.spec("ready")
}

func TestRestoreFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want sandbox.RestoreSpec
	}{
		{nil, sandbox.RestoreSpec{}},
		{[]string{"-n", "5", "-p", "80", "-p", "8000-8010:81"}, sandbox.RestoreSpec{Publish: []sandbox.PortMapping{
			{Port: 80, Protocol: "tcp"}, {HostPort: 8000, HostPortLast: 8010, Port: 81, Protocol: "tcp"},
		}}},
		{[]string{"--name", "n", "--hostname", "h", "-l", "a=b", "-p", "8080:80", "--machine-clock"}, sandbox.RestoreSpec{
			Name: "n", Hostname: "h", Labels: map[string]string{"a": "b"}, Publish: []sandbox.PortMapping{{HostPort: 8080, Port: 80, Protocol: "tcp"}}, MachineClock: true,
		}},
	} {
		test.want.Snapshot, test.want.Listed = "ready", true
		if got, err := parseRestore(t, test.args...); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %+v, %v", test.args, got, err)
		}
	}
	for _, args := range [][]string{{"-n", "0"}, {"-n", "2", "--name", "x"}, {"-n", "2", "-p", "8080:80"}, {"-p", "x"}, {"-l", "=x"}} {
		if _, err := parseRestore(t, args...); exitCodeOf(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
	if rm := newRestoreCommand().Flags().Lookup("rm"); rm.Value.String() != "false" {
		t.Error("clones are discarded unasked")
	}
}

// fakeClone notes what is done with it.
type fakeClone struct {
	name string
	done *[]string
	err  error
}

func (c fakeClone) id() string { return c.name }

func (c fakeClone) Detach(context.Context, ...*os.File) error {
	*c.done = append(*c.done, "detach "+c.name)
	return c.err
}

func (c fakeClone) DiscardAtEnd(context.Context) error {
	*c.done = append(*c.done, "discard "+c.name)
	return nil
}

func TestClonesAreStartedAtOnceAndTheRestLeft(t *testing.T) {
	const n = 8
	var all sync.WaitGroup
	all.Add(n)
	var number atomic.Int32
	var done []string
	odd := errors.New("odd")
	clones, err := startClones(t.Context(), n, func(context.Context) (clone, error) {
		i := number.Add(1)
		all.Done()
		all.Wait() // for all others to have begun
		if i%2 == 1 {
			return nil, odd
		}
		return fakeClone{name: fmt.Sprint(i), done: &done}, nil
	})
	if !errors.Is(err, odd) || err.Error() != "restore 4 of 8 clones: odd" || len(clones) != n/2 {
		t.Fatalf("got %d clones, %v", len(clones), err)
	}
	var out strings.Builder
	f := &restoreFlags{}
	if err := f.leaveClones(t.Context(), &out, clones); err != nil {
		t.Fatal(err)
	}
	if ids := strings.Fields(out.String()); len(ids) != n/2 || len(done) != n/2 || done[0] != "detach "+ids[0] {
		t.Errorf("printed %q, did %q", ids, done)
	}
}

func TestOneClone(t *testing.T) {
	failed := errors.New("failed")
	clones, err := startClones(t.Context(), 1, func(context.Context) (clone, error) { return nil, failed })
	if len(clones) != 0 || err.Error() != "failed" {
		t.Errorf("got %v, %v", clones, err)
	}
	var done []string
	var out strings.Builder
	f := &restoreFlags{run: runFlags{rm: true}}
	if err := f.leaveClones(t.Context(), &out, []clone{fakeClone{name: "a", done: &done}}); err != nil || strings.Join(done, ", ") != "detach a, discard a" {
		t.Errorf("did %q, %v", done, err)
	}
	if err := f.leaveClones(t.Context(), &out, []clone{fakeClone{name: "b", done: &done, err: failed}}); !errors.Is(err, failed) || out.String() != "a\n" {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}
