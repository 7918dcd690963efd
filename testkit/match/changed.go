package match

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/onsi/gomega/format"
	"github.com/onsi/gomega/types"

	"github.com/bivouac-run/bivouac/sandbox"
)

// HaveChangedOnly succeeds when every file that the container has changed, added or deleted in its image is named by a
// pattern, or lies below a directory that is. Patterns are absolute and have the syntax of path.Match: * does not match a
// slash. That the directories above such a file have changed goes without saying. Without patterns nothing may have changed.
// What lies on mounts does not count, and what options have put into the container does.
func HaveChangedOnly(patterns ...string) types.GomegaMatcher {
	return &changedOnly{look: look{"HaveChangedOnly"}, patterns: patterns}
}

type changedOnly struct {
	look
	patterns []string
	all      []sandbox.Change
	others   []sandbox.Change // those that no pattern names
}

// Match implements types.GomegaMatcher.
func (m *changedOnly) Match(actual any) (bool, error) {
	c, err := m.container(actual)
	if err != nil {
		return false, err
	}
	for _, pattern := range m.patterns {
		if _, err := path.Match(pattern, ""); err != nil || !path.IsAbs(pattern) {
			return false, fmt.Errorf("HaveChangedOnly needs absolute paths, with the patterns of path.Match, and not %q", pattern)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if m.all, err = c.Diff(ctx); err != nil {
		return false, err
	}
	m.others = m.unexpected()
	return len(m.others) == 0, nil
}

// unexpected returns the changes that no pattern names.
func (m *changedOnly) unexpected() []sandbox.Change {
	var others []sandbox.Change
	above := map[string]bool{} // the directories above what is named
	for _, change := range m.all {
		if !m.isNamed(change.Path) {
			others = append(others, change)
			continue
		}
		for dir := path.Dir(change.Path); !above[dir]; dir = path.Dir(dir) {
			above[dir] = true
		}
	}
	unexpected := others[:0]
	for _, change := range others {
		if change.Kind != sandbox.ChangeModified || !above[change.Path] {
			unexpected = append(unexpected, change)
		}
	}
	return unexpected
}

// isNamed tells whether a pattern matches a path or a directory above it.
func (m *changedOnly) isNamed(name string) bool {
	for ; ; name = path.Dir(name) {
		for _, pattern := range m.patterns {
			if ok, _ := path.Match(path.Clean(pattern), name); ok { // the patterns have been checked
				return true
			}
		}
		if name == "/" || name == "." {
			return false
		}
	}
}

// FailureMessage implements types.GomegaMatcher.
func (m *changedOnly) FailureMessage(actual any) string {
	return message(actual, "to have changed only "+m.text(), "It has changed as well:\n"+list(m.others))
}

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *changedOnly) NegatedFailureMessage(actual any) string {
	return message(actual, "to have changed more than "+m.text(), fmt.Sprintf("It has changed %d files:\n%s", len(m.all), list(m.all)))
}

func (m *changedOnly) text() string {
	if len(m.patterns) == 0 {
		return "nothing"
	}
	return strings.Join(m.patterns, ", ")
}

// maxListed is how many changes a message lists.
const maxListed = 30

func list(changes []sandbox.Change) string {
	var lines []string
	for _, change := range changes[:min(len(changes), maxListed)] {
		lines = append(lines, change.String())
	}
	if more := len(changes) - maxListed; more > 0 {
		lines = append(lines, fmt.Sprintf("... and %d more", more))
	}
	return format.IndentString(strings.Join(lines, "\n"), 1)
}
