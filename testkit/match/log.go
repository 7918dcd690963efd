package match

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
)

// HaveLogged succeeds when what the container's program has printed, on both streams, contains a text, matches a
// *regexp.Regexp or satisfies a matcher of strings. Of a long log it sees the last 8 MiB.
func HaveLogged(expected any) types.GomegaMatcher {
	return &logged{look: look{"HaveLogged"}, expected: expected}
}

type logged struct {
	look
	expected any
}

// Match implements types.GomegaMatcher.
func (m *logged) Match(actual any) (bool, error) {
	c, err := m.container(actual)
	if err != nil {
		return false, err
	}
	switch expected := m.expected.(type) {
	case string:
		return strings.Contains(c.Logs(), expected), nil
	case *regexp.Regexp:
		return expected.MatchString(c.Logs()), nil
	case types.GomegaMatcher:
		return expected.Match(c.Logs())
	default:
		return false, fmt.Errorf("HaveLogged takes a string, a *regexp.Regexp or a matcher, and not a %T", m.expected)
	}
}

// FailureMessage implements types.GomegaMatcher.
func (m *logged) FailureMessage(actual any) string {
	return message(actual, "to have logged "+m.text(actual, false), "")
}

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *logged) NegatedFailureMessage(actual any) string {
	return message(actual, "not to have logged "+m.text(actual, true), "")
}

func (m *logged) text(actual any, negated bool) string {
	switch expected := m.expected.(type) {
	case string:
		return fmt.Sprintf("%q", expected)
	case *regexp.Regexp:
		return fmt.Sprintf("what matches %q", expected)
	default:
		return "what satisfies a matcher:\n" + inner(m.expected, actual.(Container).Logs(), negated)
	}
}

// inner is a matcher's own message about text, as something that is false was expected of it.
func inner(matcher any, text string, negated bool) string {
	m, ok := matcher.(types.GomegaMatcher)
	if !ok {
		m = gomega.Equal(matcher)
	}
	if negated {
		return m.NegatedFailureMessage(text)
	}
	return m.FailureMessage(text)
}
