package main

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/bivouac-run/bivouac/rootfs"
)

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
