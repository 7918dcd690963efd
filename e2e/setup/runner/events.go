package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// An event is a line of test2json's output.
type event struct {
	Action, Test, Output string
}

// maxOutput bounds what is kept of one test's output, in bytes; a longer one loses its middle.
const maxOutput = 64 << 10

// readEvents returns the results of the Go tests whose events r holds, in the order in which they ended, and what the
// package printed outside of any test. A test that has begun and not ended has failed.
func readEvents(r io.Reader) (results []result, rest string) {
	outputs := map[string]*strings.Builder{"": {}}
	var running []string
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if err != nil && line == "" {
			break
		}
		e := parseEvent(line)
		if outputs[e.Test] == nil {
			outputs[e.Test] = &strings.Builder{}
		}
		switch e.Action {
		case "run":
			running = append(running, e.Test)
		case "output":
			outputs[e.Test].WriteString(e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				results = append(results, result{test: e.Test, status: status(e.Action), output: trim(outputs[e.Test].String())})
				running = slices.DeleteFunc(running, func(name string) bool { return name == e.Test })
			}
		}
	}
	for _, name := range running {
		results = append(results, result{test: name, status: failed, output: trim(outputs[name].String())})
	}
	return results, trim(outputs[""].String())
}

// parseEvent takes a line that is no event, as a process that outlived the test may write, for output.
func parseEvent(line string) event {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		return event{Action: "output", Output: line}
	}
	return e
}

func trim(output string) string {
	if over := len(output) - maxOutput; over > 0 {
		return fmt.Sprintf("%s\n... %d bytes left out ...\n%s", output[:maxOutput/2], over, output[len(output)-maxOutput/2:])
	}
	return output
}
