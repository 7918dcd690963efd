package testkit

import (
	"context"
	"time"
)

// TB is what testkit needs of a test. *testing.T, *testing.B, *testing.F and Ginkgo's GinkgoT() have it.
type TB interface {
	Cleanup(f func())
	Failed() bool
	Fatalf(format string, args ...any)
	Helper()
	Logf(format string, args ...any)
	Name() string
	Skipf(format string, args ...any)
}

// contextOf returns the test's own context, which ends just before its cleanups, if it has one.
func contextOf(tb TB) context.Context {
	if t, ok := tb.(interface{ Context() context.Context }); ok {
		return t.Context()
	}
	return context.Background()
}

// deadlineOf returns the time by which the test must have come to an end: a little before the one at which `go test` would
// end the whole process, so that the failure can be told.
func deadlineOf(tb TB) (time.Time, bool) {
	t, ok := tb.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return time.Time{}, false
	}
	deadline, ok := t.Deadline()
	if !ok {
		return time.Time{}, false
	}
	return deadline.Add(-min(time.Until(deadline)/10, 5*time.Second)), true
}

// limited returns a context of the test that ends before the test has to.
func limited(tb TB) (context.Context, context.CancelFunc) {
	ctx := contextOf(tb)
	if deadline, ok := deadlineOf(tb); ok {
		return context.WithDeadlineCause(ctx, deadline, errTestDeadline)
	}
	return context.WithCancel(ctx)
}
