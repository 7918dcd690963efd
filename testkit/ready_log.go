package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// LogStrategy is reached when the program has printed something.
type LogStrategy struct {
	text    string
	pattern *regexp.Regexp
	times   int
	stream  Stream
}

// LogLine is reached when a line of the program's output, on either stream, contains text.
func LogLine(text string) LogStrategy { return LogStrategy{text: text, times: 1} }

// LogPattern is reached when a line of the program's output, on either stream, matches a regular expression, in the syntax of
// package regexp.
func LogPattern(pattern string) LogStrategy {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return LogStrategy{text: pattern, times: -1}
	}
	return LogStrategy{pattern: re, times: 1}
}

// Times waits for the nth of such lines. The default is 1.
func (l LogStrategy) Times(n int) LogStrategy {
	if l.times > 0 {
		l.times = max(n, 0)
	}
	return l
}

// On looks at one stream alone.
func (l LogStrategy) On(s Stream) LogStrategy {
	l.stream = s
	return l
}

// WaitReady implements [Strategy].
func (l LogStrategy) WaitReady(ctx context.Context, c *Container) error {
	found := 0
	lines := splitter{line: func(_ Stream, line string) {
		if l.matches(line) {
			found++
		}
	}}
	at := c.output.runStart()
	at.stream = l.stream
	buf := make([]byte, 32<<10)
	for {
		n, s, err := c.output.await(ctx, &at, buf)
		if err != nil {
			return l.notFound(ctx, c, found, err)
		}
		lines.add(s, buf[:n])
		if found >= l.times || found == l.times-1 && l.matches(lines.partial(s)) {
			return nil
		}
	}
}

func (l LogStrategy) matches(line string) bool {
	if l.pattern != nil {
		return l.pattern.MatchString(line)
	}
	return strings.Contains(line, l.text)
}

func (l LogStrategy) notFound(ctx context.Context, c *Container, found int, err error) error {
	if errors.Is(err, io.EOF) {
		select {
		case <-c.current().alive.Done():
			return context.Cause(c.current().alive)
		case <-ctx.Done():
		}
	}
	return &seenError{fmt.Errorf("%d such lines", found)}
}

// String implements [Strategy].
func (l LogStrategy) String() string {
	text := fmt.Sprintf("log line %q", l.text)
	if l.pattern != nil {
		text = fmt.Sprintf("log line matching %q", l.pattern)
	}
	if l.times > 1 {
		text += fmt.Sprintf(", %d times", l.times)
	}
	if l.stream != 0 {
		text += " on " + l.stream.String()
	}
	return text
}

func (l LogStrategy) traits() traits {
	t := traits{held: true, outlives: true}
	if l.times < 0 {
		_, err := regexp.Compile(l.text)
		t.problem = fmt.Sprint(err)
	}
	return t
}
