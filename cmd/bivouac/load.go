package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// loadFlags are those of the verb load.
type loadFlags struct {
	input, platform string
	quiet           bool
}

func newLoadCommand() *cobra.Command {
	f := &loadFlags{}
	cmd := &cobra.Command{
		Use:   "load [flags]",
		Short: "Read images from a tar file",
		Long: `Read all images of a tar file into the store by their names, and unpack them: what "bivouac save", "docker save" or
"podman save" have written, or an OCI layout, also as a directory. The file may be compressed by gzip, zstd, bzip2 or xz.
Without --input it is read from standard input.`,
		Example: `  bivouac load -i images.tar
  bivouac load <alpine.tar.gz`,
		Args: cobra.NoArgs,
		RunE: f.run,
	}
	cmd.Flags().StringVarP(&f.input, "input", "i", "", "read from `FILE` instead of standard input")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "do not show progress")
	cmd.Flags().StringVar(&f.platform, "platform", "", "read only the images for `OS/ARCH[/VARIANT]`")
	return cmd
}

func (f *loadFlags) run(cmd *cobra.Command, _ []string) error {
	in, err := openInput(f.input, "load images")
	if err != nil {
		return err
	}
	defer in.Close()
	ctx, free := interruptible(cmd.Context(), "images that were complete are loaded")
	defer free()
	client, err := startClient(ctx)
	if err != nil {
		return causeOf(ctx, err)
	}
	err = f.load(ctx, client, in, cmd.OutOrStdout())
	return errors.Join(causeOf(ctx, err), client.Close())
}

func (f *loadFlags) load(ctx context.Context, client *sandbox.Client, in *os.File, out io.Writer) error {
	report, finish := newProgressOf(os.Stderr, f.quiet, loadWords)
	images, err := client.Load(ctx, sandbox.LoadRequest{Name: inputName(f.input), Platform: f.platform}, in, report)
	finish()
	for _, image := range images {
		if _, printed := fmt.Fprintln(out, loadedLine(image)); printed != nil {
			return errors.Join(err, printed)
		}
	}
	return err
}

// loadedLine is Docker's.
func loadedLine(image sandbox.ImageInfo) string {
	if _, err := digest.Parse(image.Name); err == nil {
		return "Loaded image ID: " + printable(image.ID)
	}
	ref, err := rootfs.ParseReference(image.Name)
	if err != nil {
		return "Loaded image: " + printable(image.Name)
	}
	return "Loaded image: " + printable(ref.Familiar())
}

// openInput opens a file, or standard input for "" and "-". Nobody types an archive.
func openInput(path, doing string) (*os.File, error) {
	if path != "" && path != "-" {
		return openFile(path, doing)
	}
	if isTerminal(os.Stdin) {
		return nil, usageErrorf("%s from a terminal: give a file, or redirect the input", doing)
	}
	return os.Stdin, nil
}

func isDirectory(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.IsDir()
}

// openFile opens a file that the command line names.
//
// Errors: CodeNotFound; CodeInvalid for one that may not be read.
func openFile(path, doing string) (*os.File, error) {
	file, err := os.Open(path)
	if err == nil {
		return file, nil
	}
	code := sandbox.CodeInvalid
	if errors.Is(err, fs.ErrNotExist) {
		code = sandbox.CodeNotFound
	}
	return nil, sandbox.Errorf(code, "%s: %v", doing, err).WithRemedy("check the path")
}

func inputName(path string) string {
	if path == "" || path == "-" {
		return "standard input"
	}
	return path
}
