package main

import (
	"strings"
	"testing"
	"unicode"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":                  "plain text",
		"two\nlines\r\nand\ta tab":    "two lines and a tab",
		"\x1b[2J\x1b]0;title\x07gone": "[2J]0;titlegone",
		"c1 \u009b31m":                "c1 31m",
		"right\u202eto left":          "rightto left",
		"bad \xff\xfe utf-8":          "bad ? utf-8",
		"Grüße, 世界":                   "Grüße, 世界",
		"":                            "",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x00b\x1b[0m\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		if i := strings.IndexFunc(printable(s), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("printable(%q) = %q", s, printable(s))
		}
	})
}

func TestPathLine(t *testing.T) {
	for path, want := range map[string]string{
		"/a  b\"é": "/a  b\"é", "/a\nb": `"/a\nb"`, "/\x1b[31m": `"/\x1b[31m"`, "/\xff": `"/\xff"`, "/\u202e": `"/\u202e"`,
	} {
		if got := pathLine(path); got != want {
			t.Errorf("%q is shown as %s, not %s", path, got, want)
		}
	}
}
