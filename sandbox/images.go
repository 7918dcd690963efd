package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
)

// Commit makes an image of the container's changed files and its configuration.
//
// Errors: CodeBadReference, CodeInvalid for a change that is no instruction, CodeNoSpace; CodeAlreadyFinished after Discard.
func (ct *Container) Commit(ctx context.Context, s CommitSpec, progress func(Progress)) (ImageInfo, error) {
	var info ImageInfo
	err := ct.client.askProgress(ctx, KindCommit, CommitRequest{ct.request(), s}, &info, progress)
	return info, err
}

// Import makes an image with one layer of a tar archive, compressed or not.
//
// Errors: CodeBadReference, CodeBadArchive, CodeInvalid, CodeNoSpace; those of the stream.
func (c *Client) Import(ctx context.Context, r ImportRequest, tar io.Reader) (ImageInfo, error) {
	var info ImageInfo
	err := c.sendArchive(ctx, "import an image", KindImport, r, tar, &info)
	return info, err
}

// Load takes the images of an archive into the store: a regular file, a directory, or what can only be read once, as a pipe.
// Each image is listed once for each of its names; one without a name has its digest for one. What was complete before an
// error stays.
//
// Errors: CodeNotFound, CodeBadArchive, CodeBadImage, CodeDigestMismatch, CodeNoPlatform, CodeNoSpace.
func (c *Client) Load(ctx context.Context, r LoadRequest, archive *os.File, progress func(Progress)) ([]ImageInfo, error) {
	var list []ImageInfo
	err := c.askProgress(ctx, KindLoad, r, &list, progress, archive)
	return list, err
}

// RemoveImages removes names of images, and images that no name is left of. What was removed before an error is in the list.
//
// Errors: CodeNotFound; CodeInvalid for the beginning of several ids; CodeInUse for images of containers, and without Force
// for those of several names.
func (c *Client) RemoveImages(ctx context.Context, r RemoveImagesRequest) ([]RemovedImage, error) {
	var all []RemovedImage
	var errs []error
	for _, image := range r.Images {
		var list []RemovedImage
		err := c.ask(ctx, KindRemoveImages, RemoveImagesRequest{Images: []string{image}, Force: r.Force}, &list)
		all, errs = append(all, list...), append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return all, firstError(errs)
}

// firstError joins errors, of which a single one stays what it is.
func firstError(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// PruneStore removes what nothing needs.
func (c *Client) PruneStore(ctx context.Context, r PruneStoreRequest) (Reclaimed, error) {
	var out Reclaimed
	err := c.ask(ctx, KindPruneStore, r, &out)
	return out, err
}

// DiskUsage measures what the store takes of the disk.
func (c *Client) DiskUsage(ctx context.Context) (DiskUsage, error) {
	var out DiskUsage
	err := c.ask(ctx, KindDiskUsage, DiskUsageRequest{}, &out)
	return out, err
}

// CheckStore verifies the store.
func (c *Client) CheckStore(ctx context.Context, r CheckStoreRequest, progress func(Progress)) (StoreCheck, error) {
	var out StoreCheck
	err := c.askProgress(ctx, KindCheckStore, r, &out, progress)
	return out, err
}

// ResetStore removes everything that the store has, also what belongs to subordinate ids.
//
// Errors: CodeInUse while containers run.
func (c *Client) ResetStore(ctx context.Context) error {
	return c.ask(ctx, KindResetStore, ResetStoreRequest{}, nil)
}

// askProgress is ask for requests that tell of their progress.
func (c *Client) askProgress(ctx context.Context, kind string, body, result any, progress func(Progress), files ...*os.File) error {
	r, err := c.request(kind, body, files...)
	if err != nil {
		return err
	}
	m, err := c.skipProgress(ctx, r, progress)
	if err != nil {
		return err
	}
	return m.Decode(result)
}
