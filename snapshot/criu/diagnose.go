package criu

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Failure is what a log of CRIU says about why it failed.
type Failure struct {
	// Resource is the kind of thing because of which it failed, empty if that could not be told.
	Resource Resource
	// PID is the process's number in the container and Command its name; 0 and empty if the log does not tell.
	PID     int
	Command string
	// Message says what failed, Remedy what mends it; it may be empty.
	Message, Remedy string
	// Line is the message in the log that says so, without time and place.
	Line string
}

// maxLine is how many bytes of a message in a log are looked at.
const maxLine = 1000

// patterns are those of lines of a log.
type patterns struct {
	// problem is "(00.011731) Error (criu/files-reg.c:1790): text", in a restore with the process after the time, and in what
	// the code says that CRIU puts into processes with "pie: 8: " instead of the time.
	problem *regexp.Regexp
	// dumped is in the line that follows about the process in which the error was.
	dumped *regexp.Regexp
	// command is in that which says which process is worked at, at level 4: "Dumping task (pid: 8 comm: redis-server)".
	command *regexp.Regexp
}

var lines = sync.OnceValue(func() patterns {
	return patterns{
		problem: regexp.MustCompile(`^(?:\(\d+\.\d+\))?\s*(?:pie: )?(?:(\d+): )?Error \(([^()\s]+:\d+)\): (.*)$`),
		dumped:  regexp.MustCompile(`\(pid: (\d+)\)|Unable to detach from (\d+)`),
		command: regexp.MustCompile(`\(pid: (\d+) comm: ([^\n]{1,15})\)`),
	}
})

// harmless are errors that are in logs of successes, too.
var harmless = []string{
	"Can't setup RLIMIT_NOFILE for self", // the limit stays as it is
	noSuspension,                         // needs root's rights; the filter allows what comes after it
}

// unsuspended is fatal in a dump. In a restore, noSuspension follows.
const (
	unsuspended  = "suspending seccomp failed"
	noSuspension = "failed to suspend seccomp"
)

// Diagnose reads a log of CRIU, dump.log or restore.log, for the reason of a failure: the first error that is known, else
// the first one. It returns nil if there is no error in it.
func Diagnose(log []byte) *Failure {
	var first, known *Failure
	commands := map[int]string{}
	for line := range bytes.Lines(log) {
		text := string(bytes.TrimSpace(line[:min(len(line), maxLine)]))
		if m := lines().command.FindStringSubmatch(text); m != nil {
			commands[atoi(m[1])] = m[2]
		}
		if strings.Contains(text, noSuspension) && known != nil && strings.Contains(known.Line, unsuspended) {
			known = nil
		}
		m := lines().problem.FindStringSubmatch(text)
		if m == nil || isHarmless(m[3]) {
			continue
		}
		switch f, ok := diagnose(m[3]); {
		case known != nil || first != nil && !ok:
			complete(known, m[3])
			complete(first, m[3])
			continue
		case ok:
			known = f
			known.process(m[1])
		default:
			first = f
			first.process(m[1])
		}
	}
	if known == nil {
		known = first
	}
	if known != nil && known.Command == "" {
		known.Command = commands[known.PID]
	}
	return known
}

// process notes the process that a line began with.
func (f *Failure) process(prefix string) {
	if f.PID == 0 {
		f.PID = atoi(prefix)
	}
}

// complete takes the process from a later error, which came of the first one.
func complete(f *Failure, text string) {
	if m := lines().dumped.FindStringSubmatch(text); m != nil && f != nil && f.PID == 0 {
		f.PID = atoi(m[1] + m[2])
	}
}

func isHarmless(text string) bool {
	for _, h := range harmless {
		if strings.Contains(text, h) {
			return true
		}
	}
	return false
}

// diagnose tells what a message of CRIU means, and whether it is known.
func diagnose(text string) (*Failure, bool) {
	for _, s := range symptoms() {
		m := s.pattern.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		f := &Failure{Resource: s.resource, Message: s.message, Remedy: s.remedy, Line: text}
		var details []string
		for i, name := range s.pattern.SubexpNames() {
			switch {
			case name == "pid":
				f.PID = atoi(m[i])
			case name != "" && m[i] != "":
				details = append(details, strings.TrimSpace(m[i]))
			}
		}
		if len(details) > 0 {
			f.Message += ": " + strings.Join(details, ", ")
		}
		return f, true
	}
	return &Failure{Message: fmt.Sprintf("CRIU gave up for a reason that is not known here (%s)", text), Line: text}, false
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s) // 0 for none
	return n
}

// String is the message with the process that it is about.
func (f *Failure) String() string {
	switch {
	case f.PID == 0:
		return f.Message
	case f.Command == "":
		return fmt.Sprintf("process %d: %s", f.PID, f.Message)
	}
	return fmt.Sprintf("process %d (%s): %s", f.PID, f.Command, f.Message)
}
