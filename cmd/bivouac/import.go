package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

func newImportCommand() *cobra.Command {
	r := sandbox.ImportRequest{}
	cmd := &cobra.Command{
		Use:   "import [flags] FILE|URL|- [NAME[:TAG]]",
		Short: "Make an image of a tar file",
		Long: `Make an image with one layer of a tar file, of what an address gives, or with - of standard input, and print its id. The
archive may be compressed by gzip, zstd, bzip2 or xz. What is to be run by default is said by instructions of a Dockerfile:
CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR.`,
		Example: `  bivouac import -c 'CMD ["/bin/sh"]' rootfs.tar.gz mine
  bivouac export db | bivouac import - db:saved`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				r.Name = args[1]
				if _, err := rootfs.ParseReference(r.Name); err != nil {
					return err
				}
			}
			if r.Message == "" {
				r.Message = "Imported from " + printable(args[0])
			}
			ctx, free := interruptible(cmd.Context(), "nothing was stored")
			defer free()
			return causeOf(ctx, importImage(ctx, cmd.OutOrStdout(), r, args[0]))
		},
	}
	cmd.Flags().StringArrayVarP(&r.Changes, "change", "c", nil, "apply an `INSTRUCTION` of a Dockerfile to the image's configuration")
	cmd.Flags().StringVarP(&r.Message, "message", "m", "", "say `TEXT` in the image's history")
	cmd.Flags().StringVar(&r.Platform, "platform", "", "call it an image for `OS/ARCH[/VARIANT]` instead of this machine")
	return cmd
}

func importImage(ctx context.Context, out io.Writer, r sandbox.ImportRequest, from string) error {
	in, err := openSource(ctx, from)
	if err != nil {
		return err
	}
	defer in.Close()
	client, err := startClient(ctx)
	if err != nil {
		return err
	}
	info, err := client.Import(ctx, r, in)
	if err == nil {
		_, err = fmt.Fprintln(out, info.ID)
	}
	return errors.Join(err, client.Close())
}

// openSource opens a file, standard input, or what an address gives.
func openSource(ctx context.Context, from string) (io.ReadCloser, error) {
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		return download(ctx, from)
	}
	file, err := openInput(from, "import an image")
	if err != nil {
		return nil, err
	}
	if isDirectory(file) {
		return nil, errors.Join(usageErrorf("import %s: it is a directory; pipe it: tar -C %s -c . | bivouac import -", from, from), file.Close())
	}
	return file, nil
}

// download ends with the answer's body, or with an error that leaves out what the address may hold of secrets.
func download(ctx context.Context, from string) (io.ReadCloser, error) {
	where, err := url.Parse(from)
	if err != nil {
		return nil, usageErrorf("import %q: it is no address", from)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = failed.Err
	}
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeUnreachable, "get %s: %v", where.Redacted(), err).WithRemedy("check the address and your network")
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, sandbox.Errorf(httpCode(resp.StatusCode), "get %s: the server says %s", where.Redacted(), printable(resp.Status))
	}
	return resp.Body, nil
}

func httpCode(status int) sandbox.Code {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return sandbox.CodeUnauthorized
	case http.StatusNotFound, http.StatusGone:
		return sandbox.CodeNotFound
	case http.StatusTooManyRequests:
		return sandbox.CodeRateLimited
	}
	return sandbox.CodeUnreachable
}
