package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

// saveFlags are those of the verb save.
type saveFlags struct {
	output, format, platform string
}

func newSaveCommand() *cobra.Command {
	f := &saveFlags{}
	cmd := &cobra.Command{
		Use:   "save [flags] IMAGE...",
		Short: "Write images to a tar file",
		Long: `Write images with their names to a tar file, for "bivouac load", "docker load", "podman load" and skopeo. It has the layers as
the registry sent them, so that all digests stay, and the same images give the same file. The file has its name only once
it is complete. An image that is given by its id, or the beginning of it, has no name in the file.

  docker-archive  what "docker save" writes; it is also an OCI layout (default)
  oci-archive     an OCI layout in a tar file
  oci-dir         an OCI layout in a directory, which must be new or empty`,
		Example: `  bivouac save -o images.tar alpine postgres:16
  bivouac save alpine | gzip >alpine.tar.gz
  bivouac save --format oci-dir -o layout alpine`,
		Args: cobra.MinimumNArgs(1),
		RunE: f.run,
	}
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().StringVar(&f.format, "format", string(rootfs.SaveDocker), "write as `FORMAT`: docker-archive, oci-archive or oci-dir")
	cmd.Flags().StringVar(&f.platform, "platform", "", "save the images for `OS/ARCH[/VARIANT]` instead of the machine's")
	return cmd
}

func (f *saveFlags) run(cmd *cobra.Command, images []string) error {
	if err := f.check(cmd.OutOrStdout()); err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	for i, image := range images {
		images[i] = storedName(image)
	}
	ctx, free := interruptible(cmd.Context(), "nothing was saved")
	defer free()
	o := rootfs.SaveOptions{Images: images, Platform: f.platform, Format: rootfs.SaveFormat(f.format)}
	if err := causeOf(ctx, f.save(ctx, cmd.OutOrStdout(), store, o)); err != nil {
		return err
	}
	for _, image := range images {
		if found, err := store.Inspect(image, f.platform); err == nil {
			emitImage("save", found.ID.String(), image)
		}
	}
	return nil
}

func (f *saveFlags) check(out io.Writer) error {
	switch rootfs.SaveFormat(f.format) {
	case rootfs.SaveOCIDir:
		if f.output == "" {
			return usageErrorf("save --format oci-dir: there is no directory; name one with --output")
		}
	case rootfs.SaveDocker, rootfs.SaveOCI:
		if f.output == "" && isTerminal(out) {
			return usageErrorf("save to a terminal: it is no text; give a file with --output, or redirect the output")
		}
	default:
		return usageErrorf("save --format %q: there is no such format; use docker-archive, oci-archive or oci-dir", f.format)
	}
	return nil
}

func (f *saveFlags) save(ctx context.Context, out io.Writer, store *rootfs.Store, o rootfs.SaveOptions) error {
	switch {
	case o.Format == rootfs.SaveOCIDir:
		return saveDir(ctx, f.output, store, o)
	case f.output == "":
		return store.Save(ctx, out, o)
	}
	r, w := io.Pipe()
	defer r.Close() //nolint:errcheck // of a pipe it is always nil
	go func() { w.CloseWithError(store.Save(ctx, w, o)) }()
	return writeAside(f.output, r)
}

// saveDir gives the directory its name when all of it is there.
func saveDir(ctx context.Context, dir string, store *rootfs.Store, o rootfs.SaveOptions) (err error) {
	if found, err := os.ReadDir(dir); err == nil && len(found) > 0 {
		return usageErrorf("save to %s: it is not empty; name a new directory", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save: %w", err)
	}
	aside, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), "."+filepath.Base(dir)+"-")
	if err != nil {
		return fmt.Errorf("save to %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(aside)
		}
	}()
	if err := store.SaveDir(ctx, aside, o); err != nil {
		return err
	}
	if err := os.Chmod(aside, 0o755); err != nil {
		return err
	}
	return os.Rename(aside, dir) // over an empty directory too
}
