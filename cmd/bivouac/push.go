package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// pushFlags are those of the verb push.
type pushFlags struct {
	options    rootfs.PushOptions
	all, quiet bool
}

func newPushCommand() *cobra.Command {
	f := &pushFlags{}
	cmd := &cobra.Command{
		Use:   "push [flags] NAME[:TAG]",
		Short: "Send an image to its registry",
		Long: `Send an image to the registry that its name tells, as it is in the store: with the same digests. Layers that the registry
has are not sent, also where another repository of it has them. The tag comes last: a push that ends early leaves it with
its old meaning, and the next one goes on with the layers that are missing.

Of an index whose manifests are all here the index is pushed; otherwise the manifest of this machine's platform, and the
output says so. Credentials are those of "bivouac login", "docker login" and "podman login".`,
		Example: `  bivouac tag alpine registry.example.com:5000/team/alpine:3
  bivouac push registry.example.com:5000/team/alpine:3
  bivouac push --all-tags registry.example.com:5000/team/alpine`,
		Args: cobra.ExactArgs(1),
		RunE: f.run,
	}
	cmd.Flags().BoolVarP(&f.all, "all-tags", "a", false, "push all tags of the name")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print only the image's full name")
	cmd.Flags().StringVar(&f.options.Platform, "platform", "", "push the manifest for `OS/ARCH[/VARIANT]` alone")
	cmd.Flags().BoolVar(&f.options.PlainHTTP, "plain-http", false, "allow a registry without TLS that is not on this machine")
	cmd.Flags().StringVar(&f.options.CAFile, "tls-ca", "", "trust the certificate authorities of the PEM `FILE` too")
	return cmd
}

func (f *pushFlags) run(cmd *cobra.Command, args []string) error {
	ref, err := rootfs.ParseReference(args[0])
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	refs := []rootfs.Reference{ref}
	if f.all {
		if refs, err = allTags(store, ref, args[0]); err != nil {
			return err
		}
	}
	ctx, free := interruptible(cmd.Context(), "what the registry has of it is not sent again")
	defer free()
	return causeOf(ctx, f.pushAll(ctx, cmd.OutOrStdout(), store, refs))
}

func allTags(store *rootfs.Store, ref rootfs.Reference, arg string) ([]rootfs.Reference, error) {
	if bare, err := rootfs.ParseReference(arg + ":x"); err != nil || bare.Repository != ref.Repository {
		return nil, usageErrorf("push --all-tags %q: it has a tag; leave the tag out", arg)
	}
	return store.Names(ref)
}

func (f *pushFlags) pushAll(ctx context.Context, out io.Writer, store *rootfs.Store, refs []rootfs.Reference) error {
	if !f.quiet && refs[0].Repository != "" {
		if _, err := fmt.Fprintf(out, "The push refers to repository [%s/%s]\n", refs[0].Domain, refs[0].Repository); err != nil {
			return err
		}
	}
	for _, ref := range refs {
		if err := f.push(ctx, out, store, ref); err != nil {
			return err
		}
	}
	return nil
}

func (f *pushFlags) push(ctx context.Context, out io.Writer, store *rootfs.Store, ref rootfs.Reference) error {
	report, finish := newProgressOf(os.Stderr, f.quiet, pushWords)
	o := f.options
	o.Progress = func(e rootfs.Event) { report(progressOf(e)) }
	pushed, err := store.Push(ctx, ref, o)
	finish()
	if err != nil {
		return err
	}
	emitImage("push", pushed.ID.String(), pushed.Reference.Name())
	if f.quiet {
		_, err = fmt.Fprintln(out, pushed.Reference.Name())
		return err
	}
	_, err = fmt.Fprintf(out, "%s: digest: %s size: %d\n", pushed.Reference.Tag, pushed.Digest, pushed.Size)
	if pushed.Platform != "" {
		_, noted := fmt.Fprintf(os.Stderr, "Note: only the image for %s was pushed: of the index that the name stands for, others are not here\n", printable(pushed.Platform))
		err = errors.Join(err, noted)
	}
	return err
}

// progressOf is a step of the store's as a keeper would report it.
func progressOf(e rootfs.Event) sandbox.Progress {
	return sandbox.Progress{Layer: e.Layer.String(), Kind: string(e.Kind), Current: e.Current, Total: e.Total, Text: e.Text}
}

// emitImage records what was done with an image. Nothing fails because that does.
func emitImage(action, id, name string) {
	_ = sandbox.Emit(sandbox.Event{Type: sandbox.EventImage, Action: action, ID: id, Attributes: map[string]string{"name": name}})
}
