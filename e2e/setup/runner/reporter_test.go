package main

import (
	"errors"
	"strings"
	"testing"
)

func TestReporter(t *testing.T) {
	skips := []skip{{suite: "rootfs", test: "TestSkipped", kind: "any", reason: "a good reason"}}
	for _, c := range []struct {
		name    string
		results []result
		want    []string // in the output, the last at its end
		err     error
	}{
		{
			"all well", []result{{test: "TestA", status: passed}, {test: "TestSkipped", status: skipped}},
			[]string{"ok\trootfs\t0.0s\tmapped pass=1 skip=1\n", "\n1 passed, 0 failed, 1 skipped\n"}, nil,
		}, {
			"failure", []result{{test: "TestA/b", status: failed, output: "/src/rootfs/a_test.go:1: because\n"}},
			[]string{
				"\n    rootfs/a_test.go:1: because\n", "again: RUN='^TestA$/^b$' make test PKG=./rootfs KIND=mapped\n",
				"TestSkipped was not skipped\n", "\n0 passed, 1 failed, 0 skipped\n",
			}, errFailed,
		}, {
			"unexpected skip", []result{{test: "Spec/a_spec", status: skipped}},
			[]string{"does not list it", "FOCUS='a.spec' make test", "\n0 passed, 1 failed, 0 skipped\n"}, errFailed,
		}, {
			"nothing ran", nil, []string{"\n0 passed, 0 failed, 0 skipped\n"}, errFailed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			r := &reporter{out: &out, src: "/src", skips: skips}
			r.add(suite{name: "rootfs"}, "mapped", 0, c.results)
			if err := r.close(); !errors.Is(err, c.err) {
				t.Errorf("got error %v, want %v", err, c.err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, &out)
				}
			}
			if last := c.want[len(c.want)-1]; !strings.HasSuffix(out.String(), last) {
				t.Errorf("does not end in %q:\n%s", last, &out)
			}
		})
	}
}
