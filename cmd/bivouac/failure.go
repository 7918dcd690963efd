package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// exitError ends the program with an exit code of its own. Without err, nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// usageErrorf makes a usageError; its text ends with what mends it, after a semicolon.
func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// asUsageError adds where to read how cmd is called, unless err says so. Cobra's own hints take more than one line.
func asUsageError(cmd *cobra.Command, err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if before, why, found := strings.Cut(text, ": strconv."); found { // the flag's value, again, and Go's own words
		text = before + why[strings.LastIndex(why, ": "):]
	}
	if usage := (*usageError)(nil); errors.As(err, &usage) || strings.Contains(text, "--help") {
		return &usageError{text}
	}
	return usageErrorf("%s; see %q", text, cmd.CommandPath()+" --help")
}

// runVerbs end with the exit codes of what they run, and so with 125 where others end with what the error is.
var runVerbs = []string{"run", "exec", "test", "try"}

// conclude prints err, if it has something to say, and returns the exit code.
func conclude(stderr io.Writer, verb string, err error) int {
	var exit exitError
	given := errors.As(err, &exit)
	if err != nil && !(given && exit.err == nil) {
		_, _ = fmt.Fprintln(stderr, complaint(err)) // with standard error gone there is nobody left to tell
	}
	switch {
	case given:
		return exit.code
	case err != nil && slices.Contains(runVerbs, verb):
		return exitRunFailed
	}
	return exitCodeOf(err)
}

// complaint is one line whatever the error holds: part of it may come from a registry or an image.
func complaint(err error) string {
	return "bivouac: " + strings.TrimPrefix(printable(err.Error()), "bivouac: ")
}

// forEach calls f for each name, also after failures. These are all printed; the exit code is that of the first.
func forEach(stderr io.Writer, names []string, f func(name string) error) error {
	var errs []error
	for _, name := range names {
		if err := f(name); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	last := len(errs) - 1
	for _, err := range errs[:last] {
		_, _ = fmt.Fprintln(stderr, complaint(err)) // with standard error gone there is nobody left to tell
	}
	return exitError{code: exitCodeOf(errs[0]), err: errs[last]}
}
