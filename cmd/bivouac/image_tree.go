package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

func newImageTreeCommand() *cobra.Command {
	noTrunc := false
	cmd := &cobra.Command{
		Use:   "tree [flags] [IMAGE...]",
		Short: "Show images with their layers, and which images share them",
		Long: `Show images of the store with their layers, the lowest first, the size of the layers' files, and which other images have
them too. Unique is what goes with the image. IMAGE is a name, or an id or its beginning; without one all are shown.`,
		Example: `  bivouac image tree
  bivouac image tree postgres:16`,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			images, err := store.Tree()
			if err != nil {
				return err
			}
			t := &imageTree{images: images, noTrunc: noTrunc}
			if err := t.choose(store, args); err != nil {
				return err
			}
			return t.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "print whole ids")
	return cmd
}

// imageTree prints images and layers.
type imageTree struct {
	images  []rootfs.TreeImage
	chosen  []digest.Digest // ids; none means all
	noTrunc bool
}

func (t *imageTree) choose(store *rootfs.Store, names []string) error {
	for _, name := range names {
		found, err := store.Inspect(storedName(name), "")
		if err != nil {
			return err
		}
		t.chosen = append(t.chosen, found.ID)
	}
	return nil
}

func (t *imageTree) print(w io.Writer) error {
	var out strings.Builder
	for _, image := range t.images {
		if len(t.chosen) > 0 && !slices.Contains(t.chosen, image.ID) {
			continue
		}
		fmt.Fprintf(&out, "%s  %s  %s  %s, unique %s\n", t.short(image.ID), cmp.Or(t.names(image), "<none>"), printable(image.Platform),
			humanSize(image.Size), humanSize(image.Unique))
		for i, l := range image.Layers {
			branch := "├─ "
			if i == len(image.Layers)-1 {
				branch = "└─ "
			}
			fmt.Fprintf(&out, "%s%s  %s%s\n", branch, t.short(l.DiffID), humanSize(l.Size), t.shared(l))
		}
	}
	return show(w, []byte(out.String()))
}

func (t *imageTree) short(d digest.Digest) string {
	if t.noTrunc {
		return d.String()
	}
	return shortID(d)
}

func (t *imageTree) names(image rootfs.TreeImage) string {
	return printable(strings.Join(image.Names, ", "))
}

// shared names the other images by their first names.
func (t *imageTree) shared(l rootfs.TreeLayer) string {
	var others []string
	for _, image := range t.images {
		if !slices.Contains(l.Shared, image.ID) {
			continue
		}
		name := t.short(image.ID)
		if len(image.Names) > 0 {
			name = printable(image.Names[0])
		}
		others = append(others, name)
	}
	if others == nil {
		return ""
	}
	return "  shared with " + strings.Join(others, ", ")
}
