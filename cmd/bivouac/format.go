package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"
	"unicode"
	"unicode/utf8"
)

// listingUsage and formatUsage explain --format of lists and of other output.
const listingUsage = "print with `FORMAT`: table, json, a Go template or table TEMPLATE"

const formatUsage = "print with `FORMAT`: json, or a Go template as in '{{.%s}}'"

// templateFuncs are those that Docker's templates have.
func templateFuncs() template.FuncMap {
	return template.FuncMap{
		"json":     compactJSON,
		"split":    strings.Split,
		"join":     join,
		"title":    title,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"truncate": truncate,
		"pad":      pad,
	}
}

func compactJSON(v any) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return strings.TrimSuffix(text.String(), "\n"), err
}

// join takes any list: what comes from JSON is not a list of strings for Go.
func join(list any, separator string) (string, error) {
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		return "", fmt.Errorf("join: %T is not a list", list)
	}
	texts := make([]string, v.Len())
	for i := range texts {
		texts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(texts, separator), nil
}

func title(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToTitle(first)) + s[size:]
}

func truncate(s string, length int) string {
	runes := []rune(s)
	return string(runes[:max(0, min(length, len(runes)))])
}

// pad puts blanks before and after a text that is not empty.
func pad(s string, before, after int) string {
	if s == "" {
		return ""
	}
	return strings.Repeat(" ", max(0, before)) + s + strings.Repeat(" ", max(0, after))
}

// headerFuncs are templateFuncs for a table's first line: column names stay as they are.
func headerFuncs() template.FuncMap {
	same := func(name any, _ ...any) any { return name }
	funcs := template.FuncMap{}
	for name := range templateFuncs() {
		funcs[name] = same
	}
	funcs["split"] = func(name string, _ string) []string { return []string{name} }
	funcs["join"] = func(names any, _ string) (string, error) { return join(names, "") }
	return funcs
}

// parseTemplate reads a user's template, in which \t and \n stand for themselves as in Docker's.
//
// Errors: usageError.
func parseTemplate(text string) (*template.Template, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("format").Funcs(templateFuncs()).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, usageErrorf("read --format: %s; see https://pkg.go.dev/text/template", strings.TrimPrefix(err.Error(), "template: "))
	}
	return t, nil
}

// writeRows prints each of a list as a line of JSON, or through a template. The example has every field, so that a
// template with a misspelt one is refused also when there is nothing to print.
//
// Errors: usageError.
func writeRows[T any](w io.Writer, format string, rows []T, example T) error {
	if format == "json" {
		return writeJSON(w, rows)
	}
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	if err := t.Execute(io.Discard, example); err != nil {
		return badField(err, example)
	}
	var out bytes.Buffer
	for _, row := range rows {
		if err := t.Execute(&out, row); err != nil {
			return badField(err, row)
		}
		out.WriteByte('\n')
	}
	return show(w, out.Bytes())
}

func writeJSON[T any](w io.Writer, rows []T) error {
	var out bytes.Buffer
	for _, row := range rows {
		line, err := compactJSON(row)
		if err != nil {
			return err
		}
		out.WriteString(line + "\n")
	}
	return show(w, out.Bytes())
}

// writeListing prints rows as the flags of a listing verb say: IDs alone, with a format of the user's, or a table with that
// format's columns after the word table, otherwise with the given ones.
//
// Errors: usageError.
func writeListing[T any](w io.Writer, format string, quiet bool, columns string, rows []T, header T) error {
	asked, isTable := strings.CutPrefix(format, "table")
	switch {
	case format == "" && quiet:
		return writeRows(w, "{{.ID}}", rows, header)
	case format != "" && !isTable:
		return writeRows(w, format, rows, header)
	case strings.TrimSpace(asked) != "":
		columns = strings.TrimSpace(asked)
	}
	return writeTable(w, columns, rows, header)
}

// writeTable prints rows in columns, which a template separates by \t, below the header's line.
//
// Errors: usageError.
func writeTable[T any](w io.Writer, format string, rows []T, header T) error {
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	top, err := t.Clone()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 10, 1, 3, ' ', 0)
	if err := top.Funcs(headerFuncs()).Execute(table, header); err != nil {
		return badField(err, header)
	}
	for _, row := range rows {
		_, _ = io.WriteString(table, "\n") // to memory, as all that follows
		if err := t.Execute(table, row); err != nil {
			return badField(err, row)
		}
	}
	_, _ = io.WriteString(table, "\n")
	return errors.Join(table.Flush(), show(w, trimLines(out.Bytes())))
}

// trimLines takes away the blanks that fill up last columns.
func trimLines(text []byte) []byte {
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		lines[i] = bytes.TrimRight(line, " ")
	}
	return bytes.Join(lines, []byte("\n"))
}

// badField says what a template may use. Of the error's text, it leaves out where text/template was.
func badField(err error, row any) error {
	why := err.Error()
	if _, after, ok := strings.Cut(why, ">: "); ok {
		why = after
	}
	why, _, _ = strings.Cut(why, " in type ")
	return usageErrorf("fill in --format: %s; there are %s", why, strings.Join(fieldsOf(row), ", "))
}

func fieldsOf(row any) []string {
	if object, ok := row.(imageObject); ok {
		return keysOf(object)
	}
	var names []string
	for field := range reflect.TypeOf(row).Fields() {
		if field.IsExported() {
			names = append(names, "."+field.Name)
		}
	}
	return names
}

// show writes output that may hold foreign text. A terminal gets no control characters but the ends of lines.
func show(w io.Writer, text []byte) error {
	if isTerminal(w) {
		text = bytes.Map(func(r rune) rune {
			if r == '\n' || r == '\t' || unicode.IsPrint(r) {
				return r
			}
			return -1
		}, text)
	}
	_, err := w.Write(text)
	return err
}
