package build

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// maxDockerfile bounds what is read of a Dockerfile or an ignore file, in bytes.
const maxDockerfile = 4 << 20

// dockerfile is a Dockerfile that has been read.
type dockerfile struct {
	name   string
	text   []byte
	escape rune
	stages []instructions.Stage
	args   []instructions.ArgCommand // those before the first FROM
	notes  []string
	strict bool // the directive check wants findings of the linter to be errors
}

// parseDockerfile reads a Dockerfile. Name is for messages.
//
// Errors: [*SyntaxError].
func parseDockerfile(name string, text []byte) (*dockerfile, error) {
	d := &dockerfile{name: name, text: text}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, d.wrong(errors.New("the Dockerfile is empty"), nil)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, d.wrong(err, nil)
	}
	lint, err := d.linter()
	if err != nil {
		return nil, err
	}
	for _, w := range parsed.Warnings {
		d.note(w.Short, []parser.Range{*w.Location})
	}
	d.escape = parsed.EscapeToken
	if d.stages, d.args, err = instructions.Parse(parsed.AST, lint); err != nil {
		return nil, d.wrong(err, nil)
	}
	if d.strict && len(d.notes) > 0 {
		return nil, d.wrong(errors.New("the directive check makes this an error: "+d.notes[0]), nil)
	}
	if len(d.stages) == 0 {
		return nil, d.wrong(errors.New("it has no FROM: there is nothing to build"), nil)
	}
	d.noteSyntax()
	return d, nil
}

// linter collects what BuildKit's linter says while the instructions are read, as far as the directive check lets it.
func (d *dockerfile) linter() (*linter.Linter, error) {
	config := &linter.Config{}
	if text, _, at, ok := parser.ParseDirective("check", d.text); ok {
		parsed, err := linter.ParseLintOptions(text)
		if err != nil {
			return nil, d.wrong(fmt.Errorf("read directive check: %w", err), at)
		}
		config, d.strict = parsed, parsed.ReturnAsError
	}
	config.Warn = func(rule, _, _, message string, at []parser.Range) { d.note(rule+": "+message, at) }
	return linter.New(config), nil
}

func (d *dockerfile) note(text string, at []parser.Range) {
	if first, _ := lines(at); first > 0 {
		text = fmt.Sprintf("%s (line %d)", text, first)
	}
	d.notes = append(d.notes, printable(text))
}

// noteSyntax tells of a frontend that was asked for. Docker's own is what this package is.
func (d *dockerfile) noteSyntax() {
	if ref, _, at, ok := parser.DetectSyntax(d.text); ok && !isDockerSyntax(ref) {
		d.note("the directive syntax="+ref+" is ignored: the file is read as docker/dockerfile would", at)
	}
}

func isDockerSyntax(ref string) bool {
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "index.docker.io/")
	name, _, _ := strings.Cut(ref, ":")
	name, _, _ = strings.Cut(name, "@")
	return slices.Contains([]string{"docker/dockerfile", "docker/dockerfile-upstream"}, name)
}

// wrong makes a SyntaxError of err: at the place that it names itself, or else at.
func (d *dockerfile) wrong(err error, at []parser.Range) *SyntaxError {
	var known *SyntaxError
	if errors.As(err, &known) {
		return known
	}
	var placed *parser.LocationError
	if errors.As(err, &placed) && len(placed.Locations) > 0 {
		at = placed.Locations[0]
	}
	first, _ := lines(at)
	return &SyntaxError{File: d.name, Line: first, Err: oneLine(err), Excerpt: d.excerpt(at)}
}

// failed makes a StepError of err.
func (d *dockerfile) failed(err error, name string, at []parser.Range) error {
	var known *StepError
	if errors.As(err, &known) {
		return err
	}
	first, _ := lines(at)
	return &StepError{Name: name, File: d.name, Line: first, Err: err, Excerpt: d.excerpt(at)}
}

// lines are the first and last line of a place, 0 if it is none.
func lines(at []parser.Range) (first, last int) {
	for i, r := range at {
		if i == 0 || r.Start.Line < first {
			first = r.Start.Line
		}
		last = max(last, r.End.Line)
	}
	return first, last
}

// around is how many lines an excerpt shows before and after those that it is about, longest how many of these.
const (
	around  = 2
	longest = 12
)

func (d *dockerfile) excerpt(at []parser.Range) string {
	first, last := lines(at)
	all := strings.Split(strings.TrimRight(string(d.text), "\n"), "\n")
	if first < 1 || first > len(all) {
		return ""
	}
	last = min(max(last, first), first+longest-1)
	var b strings.Builder
	for n := max(1, first-around); n <= min(len(all), last+around); n++ {
		mark := "    "
		if n >= first && n <= last {
			mark = ">>> "
		}
		fmt.Fprintf(&b, "%4d | %s%s\n", n, mark, printable(all[n-1]))
	}
	return b.String()
}

// printable is a line without control characters, which a terminal would obey.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) {
			return r
		}
		return -1
	}, line)
}

// oneLine keeps the message of an error that may quote a hostile file.
func oneLine(err error) error {
	text := err.Error()
	if clean := printable(strings.ReplaceAll(text, "\n", " ")); clean != text {
		return errors.New(clean)
	}
	return err
}
