package main

import (
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

// imagesFlags are those of the verb images.
type imagesFlags struct {
	quiet, digests, noTrunc, all bool
	format                       string
	filters                      []string
}

func newImagesCommand() *cobra.Command {
	f := &imagesFlags{}
	cmd := &cobra.Command{
		Use:   "images [flags] [REPOSITORY[:TAG]]",
		Short: "List the images of the store",
		Long: `List the images of the store, the youngest first.

REPOSITORY[:TAG] and --filter reference=PATTERN take the patterns of a shell, which match names with or without
the tag. SIZE is that of the compressed layers.

Filters of one kind widen the list and those of different kinds limit it, but for label, of which all have to fit:
  reference=PATTERN  dangling=true|false, which have no name or one  label=NAME[=VALUE]
  before=IMAGE  since=IMAGE, made before or after that one           until=TIME, made before it

Templates know .Repository .Tag .ID .Digest .CreatedSince .CreatedAt .Size .Platform .Name and the functions json,
upper, lower, title, split, join, pad and truncate. "table TEMPLATE" prints columns, separated in the template by \t.`,
		Example: `  bivouac images
  bivouac images 'python:3.*'
  bivouac images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
  bivouac images --format 'table {{.ID}}\t{{.Platform}}'
  bivouac images --format json --filter reference='*/library/*'
  bivouac images -q --filter dangling=true --filter until=24h`,
		Args: cobra.MaximumNArgs(1),
		RunE: f.run,
	}
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print ids only")
	cmd.Flags().BoolVar(&f.digests, "digests", false, "show the digests that the registry gives")
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "print whole ids")
	cmd.Flags().StringVar(&f.format, "format", "", listingUsage)
	cmd.Flags().StringArrayVarP(&f.filters, "filter", "f", nil, "list only what matches `KEY=VALUE`")
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "list intermediate images too, of which there are none")
	return cmd
}

func (f *imagesFlags) run(cmd *cobra.Command, args []string) error {
	chosen, err := parseFilters(f.filters, "reference", "dangling", "label", "label!", "before", "since", "until")
	if err != nil {
		return err
	}
	fits, err := chosen.images(args, time.Now())
	if err != nil {
		return err
	}
	list, err := storedImages()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s rootfs.Summary) bool { return !fits(s) })
	slices.SortStableFunc(list, func(a, b rootfs.Summary) int { return b.Created.Compare(a.Created) })
	return f.write(cmd.OutOrStdout(), f.rows(list, time.Now()))
}

// matchesAny tells whether one of the patterns fits one of the image's names, short or full, with or without its tag.
func matchesAny(s rootfs.Summary, patterns []string) bool {
	full := strings.TrimSuffix(s.Name, ":"+s.Tag)
	names := []string{s.Repository, s.Repository + ":" + s.Tag, s.Name, full}
	for _, p := range patterns {
		if slices.ContainsFunc(names, func(name string) bool { ok, _ := path.Match(p, name); return ok }) {
			return true
		}
	}
	return len(patterns) == 0
}

// storedImages reads the store as the user who calls, without a keeper.
func storedImages() ([]rootfs.Summary, error) {
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	return store.List()
}

// storedName is the name of an image with the path of a layout or archive made absolute, as the store has it.
func storedName(name string) string {
	ref, err := rootfs.ParseReference(name)
	dir, failed := os.Getwd()
	if err != nil || failed != nil || ref.Path == "" {
		return name
	}
	return ref.WithDir(dir).String()
}

func openStore() (*rootfs.Store, error) {
	dir, err := rootfs.DefaultDir()
	if err != nil {
		return nil, err
	}
	return rootfs.Open(dir, rootfs.StoreOptions{})
}

// imageRow is an image as it is printed. Its fields have Docker's names; the last two are not Docker's.
type imageRow struct {
	ID, Repository, Tag, Digest, CreatedSince, CreatedAt, Size string
	Platform, Name                                             string
}

var imageHeader = imageRow{
	ID: "IMAGE ID", Repository: "REPOSITORY", Tag: "TAG", Digest: "DIGEST", CreatedSince: "CREATED", CreatedAt: "CREATED AT",
	Size: "SIZE", Platform: "PLATFORM", Name: "NAME",
}

func (f *imagesFlags) rows(list []rootfs.Summary, now time.Time) []imageRow {
	rows := make([]imageRow, len(list))
	for i, s := range list {
		rows[i] = imageRow{
			ID: shortID(s.ID), Repository: printable(s.Repository), Tag: printable(s.Tag), Digest: s.Digest.String(),
			CreatedSince: "N/A", CreatedAt: "N/A", Size: humanSize(s.Size),
			Platform: printable(s.Platform), Name: printable(s.Name),
		}
		if f.noTrunc {
			rows[i].ID = s.ID.String()
		}
		if !s.Created.IsZero() {
			rows[i].CreatedSince = ago(s.Created, now)
			rows[i].CreatedAt = createdAt(s.Created)
		}
	}
	return rows
}

// shortID is how Docker abbreviates digests.
func shortID(d digest.Digest) string {
	_, hex, _ := strings.Cut(d.String(), ":")
	return hex[:min(12, len(hex))]
}

func (f *imagesFlags) write(w io.Writer, rows []imageRow) error {
	columns := `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	if f.digests {
		columns = `{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	}
	return writeListing(w, f.format, f.quiet, columns, rows, imageHeader)
}
