package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/userns"
)

var checks = []userns.Check{
	{Name: "namespaces", Answer: userns.Yes, Detail: "entered one", Means: "containers are made of them", Required: true},
	{Name: "tun", Answer: userns.No, Detail: "open /dev/net/tun: permission\ndenied", Means: "containers reach the network, which takes more than one line to say, through it", Remedy: "sudo chmod a+rw /dev/net/tun # a remedy is never broken, however long"},
	{Name: "criu", Answer: userns.Unknown, Detail: "it hangs"},
}

func TestDoctorOutput(t *testing.T) {
	const want = `yes      namespaces (required)
         containers are made of them
         found: entered one

no       tun
         containers reach the network, which takes more than one line to say, through it
         found: open /dev/net/tun: permission denied
         mend:  sudo chmod a+rw /dev/net/tun # a remedy is never broken, however long

unknown  criu
         found: it hangs

bivouac run will work here.
`
	var out strings.Builder
	if err := writeChecks(&out, "", checks); err != nil || out.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out.String(), want)
	}
}

func TestDoctorLines(t *testing.T) {
	var out strings.Builder
	if err := writeChecks(&out, "{{.Answer}} {{.Name}} {{.Required}}", checks); err != nil {
		t.Fatal(err)
	}
	if want := "yes namespaces true\nno tun false\nunknown criu false\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	out.Reset()
	if err := writeChecks(&out, "json", checks[2:]); err != nil {
		t.Fatal(err)
	}
	if want := `{"name":"criu","answer":"unknown","detail":"it hangs","means":"","required":false}` + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestDiagnosis(t *testing.T) {
	if err := diagnosis(checks); err != nil {
		t.Errorf("all that is required is there, but: %v", err)
	}
	missing := append([]userns.Check{{Name: "overlay", Required: true}, {Name: "store", Answer: userns.No, Required: true}}, checks...)
	err := diagnosis(missing)
	var stderr strings.Builder
	if conclude(&stderr, "doctor", err) != 10 || !strings.Contains(stderr.String(), "without overlay, store;") {
		t.Errorf("got %q", stderr.String())
	}
}

func TestWriteWrapped(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"one two three", 100, "one two three"},
		{"one two three", 16, "one two|three"},
		{"one two three", 17, "one two|three"},
		{"one two three", 1, "one|two|three"},
		{"  ", 20, ""},
	} {
		var out bytes.Buffer
		writeWrapped(&out, test.text, test.width)
		want := margin + strings.ReplaceAll(test.want, "|", "\n"+margin)
		if got := strings.TrimSuffix(out.String(), "\n"); got != strings.TrimRight(want, " ") {
			t.Errorf("%q in %d: got %q, want %q", test.text, test.width, got, want)
		}
	}
}

func TestColours(t *testing.T) {
	if got := coloured(userns.No, true); got != "\x1b[31mno\x1b[0m" {
		t.Errorf("got %q", got)
	}
	if got := coloured(userns.No, false); got != "no" {
		t.Errorf("got %q", got)
	}
}

func TestCheckStore(t *testing.T) {
	dir := t.TempDir()
	file, closed := filepath.Join(dir, "file"), filepath.Join(dir, "closed")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		dir    string
		answer userns.Answer
		detail string
	}{
		{dir, userns.Yes, dir + " can be written to, "},
		{filepath.Join(dir, "not/there/yet"), userns.Yes, "are free"},
		{file, userns.No, "it is not a directory"},
		{filepath.Join(file, "below"), userns.No, "not a directory"},
		{closed, userns.No, "permission denied"},
		{filepath.Join(closed, "below"), userns.No, "permission denied"},
	} {
		c := checkStore(test.dir)
		if c.Answer != test.answer || !strings.Contains(c.Detail, test.detail) || (c.Remedy == "") != (c.Answer == userns.Yes) {
			t.Errorf("%s: got %+v", test.dir, c)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}
