package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/snapshot/criu"
	"github.com/bivouac-run/bivouac/userns"
)

const probeCRIUVerb = "probe-criu"

// checkCRIU finds the CRIU that checkpoints will use, and has it check itself in namespaces.
func checkCRIU(ctx context.Context) userns.Check {
	c := userns.Check{Name: "CRIU",
		Means: "running processes can be checkpointed and cloned; without it clones start from a container's files alone"}
	i, err := criu.Find(ctx)
	if err != nil {
		c.Answer, c.Detail, c.Remedy = userns.No, err.Error(), criu.Remedy
		return c
	}
	if err := i.Check(ctx, "/proc/self/exe", probeCRIUVerb); err != nil {
		c.Answer, c.Detail = userns.No, fmt.Sprintf("%s is %s, but: %v", i.Path, i.Version, err)
		c.Remedy = "install a CRIU that is as new as the kernel, or allow user namespaces (see above)"
		return c
	}
	c.Answer, c.Detail = userns.Yes, fmt.Sprintf("%s is %s, and its check says that all is well", i.Path, i.Version)
	if i.Loader != "" {
		c.Detail += "; its loader is " + i.Loader
	}
	return c
}

// newProbeCRIUCommand is the other half of checkCRIU, which starts it in namespaces of its own.
func newProbeCRIUCommand() *cobra.Command {
	return &cobra.Command{
		Use:                probeCRIUVerb + " COMMAND...",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return criu.CheckInside(args) },
	}
}
