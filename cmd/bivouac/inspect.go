package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
)

// inspectFlags are those of the verb inspect.
type inspectFlags struct{ format, platform string }

func newInspectCommand() *cobra.Command {
	f := &inspectFlags{}
	cmd := &cobra.Command{
		Use:   "inspect [flags] NAME|ID...",
		Short: "Show all that is known about images of the store",
		Long: `Show all that is known about images of the store, as a JSON array with Docker's names for things.

An ID is that of the image or the digest of its manifest; its first four characters are enough if no other image's
begin so. Templates use the names of the JSON, and the functions json, upper, lower, title, split, join and truncate.`,
		Example: `  bivouac inspect postgres:16
  bivouac inspect --format '{{.Architecture}} {{join .Config.Env " "}}' postgres:16
  bivouac inspect --format '{{json .RootFS.Layers}}' 3fe1c8b0`,
		Args: cobra.MinimumNArgs(1),
		RunE: f.run,
	}
	cmd.Flags().StringVar(&f.format, "format", "", fmt.Sprintf(formatUsage, "Id"))
	cmd.Flags().StringVar(&f.platform, "platform", "", "inspect the image for `OS/ARCH[/VARIANT]` instead of the machine's")
	return cmd
}

// run prints nothing unless all images are there.
func (f *inspectFlags) run(cmd *cobra.Command, names []string) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	var found []rootfs.Inspection
	for _, name := range names {
		one, err := store.Inspect(name, f.platform)
		if err != nil {
			return err
		}
		found = append(found, one)
	}
	return f.write(cmd.OutOrStdout(), found)
}

func (f *inspectFlags) write(w io.Writer, found []rootfs.Inspection) error {
	switch f.format {
	case "":
		return writeIndented(w, found)
	case "json":
		return writeJSON(w, [][]rootfs.Inspection{found})
	}
	var objects []map[string]any
	for _, one := range found {
		object, err := templateObject(one)
		if err != nil {
			return err
		}
		objects = append(objects, object)
	}
	return writeRows(w, f.format, objects, objects[0])
}

func writeIndented(w io.Writer, v any) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return show(w, out.Bytes())
}

// templateObject makes of an image what templates see: the same names as in JSON, and none missing because it is empty.
func templateObject(one rootfs.Inspection) (map[string]any, error) {
	text, err := json.Marshal(one)
	if err != nil {
		return nil, err
	}
	object := map[string]any{
		"Source": "", "Created": "", "Author": "", "Variant": "", "History": []any{}, "Annotations": map[string]any{},
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	object["Size"] = one.Size // JSON's numbers are floating
	config := emptyConfig()
	if given, ok := object["Config"].(map[string]any); ok {
		maps.Copy(config, given)
	}
	object["Config"] = config
	return object, nil
}

// emptyConfig has the fields of Docker's image configuration.
func emptyConfig() map[string]any {
	return map[string]any{
		"Cmd": []any{}, "Entrypoint": []any{}, "Env": []any{}, "OnBuild": []any{}, "Shell": []any{},
		"ExposedPorts": map[string]any{}, "Labels": map[string]any{}, "Volumes": map[string]any{},
		"StopSignal": "", "User": "", "WorkingDir": "", "Healthcheck": nil,
	}
}

// keysOf lists what a template may use of a map.
func keysOf(object any) []string {
	var names []string
	for key := range object.(map[string]any) {
		names = append(names, "."+key)
	}
	slices.Sort(names)
	return names
}
