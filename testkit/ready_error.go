package testkit

import (
	"errors"
	"fmt"
	"strings"
)

// StartError says why a container that was made did not get ready. errors.As finds an [*ExitedError] in it if its program
// has ended.
type StartError struct {
	// Image and Name are the container's.
	Image, Name string
	// Err says what failed.
	Err error
	// Started tells whether the program was executed.
	Started bool
	// Log are the last lines of the program's output.
	Log string

	remedy string
}

// Error returns all of it, the log lines included.
func (e *StartError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "start %s (%s): %v", e.Image, e.Name, e.Err)
	if e.remedy != "" {
		text.WriteString("; " + e.remedy)
	}
	switch {
	case !e.Started:
	case e.Log == "":
		text.WriteString("\nIts program has printed nothing.")
	default:
		text.WriteString("\nThe last lines of its log:\n" + indent(printable(e.Log)))
	}
	return text.String()
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// startLines is how many lines of the log a failed start shows.
const startLines = 20

func (c *Container) startError(err error) error {
	return &StartError{
		Image: c.settings.spec.Image, Name: c.info.Name, Err: err, Started: c.current().started.Load(),
		Log: lastLines(c.output.bytes(0), startLines), remedy: c.remedy(err),
	}
}

// startErrorOf is startError for what may be nil.
func (c *Container) startErrorOf(err error) error {
	if err == nil {
		return nil
	}
	return c.startError(err)
}

// remedy says what mends a container that does not get ready, where its log alone may not.
func (c *Container) remedy(err error) string {
	switch {
	case errors.Is(err, errStartTimeout):
		return fmt.Sprintf("see its log, or give it more than %v with testkit.StartTimeout", c.settings.startTimeout)
	case errors.Is(err, errTestDeadline):
		return "give the tests more time with go test -timeout"
	case errors.Is(err, errRunTimeout):
		return "see its log, or give it more time with testkit.StartTimeout"
	default:
		return limitRemedy(err)
	}
}

// limitRemedy says what mends the want of open files, which can show anywhere.
func limitRemedy(err error) string {
	const hint = "raise the limit of open files (ulimit -n), or have fewer containers at once"
	if text := err.Error(); strings.Contains(text, "too many open files") && !strings.Contains(text, "ulimit") {
		return hint
	}
	return ""
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ")
}
