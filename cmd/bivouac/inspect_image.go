package main

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/bivouac-run/bivouac/rootfs"
)

// imageObject is an image as templates see it: the same names as in JSON, and none missing because it is empty.
type imageObject map[string]any

// ID is Docker's other name of the Id.
func (o imageObject) ID() any { return o["Id"] }

func templateObject(one rootfs.Inspection) (imageObject, error) {
	text, err := json.Marshal(one)
	if err != nil {
		return nil, err
	}
	object := imageObject{
		"Comment": commentOf(one), "Parent": "", "Source": "", "Created": "", "Author": "", "Variant": "",
		"History": []any{}, "Annotations": map[string]any{},
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

// commentOf is what commit and import were told, which is kept with the last step of the history.
func commentOf(one rootfs.Inspection) string {
	if len(one.History) == 0 {
		return ""
	}
	return one.History[len(one.History)-1].Comment
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
func keysOf(object imageObject) []string {
	var names []string
	for key := range object {
		names = append(names, "."+key)
	}
	slices.Sort(names)
	return names
}
