package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// errTold is of what was told already, and is no failure. The container's name is not printed.
var errTold = errors.New("told already")

// eachContainer does something to each of the named containers, also after failures, and prints the names of those that it was
// done to, as Docker does.
func eachContainer(cmd *cobra.Command, names []string, do func(ctx context.Context, name string) error) error {
	ctx, free := interruptible(cmd.Context(), "what was not done yet is as it was")
	defer free()
	return causeOf(ctx, forEach(os.Stderr, names, func(name string) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		err := do(ctx, name)
		if errors.Is(err, errTold) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
		return err
	}))
}

// atOnce is how many containers are worked on at the same time where each may take its time.
const atOnce = 16

// eachContainerAtOnce is eachContainer for what takes its time: several at the same time, with the output in the order of the names.
func eachContainerAtOnce(cmd *cobra.Command, names []string, do func(ctx context.Context, name string) error) error {
	results := make(map[string]chan error, len(names))
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	free := make(chan struct{}, atOnce)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		result := make(chan error, 1)
		results[name] = result
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			result <- do(ctx, name)
		})
	}
	done := map[string]error{}
	return eachContainer(cmd, names, func(ctx context.Context, name string) error {
		if err, known := done[name]; known {
			return err
		}
		select {
		case done[name] = <-results[name]:
		case <-ctx.Done():
			cancel()
			return context.Cause(ctx)
		}
		return done[name]
	})
}

// emit records what the command line did to a container. That it cannot be recorded does not undo it.
func emit(action string, s sandbox.Info, attributes map[string]string) {
	all := map[string]string{"name": s.Name, "image": imageName(s.Image.Name)}
	for _, add := range []map[string]string{s.Labels, attributes} {
		for name, value := range add {
			all[name] = value
		}
	}
	_ = sandbox.Emit(sandbox.Event{Type: sandbox.EventContainer, Action: action, ID: s.ID, Attributes: all})
}
