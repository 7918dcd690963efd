package main

import (
	"context"
	"os"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

// startClient starts a keeper of this very program, in its namespaces from its first instruction on.
//
// Errors: [userns.Unsupported], as for the machine's root; those of [sandbox.Start].
func startClient(ctx context.Context) (*sandbox.Client, error) {
	if k := startedAhead(); k != nil {
		return sandbox.Start(ctx, sandbox.Options{Running: k})
	}
	mapping, err := userns.Detect()
	if err != nil {
		return nil, err
	}
	defer remember(mapping)
	return sandbox.Start(ctx, sandbox.Options{Keeper: ownPath(), Env: []string{userns.EnterEnv(mapping)}})
}

// ownPath names this program's file. Where that was replaced or removed since the start, only /proc still has it.
func ownPath() string {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil || !sameFile(path, self) {
		return self
	}
	return path
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
