package testkit

import (
	"bytes"
	"strings"
)

// maxLine is where a line without an end is cut.
const maxLine = 64 << 10

// splitter makes lines of the pieces of both streams.
type splitter struct {
	rest [Stderr + 1][]byte
	line func(Stream, string)
}

func (s *splitter) add(stream Stream, p []byte) {
	rest := append(s.rest[stream], p...)
	for {
		i := bytes.IndexByte(rest, '\n')
		skip := 1
		if i < 0 && len(rest) >= maxLine {
			i, skip = maxLine, 0
		}
		if i < 0 {
			break
		}
		s.line(stream, strings.TrimSuffix(string(rest[:i]), "\r"))
		rest = rest[i+skip:]
	}
	s.rest[stream] = append([]byte(nil), rest...)
}

// partial returns the line of a stream that has no end yet.
func (s *splitter) partial(stream Stream) string { return string(s.rest[stream]) }

// flush makes lines of what has no end.
func (s *splitter) flush() {
	for _, stream := range []Stream{Stdout, Stderr} {
		if rest := s.rest[stream]; len(rest) > 0 {
			s.rest[stream] = nil
			s.line(stream, string(rest))
		}
	}
}

// lastLines returns the last n lines of text.
func lastLines(text []byte, n int) string {
	text = bytes.TrimRight(text, "\n")
	from := len(text)
	for ; n > 0 && from >= 0; n-- {
		from = bytes.LastIndexByte(text[:max(from, 0)], '\n')
	}
	return string(text[from+1:])
}
