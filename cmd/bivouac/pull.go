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

// pullFlags are those of the verb pull.
type pullFlags struct {
	get         sandbox.ImageOptions
	maxUnpacked string
	quiet       bool
}

func newPullCommand() *cobra.Command {
	f := &pullFlags{get: sandbox.ImageOptions{Pull: sandbox.PullAlways}}
	cmd := &cobra.Command{
		Use:   "pull [flags] IMAGE...",
		Short: "Get images into the store",
		Long: `Get images into the store and unpack them, so that "bivouac run" starts at once.

The registry is asked whether the name still means what the store has; only layers that are missing are fetched, and a
download that was broken off goes on where it was. Credentials are those of "bivouac login",
"docker login" and "podman login".
IMAGE may also be oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME].`,
		Example: `  bivouac pull alpine postgres:16
  bivouac pull --platform linux/arm64 alpine
  bivouac pull --tls-ca ca.pem registry.example.com:5000/app
  bivouac pull oci-archive:image.tar`,
		Args: cobra.MinimumNArgs(1),
		RunE: f.run,
	}
	cmd.Flags().StringVar(&f.get.Platform, "platform", "", "get the image for `OS/ARCH[/VARIANT]` instead of the machine's")
	cmd.Flags().BoolVar(&f.get.PlainHTTP, "plain-http", false, "allow a registry without TLS that is not on this machine")
	cmd.Flags().StringVar(&f.get.CAFile, "tls-ca", "", "trust the certificate authorities of the PEM `FILE` too")
	cmd.Flags().BoolVar(&f.get.IgnoreChownErrors, "ignore-chown-errors", false, "give files of owners outside the mapped range to the overflow id")
	cmd.Flags().StringVar(&f.maxUnpacked, "max-unpacked-size", "", "refuse an image that unpacks to more than `SIZE`, such as 2g")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print only the image's full name")
	return cmd
}

func (f *pullFlags) run(cmd *cobra.Command, images []string) error {
	if err := f.check(images); err != nil {
		return err
	}
	ctx, free := interruptible(cmd.Context(), "what was downloaded is kept for the next time")
	defer free()
	client, err := startClient(ctx)
	if err != nil {
		return causeOf(ctx, err)
	}
	err = f.pullAll(ctx, client, cmd.OutOrStdout(), images)
	return errors.Join(causeOf(ctx, err), client.Close())
}

// check finds what is wrong with the command line before anything is started.
func (f *pullFlags) check(images []string) (err error) {
	if f.get.MaxUnpackedSize, err = size("--max-unpacked-size", f.maxUnpacked); err != nil {
		return &usageError{err.Error()}
	}
	for _, image := range images {
		ref, err := rootfs.ParseReference(image)
		if err != nil {
			return err
		}
		if ref.Transport == rootfs.Stored {
			return usageErrorf("pull %s: no registry can be asked for an id; give a name, with the digest as NAME@DIGEST", ref)
		}
	}
	return nil
}

func (f *pullFlags) pullAll(ctx context.Context, client *sandbox.Client, out io.Writer, images []string) error {
	for _, image := range images {
		if err := f.pull(ctx, client, out, image); err != nil {
			return err
		}
	}
	return nil
}

func (f *pullFlags) pull(ctx context.Context, client *sandbox.Client, out io.Writer, image string) error {
	before, err := storedImages()
	if err != nil {
		return err
	}
	report, finish := newProgress(os.Stderr, f.quiet)
	info, err := client.Pull(ctx, image, f.get, report)
	finish()
	if err != nil {
		return err
	}
	if !f.quiet {
		if err := describePull(out, info, before); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, printable(info.Name))
	return err
}

// describePull prints Docker's two lines for what came into the store. Directories and the host do not.
func describePull(out io.Writer, info sandbox.ImageInfo, before []rootfs.Summary) error {
	after, err := storedImages()
	if err != nil {
		return err
	}
	got, ok := findImage(after, info)
	if !ok {
		return nil
	}
	status := "Downloaded newer image for"
	if had, ok := findImage(before, info); ok && had.Digest == got.Digest {
		status = "Image is up to date for"
	}
	_, err = fmt.Fprintf(out, "Digest: %s\nStatus: %s %s\n", got.Digest, status, displayName(got))
	return err
}

func findImage(list []rootfs.Summary, info sandbox.ImageInfo) (rootfs.Summary, bool) {
	for _, s := range list {
		if s.Name == info.Name && s.ID.String() == info.ID {
			return s, true
		}
	}
	return rootfs.Summary{}, false
}

// displayName is the name that people use.
func displayName(s rootfs.Summary) string {
	if ref, err := rootfs.ParseReference(s.Name); err != nil || ref.Transport != rootfs.Registry || ref.Digest != "" {
		return printable(s.Name)
	}
	return printable(s.Repository + ":" + s.Tag)
}
