package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newRmCommand() *cobra.Command {
	r := &remover{}
	cmd := &cobra.Command{
		Use:   "rm [flags] CONTAINER...",
		Short: "Remove containers",
		Long: `Remove containers, with the files that they have changed. These may belong to subordinate ids, so that rm -r of the shell
cannot. A container that runs is removed with -f alone, which kills it. Named volumes stay. CONTAINER is a name, or an id or
its beginning.`,
		Example: `  bivouac rm build
  bivouac rm -f -v web
  bivouac rm -f $(bivouac ps -aq)`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return errors.Join(eachContainer(cmd, names, r.removeNamed), r.close())
		},
	}
	cmd.Flags().BoolVarP(&r.force, "force", "f", false, "kill what runs; what is not there is no error")
	cmd.Flags().BoolVarP(&r.volumes, "volumes", "v", false, "remove anonymous volumes of the containers too")
	return cmd
}

// remover removes containers. A keeper of its own, which has the ids that their files belong to, is started when it is needed.
type remover struct {
	force, volumes bool

	mu     sync.Mutex
	client *sandbox.Client
}

func (r *remover) close() error {
	if r.client == nil {
		return nil
	}
	return r.client.Close()
}

func (r *remover) removeNamed(ctx context.Context, name string) error {
	st, err := sandbox.Find(ctx, name)
	if r.force && sandbox.CodeOf(err) == sandbox.CodeNotFound { // as with rm(1)
		_, _ = fmt.Fprintln(os.Stderr, complaint(err)) // with standard error gone there is nobody left to tell
		return errTold
	}
	if err != nil {
		return err
	}
	if isUp(st.State) {
		if !r.force {
			return sandbox.Errorf(sandbox.CodeInvalid, "remove container %q: it is running", name).
				WithRemedy("stop it, or kill it with the removal: bivouac rm -f %s", name)
		}
		return r.killAndRemove(ctx, st)
	}
	return r.remove(ctx, st)
}

// killAndRemove keeps a restart policy from starting the program again meanwhile.
func (r *remover) killAndRemove(ctx context.Context, st sandbox.Status) error {
	if !st.Kept {
		return discard(ctx, st)
	}
	a, err := sandbox.AttachKept(ctx, st)
	if err == nil {
		_, err = a.Stop(ctx, sandbox.StopSpec{Signal: 9})
		_ = a.Close() // the program has ended, whatever becomes of the connection
	}
	if code := sandbox.CodeOf(err); err != nil && code != sandbox.CodeNotRunning && code != sandbox.CodeAlreadyFinished {
		return err
	}
	return r.remove(ctx, st)
}

// discard ends a container that is not kept. Who runs it may be gone with its keeper before that can answer.
func discard(ctx context.Context, st sandbox.Status) error {
	a, err := sandbox.Attach(ctx, st.ID)
	if err != nil {
		return ifGone(err)
	}
	defer a.Close() //nolint:errcheck // the container is gone, whatever becomes of the connection
	return ifGone(a.Discard(ctx))
}

// ifGone is nil for what is said of a container that another one has removed meanwhile.
func ifGone(err error) error {
	if code := sandbox.CodeOf(err); code == sandbox.CodeNotFound || code == sandbox.CodeAlreadyFinished {
		return nil
	}
	return err
}

func (r *remover) remove(ctx context.Context, st sandbox.Status) error {
	if !st.Kept {
		return discard(ctx, st)
	}
	client, err := r.keeper(ctx)
	if err != nil {
		return err
	}
	if err := client.RemoveContainer(ctx, st.ID, r.volumes); err != nil {
		return fmt.Errorf("remove container %s: %w", st.Name, err)
	}
	return nil
}

func (r *remover) keeper(ctx context.Context) (_ *sandbox.Client, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		r.client, err = startClient(ctx)
	}
	return r.client, err
}
