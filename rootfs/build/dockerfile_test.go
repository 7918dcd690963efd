package build

import (
	"errors"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

func TestSyntaxErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "Dockerfile: the Dockerfile is empty",
		"# only a comment\n":       "Dockerfile:1: file with no instructions",
		"RUN x\n":                  "Dockerfile:1: no build stage in current context",
		"FROM a\n\nFOO x\n":        "Dockerfile:3: dockerfile parse error on line 3: unknown instruction: FOO",
		"FROM a\nCOYP x y\n":       "Dockerfile:2: dockerfile parse error on line 2: unknown instruction: COYP (did you mean COPY?)",
		"FROM\n":                   "Dockerfile:1: dockerfile parse error on line 1: FROM requires either one or three arguments",
		"FROM a b c\n":             "Dockerfile:1: dockerfile parse error on line 1: FROM requires either one or three arguments",
		"FROM a AS 1x\n":           "Dockerfile:1: dockerfile parse error on line 1: invalid name for build stage",
		"FROM a\nCOPY x\n":         "Dockerfile:2: dockerfile parse error on line 2: COPY requires at least two arguments",
		"FROM a\nRUN <<EOF\nx\n":   "Dockerfile:2: unterminated heredoc",
		"FROM a\nONBUILD FROM b\n": "Dockerfile:2: dockerfile parse error on line 2: FROM isn't allowed as an ONBUILD trigger",
		"FROM a\nHEALTHCHECK x\n":  "Dockerfile:2: dockerfile parse error on line 2: Unknown type",
		"# escape=x\nFROM a\n":     "Dockerfile",
		"# check=nope\nFROM a\n":   "Dockerfile",
		"# check=error=true\nfrom a as b\nRUN \\\n\n x": "Dockerfile: the directive check makes this an error",
		"FROM a\nENV \x1b]0;x\x07\n":                    "Dockerfile:2: ENV must have two arguments",
	} {
		_, err := parseDockerfile("Dockerfile", []byte(text))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.HasPrefix(err.Error(), want) || strings.ContainsAny(err.Error()+syntax.Excerpt, "\x1b\x07") {
			t.Errorf("%q\n%v\nwant: %s", text, err, want)
			continue
		}
		if syntax.Line > 0 && !strings.Contains(syntax.Excerpt, ">>>") {
			t.Errorf("%q: excerpt %q", text, syntax.Excerpt)
		}
	}
}

func TestExcerpt(t *testing.T) {
	_, err := parseDockerfile("D", []byte("FROM a\n# two\n# three\n\nFOO \\\n x \\\n y\n# eight\n# nine\n# ten"))
	var syntax *SyntaxError
	want := "   3 |     # three\n   4 |     \n   5 | >>> FOO \\\n   6 | >>>  x \\\n   7 | >>>  y\n   8 |     # eight\n   9 |     # nine\n"
	if !errors.As(err, &syntax) || syntax.Excerpt != want || syntax.Line != 5 {
		t.Errorf("%v\n%s", err, syntax.Excerpt)
	}
}

func TestNotes(t *testing.T) {
	for text, want := range map[string]string{
		"# syntax=docker/dockerfile:1.7-labs\nFROM a":                   "",
		"#syntax=docker.io/docker/dockerfile-upstream@sha256:1\nFROM a": "",
		"# syntax=evil/frontend\nFROM a":                                "syntax=evil/frontend is ignored",
		"FROM a as b":                                                   "FromAsCasing",
		"# check=skip=FromAsCasing\nFROM a as b":                        "",
		"# check=skip=all\nFROM a as b":                                 "",
		"FROM a AS B":                                                   "StageNameCasing",
		"FROM a\nRUN x \\\n\n y":                                        "Empty continuation line",
	} {
		d, err := parseDockerfile("Dockerfile", []byte(text))
		if err != nil {
			t.Fatal(text, err)
		}
		if got := strings.Join(d.notes, "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestIgnore(t *testing.T) {
	for _, c := range []struct{ patterns, hidden, shown string }{
		{"a", "a a/b", "b b/a"},
		{"/a", "a a/b", "b/a"},
		{"**/a", "a b/a b/c/a/d", "ab"},
		{"*.txt", "a.txt", "d/a.txt"},
		{"*\n!a\n", "b b/a", "a a/b"},
		{"d/*\n!d/k", "d/x", "d d/k"},
		{"# comment\n\n  a  \n", "a", "#"},
		{"a/../b", "b", "a"},
	} {
		m, err := parseIgnore([]byte(c.patterns))
		if err != nil {
			t.Fatal(err)
		}
		f := &folder{ignore: m}
		for name := range strings.FieldsSeq(c.hidden) {
			if !f.hides(name) {
				t.Errorf("%q does not hide %s", c.patterns, name)
			}
		}
		for name := range strings.FieldsSeq(c.shown) {
			if f.hides(name) {
				t.Errorf("%q hides %s", c.patterns, name)
			}
		}
	}
	if _, err := parseIgnore([]byte("[")); err == nil {
		t.Error("[ is a pattern")
	}
}

func FuzzDockerfile(f *testing.F) {
	for _, seed := range []string{"FROM a\nRUN --mount=type=cache,target=/x,sharing=locked y <<EOF\nz\nEOF\n", "# escape=`\nARG A=${B:-c}\nFROM $A AS x\nCOPY --from=0 <<x /\nx\n",
		"FROM a\nADD --checksum=x --chown=1:2 --chmod=u+x a b\nHEALTHCHECK --interval=1s CMD x\nENV a=${b#*c} d=${e/f/g}\nONBUILD RUN x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parseDockerfile("Dockerfile", text)
		var syntax *SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		b := &builder{file: d, spec: Spec{Args: map[string]string{"A": "b"}}, report: &reporter{}, context: &folder{}}
		b.definition = b.report.plan("definition")
		if err := b.check(); err != nil {
			t.Fatal(err)
		}
		if b.global, err = d.globalArgs(platformArgs(b.platform, b.platform, ""), b.spec.Args); err != nil {
			return
		}
		if b.readStages() != nil {
			return
		}
		target, err := b.target()
		if err != nil || b.need(target) != nil {
			return
		}
		b.number()
		for _, s := range b.stages {
			st := scratch("linux/amd64")
			for _, c := range s.commands {
				if b.expand(st, c) != nil {
					break
				}
				if c.step == nil && s.needed {
					_ = b.configure(st, c.Command)
				}
			}
		}
	})
}

func FuzzIgnore(f *testing.F) {
	f.Add([]byte("a/**/b\n!c"), "a/b/c")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		if m, err := parseIgnore(text); err == nil {
			(&folder{ignore: m}).hides(cleanIn(name))
		}
	})
}

func FuzzHash(f *testing.F) {
	f.Add("1 2 3 4 5 " + strings.Repeat("ab", 32))
	f.Fuzz(func(t *testing.T, line string) {
		if _, _, ok := parseHash(line); ok && strings.Count(line, " ") != 5 {
			t.Errorf("%q", line)
		}
		_ = handle.ParseOwner([]byte(line))
	})
}
