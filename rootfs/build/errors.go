package build

import (
	"strconv"
	"strings"
)

// SyntaxError is a Dockerfile that cannot be built whatever the machine.
type SyntaxError struct {
	// File is the Dockerfile's name, Line its first line that is wrong, from 1 on, or 0 if no line is.
	File string
	Line int
	// Err says what is wrong, in one line. Excerpt are the lines around, the wrong ones marked with >>>, each with its end; empty
	// if Line is 0.
	Err     error
	Excerpt string
}

func (e *SyntaxError) Error() string { return placed(e.File, e.Line, e.Err) }

// Unwrap returns what is wrong.
func (e *SyntaxError) Unwrap() error { return e.Err }

// StepError is a step of a build that failed.
type StepError struct {
	// Name is the step's: [build 2/4] RUN make. File, Line and Excerpt are as in [SyntaxError].
	Name    string
	File    string
	Line    int
	Excerpt string
	Err     error
}

func (e *StepError) Error() string { return placed(e.File, e.Line, e.Err) }

// Unwrap returns why it failed.
func (e *StepError) Unwrap() error { return e.Err }

func placed(file string, line int, err error) string {
	if line == 0 {
		return file + ": " + err.Error()
	}
	return file + ":" + strconv.Itoa(line) + ": " + err.Error()
}

// quoted is a command line for people.
func quoted(args []string) string { return strconv.Quote(strings.Join(args, " ")) }
