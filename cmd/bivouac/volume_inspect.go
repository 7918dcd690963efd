package main

import (
	"io"
	"maps"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newVolumeInspectCommand() *cobra.Command {
	format := ""
	cmd := &cobra.Command{
		Use:   "inspect [flags] VOLUME...",
		Short: "Show all that is known about volumes",
		Long: `Show all that is known about volumes, as a JSON array with Docker's names for things. Containers, which Docker does not
show, are the ids of those that have the volume, running or not.

Templates use the names of the JSON, and the functions json, upper, lower, title, split, join, pad and truncate.`,
		Example: `  bivouac volume inspect data
  bivouac volume inspect --format '{{.Mountpoint}}' data`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return inspectVolumes(cmd.OutOrStdout(), names, format)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "print with `FORMAT`: json, or a Go template as in '{{.Mountpoint}}'")
	return cmd
}

// volumeInspection is a volume as Docker describes it. Its fields have Docker's names but for the last.
type volumeInspection struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
	Containers []string
}

// inspectVolumes prints those that are there, as Docker does, and then fails for the others.
func inspectVolumes(w io.Writer, names []string, format string) error {
	found := []volumeInspection{}
	failed := forEach(os.Stderr, names, func(name string) error {
		v, err := sandbox.ReadVolume(name)
		if err == nil {
			found = append(found, inspectionOf(&v))
		}
		return err
	})
	var err error
	switch format {
	case "":
		err = writeIndented(w, found)
	case "json":
		err = writeJSON(w, [][]volumeInspection{found})
	default:
		err = writeRows(w, format, found, volumeInspection{})
	}
	if err != nil {
		return err
	}
	return failed
}

func inspectionOf(v *sandbox.Volume) volumeInspection {
	labels := maps.Clone(v.Labels)
	if v.Anonymous {
		if labels == nil {
			labels = map[string]string{}
		}
		labels["com.docker.volume.anonymous"] = "" // as Docker marks them
	}
	users := v.Users
	if users == nil {
		users = []string{}
	}
	return volumeInspection{
		CreatedAt: v.Created.Local().Format(time.RFC3339), Driver: "local", Labels: labels, Mountpoint: v.Path, Name: v.Name, Scope: "local",
		Containers: users,
	}
}
