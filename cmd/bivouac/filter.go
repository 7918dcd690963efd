package main

import (
	"slices"
	"strings"
	"time"
)

// filters are the values of --filter KEY=VALUE by their keys.
type filters map[string][]string

// parseFilters reads flags whose keys are among the known ones.
//
// Errors: usageError.
func parseFilters(texts []string, known ...string) (filters, error) {
	f := filters{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !slices.Contains(known, key) || !ok {
			return nil, usageErrorf("read --filter %q: there is no such filter; use KEY=VALUE with %s", text, strings.Join(known, ", "))
		}
		f[key] = append(f[key], strings.TrimSpace(value))
	}
	return f, nil
}

func (f filters) has(key string) bool { return len(f[key]) > 0 }

// any tells whether one of the key's values fits, or there is none.
func (f filters) any(key string, fits func(value string) bool) bool {
	return !f.has(key) || slices.ContainsFunc(f[key], fits)
}

// labelsFit tells whether labels have all that label=NAME[=VALUE] asks for, and nothing of label!=.
func (f filters) labelsFit(labels map[string]string) bool {
	fits := func(text string) bool {
		name, want, exact := strings.Cut(text, "=")
		value, ok := labels[name]
		return ok && (!exact || value == want)
	}
	return !slices.ContainsFunc(f["label"], func(text string) bool { return !fits(text) }) && !slices.ContainsFunc(f["label!"], fits)
}

// until reads until=TIME, of which there is one at most; the zero time without.
//
// Errors: usageError.
func (f filters) until(now time.Time) (time.Time, error) {
	switch len(f["until"]) {
	case 0:
		return time.Time{}, nil
	case 1:
	default:
		return time.Time{}, usageErrorf("read --filter until: there are several; give one")
	}
	text := f["until"][0]
	t, ok := parseTime(text, now)
	if !ok {
		return t, usageErrorf("read --filter until=%s: needs a time such as 2030-01-02T15:04:05Z, seconds since 1970, or a duration such as 24h", text)
	}
	return t, nil
}
