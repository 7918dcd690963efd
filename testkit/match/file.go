package match

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
)

// HaveFile succeeds when there is something at an absolute path of the container. With content it is to be a regular file
// of at most 16 MiB, whose content, a string, is equal to it or satisfies it, if it is a matcher. Symbolic links are
// followed within the container. More contents than one are joined by And.
func HaveFile(name string, content ...any) types.GomegaMatcher {
	m := &file{look: look{"HaveFile"}, name: name}
	for _, c := range content {
		matcher, ok := c.(types.GomegaMatcher)
		if !ok {
			matcher = gomega.Equal(c)
		}
		m.content = append(m.content, matcher)
	}
	return m
}

type file struct {
	look
	name    string
	content []types.GomegaMatcher
	missing bool
	text    string
	failed  types.GomegaMatcher
}

const maxFile = 16 << 20

// Match implements types.GomegaMatcher.
func (m *file) Match(actual any) (bool, error) {
	m.missing, m.failed = false, nil
	c, err := m.container(actual)
	if err != nil {
		return false, err
	}
	if !path.IsAbs(m.name) {
		return false, fmt.Errorf("HaveFile needs an absolute path of the container, and not %q", m.name)
	}
	err = m.read(c.FS())
	if errors.Is(err, fs.ErrNotExist) {
		m.missing = true
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s of %s: %w", m.name, c, err)
	}
	return m.matchContent()
}

// read reads what is asked for: nothing but whether it is there, or the content.
func (m *file) read(root fs.FS) error {
	name := strings.TrimPrefix(path.Clean(m.name), "/")
	if name == "" {
		name = "."
	}
	info, err := fs.Stat(root, name)
	if err != nil || len(m.content) == 0 {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("it is no regular file, its mode is %v", info.Mode())
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // of what is only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	m.text = string(text)
	return err
}

func (m *file) matchContent() (bool, error) {
	for _, matcher := range m.content {
		ok, err := matcher.Match(m.text)
		if err != nil || !ok {
			m.failed = matcher
			return false, err
		}
	}
	return true, nil
}

// FailureMessage implements types.GomegaMatcher.
func (m *file) FailureMessage(actual any) string {
	switch {
	case m.missing:
		return message(actual, "to have the file "+m.name, "There is no such file.")
	case m.failed != nil:
		return message(actual, "to have the file "+m.name+" with other content", m.failed.FailureMessage(m.text))
	default:
		return message(actual, "to have the file "+m.name, "")
	}
}

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *file) NegatedFailureMessage(actual any) string {
	var seen []string
	for _, matcher := range m.content {
		seen = append(seen, matcher.NegatedFailureMessage(m.text))
	}
	return message(actual, "not to have the file "+m.name, strings.Join(seen, "\n"))
}
