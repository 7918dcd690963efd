package metadata

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// apply does the instructions of a text in their order, and returns the notes for the history.
func apply(t *testing.T, e *Editor, text string) (notes []string, err error) {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parsed.AST.Children {
		command, err := instructions.ParseCommand(node)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Expand(command, shell.NewLex('\\'), shell.EnvsFromSlice(e.Config.Env)); err != nil {
			return notes, err
		}
		note, err := e.Apply(command)
		if err != nil {
			return notes, err
		}
		notes = append(notes, note)
	}
	return notes, nil
}

func TestApply(t *testing.T) {
	for _, c := range []struct{ text, config, note string }{
		{"ENV A=1 P=80\nENV A=2", `{"Env":["A=2","P=80"]}`, "ENV A=2"},
		{"ENV A=1\nLABEL a=$A b=c\nLABEL b=d", `{"Env":["A=1"],"Labels":{"a":"1","b":"d"}}`, "LABEL b=d"},
		{"WORKDIR /a/../b\nWORKDIR c", `{"WorkingDir":"/b/c"}`, "WORKDIR /b/c"},
		{"ENV P=\"80 81\"\nEXPOSE $P 8000-8001/udp 127.0.0.1:1:2", `{"ExposedPorts":{"2/tcp":{},"80/tcp":{},"8000/udp":{},"8001/udp":{},"81/tcp":{}},"Env":["P=80 81"]}`,
			"EXPOSE [80/tcp 81/tcp 2/tcp 8000/udp 8001/udp]"},
		{"CMD [\"a\"]\nENTRYPOINT [\"b\"]", `{"Entrypoint":["b"],"Cmd":["a"]}`, `ENTRYPOINT ["b"]`},
		{"SHELL [\"/bin/x\", \"-c\"]\nCMD echo $A", `{"Cmd":["/bin/x","-c","echo $A"],"Shell":["/bin/x","-c"]}`, `CMD ["/bin/x" "-c" "echo $A"]`},
		{"ONBUILD RUN x\nVOLUME /v\nUSER 5:6\nSTOPSIGNAL SIGINT", `{"User":"5:6","Volumes":{"/v":{}},"StopSignal":"SIGINT","OnBuild":["RUN x"]}`, "STOPSIGNAL SIGINT"},
	} {
		e := &Editor{Config: &dockerspec.DockerOCIImageConfig{}}
		notes, err := apply(t, e, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got, err := json.Marshal(e.Config)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.config || notes[len(notes)-1] != c.note {
			t.Errorf("%s\ngot  %s, %q\nwant %s, %q", c.text, got, notes, c.config, c.note)
		}
	}
}

// What another image has as its base is not written to, and its CMD was for another entrypoint.
func TestApplyToACopy(t *testing.T) {
	base := dockerspec.DockerOCIImageConfig{}
	base.Env, base.Cmd, base.Labels = append(make([]string, 0, 8), "A=1"), []string{"base"}, map[string]string{"a": "1"}
	base.ExposedPorts, base.Volumes, base.OnBuild = map[string]struct{}{}, map[string]struct{}{}, make([]string, 0, 8)
	next := base
	if _, err := apply(t, &Editor{Config: &next}, "ENV A=2\nENV B=3\nLABEL a=2\nEXPOSE 1\nVOLUME /v\nONBUILD USER 1\nENTRYPOINT [\"e\"]"); err != nil {
		t.Fatal(err)
	}
	if next.Cmd != nil {
		t.Errorf("the program of another entrypoint stays: %v", next.Cmd)
	}
	if !slices.Equal(base.Env, []string{"A=1"}) || base.Env[:2][1] != "" || base.OnBuild[:1][0] != "" || base.Labels["a"] != "1" || len(base.ExposedPorts)+len(base.Volumes) > 0 {
		t.Errorf("the base was changed: %+v", base)
	}
}

func TestApplyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"RUN x":                 "RUN changes no configuration",
		"STOPSIGNAL SIGNOTHING": "read STOPSIGNAL: ",
		"EXPOSE 99999":          "read EXPOSE: ",
		"EXPOSE ${P:?none}":     "none",
		"VOLUME /v $NONE":       "path is empty",
	} {
		if _, err := apply(t, &Editor{Config: &dockerspec.DockerOCIImageConfig{}}, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestExpandTellsUnknownVariables(t *testing.T) {
	command := &instructions.WorkdirCommand{Path: "/$known/$unknown"}
	unknown, err := Expand(command, shell.NewLex('\\'), shell.EnvsFromSlice([]string{"known=k"}))
	if _, ok := unknown["unknown"]; err != nil || !ok || len(unknown) != 1 || command.Path != "/k/" {
		t.Errorf("%q, %v, %v", command.Path, unknown, err)
	}
}
