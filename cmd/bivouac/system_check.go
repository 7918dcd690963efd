package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newSystemCheckCommand() *cobra.Command {
	repair := false
	cmd := &cobra.Command{
		Use:   "check [flags]",
		Short: "Verify everything that the store has",
		Long: `Verify everything that the store has: every blob against its digest, every unpacked layer against its blob, file by file, all
parts of every image, records and names of containers, volumes, the seals of snapshots; and look for what killed commands have
left. It takes about as long as to unpack all images.

With --repair layers are unpacked again from their blobs, damaged blobs and images that lack parts are removed, so that the next
pull brings them anew, and so are containers and snapshots that cannot be used and what belongs to nothing. The files of volumes
are never removed. The exit code is 1 if problems remain.`,
		Example: `  bivouac system check
  bivouac system check --repair`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, free := interruptible(cmd.Context(), "the check was not finished")
			defer free()
			var found sandbox.StoreCheck
			err := withStore(ctx, func(client *sandbox.Client) (err error) {
				found, err = client.CheckStore(ctx, sandbox.CheckStoreRequest{Repair: repair}, nil)
				return err
			})
			if err != nil {
				return causeOf(ctx, err)
			}
			return tellCheck(cmd.OutOrStdout(), &found, repair)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what is wrong")
	return cmd
}

// tellCheck prints what was found, and fails if something is left to mend.
func tellCheck(w io.Writer, found *sandbox.StoreCheck, repair bool) error {
	left := 0
	for _, p := range found.Problems {
		state := ""
		if p.Repaired {
			state = " (repaired)"
		} else {
			left++
		}
		if _, err := fmt.Fprintf(w, "%s %s: %s%s\n", p.Kind, printable(p.Name), printable(p.Text), state); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "%d checked, %s, %d repaired\n", found.Checked, countOf(len(found.Problems), "problem"), len(found.Problems)-left); err != nil {
		return err
	}
	if left == 0 {
		return nil
	}
	err := sandbox.Errorf(sandbox.CodeInternal, "the store has %s left", countOf(left, "problem"))
	if !repair {
		err = err.WithRemedy("mend the store: bivouac system check --repair")
	}
	return err
}
