package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"
)

// HaveExited succeeds when the container's program has ended with one of the exit codes, or, without any, at all. It is
// gexec.Exit with a message that has the end of the log; and Eventually gives up when it has ended with another code.
func HaveExited(codes ...int) types.GomegaMatcher {
	return &exited{look: look{"HaveExited"}, codes: codes}
}

type exited struct {
	look
	codes []int
}

// Match implements types.GomegaMatcher.
func (m *exited) Match(actual any) (bool, error) {
	c, err := m.container(actual)
	if err != nil {
		return false, err
	}
	code := c.ExitCode()
	return code >= 0 && (len(m.codes) == 0 || slices.Contains(m.codes, code)), nil
}

// FailureMessage implements types.GomegaMatcher.
func (m *exited) FailureMessage(actual any) string {
	return message(actual, "to have exited"+m.text(), "")
}

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *exited) NegatedFailureMessage(actual any) string {
	return message(actual, "not to have exited"+m.text(), "")
}

func (m *exited) text() string {
	if len(m.codes) == 0 {
		return ""
	}
	return " with code " + strings.Join(strings.Fields(strings.Trim(fmt.Sprint(m.codes), "[]")), " or ")
}
