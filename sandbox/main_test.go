package sandbox_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the keeper that the tests start: see [fakeKeeper].
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "keeper" {
		fakeKeeper(os.Getenv(behaviourVariable))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
