package main

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// volumeLsFlags are those of the verb volume ls.
type volumeLsFlags struct {
	quiet   bool
	format  string
	filters []string
}

func newVolumeLsCommand() *cobra.Command {
	f := &volumeLsFlags{}
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Aliases: []string{"list"},
		Short:   "List volumes",
		Long: `List the volumes of the store by name.

Filters of one kind widen the list and those of different kinds limit it, but for label, of which all have to fit:
  name=PART  driver=local  label=NAME[=VALUE]  dangling=true|false, which no container has or one has

Templates know .Name .Driver .Scope .Mountpoint .Labels .Label "NAME" .Links, the number of containers that have it, and
the functions json, upper, lower, title, split, join, pad and truncate.`,
		Example: `  bivouac volume ls
  bivouac volume ls -q --filter dangling=true
  bivouac volume ls --format '{{.Name}} {{.Links}}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print names only")
	cmd.Flags().StringVar(&f.format, "format", "", listingUsage)
	cmd.Flags().StringArrayVarP(&f.filters, "filter", "f", nil, "list only what matches `KEY=VALUE`")
	return cmd
}

func (f *volumeLsFlags) run(ctx context.Context, w io.Writer) error {
	chosen, err := parseFilters(f.filters, "name", "label", "dangling", "driver")
	if err != nil {
		return err
	}
	dangling, err := chosen.boolean("dangling")
	if err != nil {
		return err
	}
	list, err := sandbox.Volumes(ctx)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(v sandbox.Volume) bool { return !chosen.fitsVolume(&v, dangling) })
	if f.quiet && f.format == "" {
		return writeRows(w, "{{.Name}}", volumeRows(list), volumeHeader)
	}
	return writeListing(w, f.format, false, `{{.Driver}}\t{{.Name}}`, volumeRows(list), volumeHeader)
}

// boolean reads a filter that is true or false; nil without.
//
// Errors: usageError.
func (f filters) boolean(key string) (*bool, error) {
	var value *bool
	for _, text := range f[key] {
		b, err := strconv.ParseBool(text)
		if err != nil || value != nil && *value != b {
			return nil, usageErrorf("read --filter %s=%s: needs one of true and false", key, text)
		}
		value = &b
	}
	return value, nil
}

func (f filters) fitsVolume(v *sandbox.Volume, dangling *bool) bool {
	if dangling != nil && *dangling != (len(v.Users) == 0) {
		return false
	}
	return f.any("name", func(part string) bool { return strings.Contains(v.Name, part) }) &&
		f.any("driver", func(driver string) bool { return driver == "local" }) && f.labelsFit(v.Labels)
}

// volumeRow is a volume as it is printed. Its fields have Docker's names.
type volumeRow struct {
	Driver, Labels, Links, Mountpoint, Name, Scope string

	labels map[string]string
}

var volumeHeader = volumeRow{Driver: "DRIVER", Labels: "LABELS", Links: "LINKS", Mountpoint: "MOUNTPOINT", Name: "VOLUME NAME", Scope: "SCOPE"}

// Label is one label's value, for templates; of the header its name as the column's.
func (r volumeRow) Label(name string) string {
	if r.Driver == volumeHeader.Driver {
		return strings.NewReplacer("-", " ", "_", " ").Replace(name[strings.LastIndexByte(name, '.')+1:])
	}
	return printable(r.labels[name])
}

func volumeRows(list []sandbox.Volume) []volumeRow {
	rows := make([]volumeRow, len(list))
	for i, v := range list {
		rows[i] = volumeRow{
			Driver: "local", Labels: describeLabels(v.Labels), Links: strconv.Itoa(len(v.Users)), Mountpoint: v.Path, Name: v.Name,
			Scope: "local", labels: v.Labels,
		}
	}
	return rows
}
