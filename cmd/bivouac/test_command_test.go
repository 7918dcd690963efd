package main

import (
	"strings"
	"testing"
)

func TestGoTestArgs(t *testing.T) {
	for line, want := range map[string]int{
		"go test":                         2,
		"go test ./...":                   2,
		"/usr/local/go/bin/go test -v":    2,
		"go1.25.3 test":                   2,
		"go1.26rc1 test":                  2,
		"gotip test":                      2,
		"go -C dir test ./...":            4,
		"go -C=dir test ./...":            3,
		"go test -C dir -v":               4,
		"go test -C=dir -v":               3,
		"go vet test":                     -1,
		"go":                              -1,
		"go -C":                           -1,
		"gofmt test":                      -1,
		"gotestsum test":                  -1,
		"./pkg.test -test.v":              -1,
		"go tool test":                    -1,
		"go run ./cmd/go test":            -1,
		"sh -c go\u00a0test":              -1,
		"/opt/go-1.26/bin/go test -run=X": 2,
	} {
		if got := goTestArgs(strings.Fields(strings.ReplaceAll(line, "\u00a0", "_"))); got != want {
			t.Errorf("%s: got %d, want %d", line, got, want)
		}
	}
}

func TestCheckGoTest(t *testing.T) {
	for _, tt := range []struct {
		args, goflags string
		refused       bool
	}{
		{"./... -v", "", false},
		{"-exec=env ./...", "", true},
		{"-exec env ./...", "", true},
		{"--exec=env", "", true},
		{"-v", "-mod=mod -exec=env", true},
		{"./... -args -exec=mine", "", false},
		{"-execute", "", false},
	} {
		if err := checkGoTest(strings.Fields(tt.args), tt.goflags); (err != nil) != tt.refused {
			t.Errorf("%s with %q: %v", tt.args, tt.goflags, err)
		}
	}
}

func TestQuoteExec(t *testing.T) {
	for path, want := range map[string]string{"/a b/bivouac": "'/a b/bivouac'", "/it's/bivouac": `"/it's/bivouac"`, `/it's "here"`: ""} {
		if got, err := quoteExec(path); got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}
