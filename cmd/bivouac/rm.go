package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

func newRmCommand() *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "rm [flags] CONTAINER...",
		Short: "Remove containers",
		Long: `Remove containers of run -d and restore, and the files that bivouac run --keep left below containers/NAME in the store. These
may belong to subordinate ids, so that rm -r of the shell cannot. A container that runs is removed with -f alone, which
kills it. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac rm build
  bivouac rm -f web
  bivouac rm -f $(bivouac ps -aq)`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx, free := interruptible(cmd.Context(), "what was not removed yet is still there")
			defer free()
			r := &remover{force: force}
			return errors.Join(causeOf(ctx, forEach(os.Stderr, names, func(name string) error { return r.remove(ctx, name) })), r.close())
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill what runs")
	return cmd
}

// remover removes containers. A keeper of its own, which has the ids that kept files belong to, is started when it is needed.
type remover struct {
	force  bool
	client *sandbox.Client
}

func (r *remover) close() error {
	if r.client == nil {
		return nil
	}
	return r.client.Close()
}

func (r *remover) remove(ctx context.Context, name string) error {
	c, err := sandbox.Attach(ctx, name)
	if sandbox.CodeOf(err) == sandbox.CodeNotFound {
		return r.removeKept(ctx, name)
	}
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the container is gone or goes on, whatever becomes of the connection
	if !r.force && (c.Status.State == sandbox.StateRunning || c.Status.State == sandbox.StatePaused) {
		return sandbox.Errorf(sandbox.CodeInvalid, "remove container %q: it is running", name).WithRemedy("wait for its end, or kill it: bivouac rm -f %s", name)
	}
	// Who runs the container may be gone with its keeper before that can answer.
	if err := c.Discard(ctx); err != nil && sandbox.CodeOf(err) != sandbox.CodeAlreadyFinished {
		return err
	}
	dir, err := keptDir()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, c.Name)); err != nil {
		return nil // nothing was kept
	}
	return r.removeKept(ctx, c.Name)
}

func (r *remover) removeKept(ctx context.Context, name string) (err error) {
	if r.client == nil {
		if r.client, err = startClient(ctx); err != nil {
			return err
		}
	}
	return r.client.Remove(ctx, name)
}

// keptDir is where the store has the files of containers that were kept.
func keptDir() (string, error) {
	dir, err := rootfs.DefaultDir()
	return filepath.Join(dir, "containers"), err
}
