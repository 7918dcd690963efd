package main

import (
	"errors"
	"strings"
	"testing"
)

type fruit struct {
	Name, Colour string
	Kinds        []string
}

var (
	fruitHeader = fruit{Name: "NAME", Colour: "COLOUR", Kinds: []string{"KINDS"}}
	fruits      = []fruit{{"apple", "red & green", []string{"Boskoop", "Elstar"}}, {"banana", "", nil}}
)

func TestWriteRows(t *testing.T) {
	for _, test := range []struct{ name, format, want string }{
		{"json", "json", `{"Name":"apple","Colour":"red & green","Kinds":["Boskoop","Elstar"]}` + "\n" +
			`{"Name":"banana","Colour":"","Kinds":null}` + "\n"},
		{"field", "{{.Name}}", "apple\nbanana\n"},
		{"escapes", `{{.Name}}\t{{.Colour}}\n`, "apple\tred & green\n\nbanana\t\n\n"},
		{"json function", "{{json .Kinds}}", "[\"Boskoop\",\"Elstar\"]\nnull\n"},
		{"upper, lower, title", "{{upper .Name}} {{lower .Colour}} {{title .Name}}", "APPLE red & green Apple\nBANANA  Banana\n"},
		{"join", `{{join .Kinds ", "}}`, "Boskoop, Elstar\n\n"},
		{"split", `{{index (split .Name "a") 0}}`, "\nb\n"},
		{"pad", "{{pad .Name 1 2}}|{{pad .Colour 1 1}}|", " apple  | red & green |\n banana  ||\n"},
		{"truncate", "{{truncate .Name 3}}{{truncate .Colour 99}}", "appred & green\nban\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			if err := writeRows(&out, test.format, fruits, fruitHeader); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.want {
				t.Errorf("got %q, want %q", out.String(), test.want)
			}
		})
	}
}

func TestWriteTable(t *testing.T) {
	var out strings.Builder
	err := writeTable(&out, `{{truncate .Name 2}}\t{{upper .Colour}}\t{{join .Kinds "+"}}`, fruits, fruitHeader)
	if err != nil {
		t.Fatal(err)
	}
	const want = "" +
		"NAME      COLOUR        KINDS\n" +
		"ap        RED & GREEN   Boskoop+Elstar\n" +
		"ba\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestBadFormats(t *testing.T) {
	for format, want := range map[string]string{
		"{{":             "read --format: ",
		"{{.Nmae}}":      "can't evaluate field Nmae; there are .Name, .Colour, .Kinds",
		"{{nope .Name}}": `function "nope" not defined`,
		"{{join .Name}}": "wrong number of args for join",
	} {
		for name, write := range map[string]func(*strings.Builder) error{
			"rows":  func(out *strings.Builder) error { return writeRows(out, format, nil, fruitHeader) },
			"table": func(out *strings.Builder) error { return writeTable(out, format, nil, fruitHeader) },
		} {
			var out strings.Builder
			err := write(&out)
			usage := (*usageError)(nil)
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || out.Len() > 0 {
				t.Errorf("%s %q: got %v and %q, want %q", name, format, err, out.String(), want)
			}
		}
	}
}
