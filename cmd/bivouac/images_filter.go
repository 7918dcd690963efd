package main

import (
	"path"
	"slices"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
)

// images returns what decides whether an image is listed. An argument counts as one more pattern.
//
// Errors: usageError, those of finding an image that a filter names.
func (f filters) images(args []string, now time.Time) (func(rootfs.Summary) bool, error) {
	patterns, err := f.patterns(args)
	if err != nil {
		return nil, err
	}
	dangling, err := f.boolean("dangling")
	if err != nil {
		return nil, err
	}
	until, err := f.until(now)
	if err != nil {
		return nil, err
	}
	before, since, err := f.neighbours()
	if err != nil {
		return nil, err
	}
	return func(s rootfs.Summary) bool {
		return matchesAny(s, patterns) && f.labelsFit(s.Labels) && (dangling == nil || *dangling == !s.Named) &&
			(until.IsZero() || s.Created.Before(until)) && (before.IsZero() || s.Created.Before(before)) &&
			(since.IsZero() || s.Created.After(since))
	}, nil
}

// patterns collects what limits names. They widen the list, as in Docker.
func (f filters) patterns(args []string) ([]string, error) {
	patterns := slices.Concat(args, f["reference"])
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return nil, usageErrorf("read pattern %q: it is empty or has no end; write a name, and close its brackets", p)
		}
	}
	return patterns, nil
}

// neighbours returns when the images of the filters before and since were made, of several the one that leaves most.
func (f filters) neighbours() (before, since time.Time, _ error) {
	for _, name := range f["before"] {
		made, err := madeAt(name)
		if err != nil {
			return before, since, err
		}
		if made.After(before) {
			before = made
		}
	}
	for _, name := range f["since"] {
		made, err := madeAt(name)
		if err != nil {
			return before, since, err
		}
		if since.IsZero() || made.Before(since) {
			since = made
		}
	}
	return before, since, nil
}

func madeAt(image string) (time.Time, error) {
	store, err := openStore()
	if err != nil {
		return time.Time{}, err
	}
	found, err := store.Inspect(storedName(image), "")
	if err != nil {
		return time.Time{}, err
	}
	if found.Created == nil || found.Created.IsZero() {
		return time.Time{}, usageErrorf("compare with image %s: it does not say when it was made; use another one", image)
	}
	return *found.Created, nil
}
