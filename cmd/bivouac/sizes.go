package main

import (
	"context"
	"errors"
	"maps"

	"github.com/bivouac-run/bivouac/sandbox"
)

// sizesOf tells what containers have written to their file systems, in bytes, by their ids. Those of containers that are kept need
// a keeper, which has the ids that their files belong to; of the others their own is asked.
func sizesOf(ctx context.Context, list []sandbox.Record) (map[string]int64, error) {
	sizes := map[string]int64{}
	var kept []string
	for _, r := range list {
		if r.Kept {
			kept = append(kept, r.ID)
			continue
		}
		a, err := sandbox.Attach(ctx, r.ID)
		if err == nil {
			sizes[r.ID], err = a.Size(ctx)
			_ = a.Close() // the container goes on whatever becomes of the connection
		}
		if ifGone(err) != nil {
			return nil, err
		}
	}
	if len(kept) == 0 {
		return sizes, nil
	}
	client, err := startClient(ctx)
	if err != nil {
		return nil, err
	}
	measured, err := client.ContainerSizes(ctx, kept)
	maps.Copy(sizes, measured)
	return sizes, errors.Join(err, client.Close())
}

// imageSize is the size of an image of the store, 0 for one that is not there.
func imageSize(id string) int64 {
	if id == "" {
		return 0
	}
	store, err := openStore()
	if err != nil {
		return 0
	}
	image, err := store.Inspect(id, "")
	if err != nil {
		return 0
	}
	return image.Size
}

// addSizes fills in what each container has written, and in Docker's form its size with the image besides.
func addSizes(ctx context.Context, list []sandbox.Record, rows []containerRow) error {
	sizes, err := sizesOf(ctx, list)
	if err != nil {
		return err
	}
	for i, r := range list {
		rows[i].Size = humanSize(sizes[r.ID])
		if image := imageSize(r.Image.ID); image > 0 {
			rows[i].Size += " (virtual " + humanSize(sizes[r.ID]+image) + ")"
		}
	}
	return nil
}
