package main

import (
	"strings"
	"unicode"
)

// printable makes one line of foreign text and takes out what could drive a terminal: control characters, and the
// invisible ones of Unicode that change the order of what is read.
func printable(s string) string {
	fields := strings.FieldsFunc(strings.ToValidUTF8(s, "?"), unicode.IsSpace)
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.Join(fields, " "))
}
