package main

import "strings"

// parseLabels reads the values of a flag --label; it gives nil without any.
//
// Errors: usageError.
func parseLabels(texts []string) (labels map[string]string, err error) {
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		if name == "" {
			return nil, usageErrorf("--label %q: needs NAME=VALUE or NAME", text)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[name] = value
	}
	return labels, nil
}
