package build

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
)

// selection is what a COPY or ADD takes from a folder. It is part of a key.
type selection struct {
	Patterns []string `json:"patterns"`
	Exclude  []string `json:"exclude,omitempty"`
	Parents  bool     `json:"parents,omitempty"` // paths are kept, from /./ on
	Unpack   bool     `json:"unpack,omitempty"`  // archives are extracted
}

// item is a file or directory that a pattern selects.
type item struct {
	*found
	base    string // its own name, as it was asked for
	include *patternmatcher.PatternMatcher
}

// each calls do with every item, in the order of the patterns and of names.
func (s *selection) each(f *folder, do func(*item) error) error {
	exclude, err := matcherOf(s.Exclude)
	if err != nil {
		return err
	}
	for _, pattern := range s.Patterns {
		var include *patternmatcher.PatternMatcher
		if s.Parents {
			if pattern, include, err = s.pivot(f, pattern); err != nil {
				return err
			}
		}
		names, err := f.glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := oneItem(f, name, include, exclude, do); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneItem(f *folder, name string, include, exclude *patternmatcher.PatternMatcher, do func(*item) error) error {
	file, err := f.lookup(name)
	if err != nil {
		return err
	}
	defer file.Close()
	base := path.Base(path.Clean("/" + name))
	if exclude != nil && base != "/" {
		if left, err := exclude.MatchesOrParentMatches(base); err != nil || left {
			return err
		}
	}
	return do(&item{found: file, base: base, include: include})
}

// pivot splits a pattern of COPY --parents where the kept part of the path begins.
func (s *selection) pivot(f *folder, pattern string) (dir string, include *patternmatcher.PatternMatcher, err error) {
	dir, kept, ok := strings.Cut(pattern, "/./")
	if !ok {
		dir, kept = "/", pattern
	}
	kept = cleanIn(kept)
	if !hasMeta(dir) && !hasMeta(kept) {
		file, err := f.lookup(path.Join("/", dir, kept))
		if err != nil {
			return "", nil, err
		}
		file.Close()
	}
	if kept == "." {
		kept = "**"
	}
	include, err = matcherOf([]string{kept})
	return dir, include, err
}

// matcherOf is nil for no patterns.
func matcherOf(patterns []string) (*patternmatcher.PatternMatcher, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	m, err := patternmatcher.New(patterns)
	if err == nil {
		_, err = m.MatchesOrParentMatches("x") // it compiles them when they are first used
	}
	if err != nil {
		return nil, fmt.Errorf("read patterns %q: %w", patterns, err)
	}
	return m, nil
}

func hasMeta(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// glob returns the paths that a pattern matches, by the rules of path.Match for each part. A path without special characters is
// itself, there or not.
func (f *folder) glob(pattern string) ([]string, error) {
	pattern = cleanIn(pattern)
	if !hasMeta(pattern) {
		return []string{pattern}, nil
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("read pattern %q: %w", pattern, err)
	}
	names, err := f.expand(".", strings.Split(pattern, "/"))
	return slices.DeleteFunc(names, func(name string) bool { return !f.exists(name) }), err
}

func (f *folder) expand(dir string, parts []string) ([]string, error) {
	if len(parts) == 0 {
		return []string{dir}, nil
	}
	if !hasMeta(parts[0]) {
		return f.expand(path.Join(dir, parts[0]), parts[1:])
	}
	names, err := f.list(dir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names {
		if ok, err := path.Match(parts[0], name); !ok || err != nil {
			continue
		}
		below, err := f.expand(path.Join(dir, name), parts[1:])
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// describe returns a digest of all that the selection means, and how many files that are.
func (s *selection) describe(ctx context.Context, f *folder) (sum string, files int, err error) {
	d := newDescriber(ctx, f)
	err = s.each(f, func(i *item) error {
		d.begin(i)
		return s.walk(ctx, f, i, d)
	})
	return d.sum(), d.files, err
}

// walk goes over one item.
func (s *selection) walk(ctx context.Context, f *folder, i *item, v visitor) error {
	exclude, err := matcherOf(s.Exclude)
	if err != nil {
		return err
	}
	w := &walk{ctx: ctx, visitor: v, folder: f, from: i.path, include: i.include, exclude: exclude}
	return w.top(i.found)
}

// copy copies all that the selection means to dest, and returns the digest of it.
func (s *selection) copy(ctx context.Context, f *folder, t *target, dest string, x extractor) (sum string, err error) {
	d := newDescriber(ctx, f)
	err = s.each(f, func(i *item) error {
		d.begin(i)
		if s.Unpack && !i.isDir() {
			done, err := x.extractItem(ctx, s, f, i, d, t, dest)
			if done || err != nil {
				return err
			}
		}
		at, err := t.placeOf(dest, i.base, i.isDir())
		if err != nil {
			return err
		}
		w := newWriter(ctx, t, f, at)
		defer w.close()
		return s.walk(ctx, f, i, both{d, w})
	})
	return d.sum(), err
}

// both tells two visitors.
type both struct{ first, second visitor }

func (b both) directory(f *file) error {
	if err := b.first.directory(f); err != nil {
		return err
	}
	return b.second.directory(f)
}

func (b both) leave(f *file) error {
	if err := b.first.leave(f); err != nil {
		return err
	}
	return b.second.leave(f)
}

func (b both) regular(f *file) error {
	if err := b.first.regular(f); err != nil {
		return err
	}
	return b.second.regular(f)
}

func (b both) symlink(f *file) error {
	if err := b.first.symlink(f); err != nil {
		return err
	}
	return b.second.symlink(f)
}
