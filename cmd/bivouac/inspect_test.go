package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

var inspection = rootfs.Inspection{
	ID: digest.FromString("a"), RepoTags: []string{"alpine:3.20"}, RepoDigests: []string{}, Architecture: "amd64", Os: "linux",
	Size: 36_280_000, History: []ocispec.History{{Comment: "old"}, {Comment: "made by hand"}},
	Config: json.RawMessage(`{"Env":["A=1","B=<2>"],"Labels":{"x":"y"},"Healthcheck":{"Test":["CMD","true"]}}`),
	RootFS: rootfs.RootFS{Type: "layers", Layers: []digest.Digest{digest.FromString("l")}},
}

func TestInspectTemplates(t *testing.T) {
	for format, want := range map[string]string{
		"{{.Os}}/{{.Architecture}} {{.Size}}":             "linux/amd64 36280000",
		`{{join .Config.Env ","}}`:                        "A=1,B=<2>",
		"{{json .Config.Labels}}":                         `{"x":"y"}`,
		"{{index .Config.Labels \"x\"}}":                  "y",
		"{{.Config.Entrypoint}} {{.Config.User}}|":        "[] |",
		"{{range .Config.Cmd}}x{{end}}{{.Variant}}":       "",
		"{{index .RepoTags 0}} {{len .RepoDigests}}":      "alpine:3.20 0",
		"{{index .Config.Healthcheck.Test 0}}":            "CMD",
		"{{.Comment}}{{.Parent}}{{eq .ID .Id}}":           "made by handtrue",
		"{{range .RootFS.Layers}}{{truncate . 9}}{{end}}": "sha256:ac",
	} {
		f := inspectFlags{format: format}
		var out strings.Builder
		if err := f.write(&out, []any{inspection}); err != nil || out.String() != want+"\n" {
			t.Errorf("%s: got %q, %v, want %q", format, out.String(), err, want)
		}
	}
}

func TestInspectJSON(t *testing.T) {
	for format, start := range map[string]string{"": "[\n    {\n        \"Id\": \"sha256:ca97", "json": `[{"Id":"sha256:ca97`} {
		f := inspectFlags{format: format}
		var out strings.Builder
		if err := f.write(&out, []any{inspection, inspection}); err != nil {
			t.Fatal(err)
		}
		var back []rootfs.Inspection
		if err := json.Unmarshal([]byte(out.String()), &back); err != nil || len(back) != 2 {
			t.Errorf("%q: %v, %d images", format, err, len(back))
		}
		if !strings.HasPrefix(out.String(), start) || !strings.Contains(out.String(), "B=<2>") {
			t.Errorf("%q: got %s", format, out.String())
		}
	}
}

func TestInspectUnknownField(t *testing.T) {
	f := inspectFlags{format: "{{.Ids}}"}
	err := f.write(&strings.Builder{}, []any{inspection})
	if exitCodeOf(err) != exitUsage || !strings.Contains(err.Error(), ".Id, .MediaType") {
		t.Errorf("got %v", err)
	}
}

func TestInspectBrokenConfig(t *testing.T) {
	one := inspection
	one.Config = json.RawMessage("null")
	f := inspectFlags{format: "{{.Config.Env}}"}
	var out strings.Builder
	if err := f.write(&out, []any{one}); err != nil || out.String() != "[]\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// What scripts ask of any container is there, also where it is always empty here.
func TestInspectContainerTemplates(t *testing.T) {
	info := sandbox.Info{ID: "0123456789abcdef", Name: "web", Image: sandbox.ImageInfo{Name: "docker.io/library/alpine:latest"}}
	one := describeContainer(&sandbox.Record{Spec: sandbox.Spec{Image: "alpine", Network: sandbox.NetworkHost}, Status: sandbox.Status{Info: info}})
	for format, want := range map[string]string{
		"{{.Id}} {{.ID}} {{.Name}} {{.Config.Image}}":                              "0123456789abcdef 0123456789abcdef /web alpine",
		"{{range .NetworkSettings.Networks}}<{{.IPAddress}}>{{end}}":               "<>",
		"{{range $n, $e := .NetworkSettings.Networks}}{{$n}}{{$e.Gateway}}{{end}}": "host",
		"{{.NetworkSettings.IPAddress}}{{.NetworkSettings.MacAddress}}|":           "|",
		"{{.HostConfig.IpcMode}}{{.HostConfig.PidMode}} {{.HostConfig.CpuShares}}": "private 0",
		"{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}":          "none",
	} {
		f := inspectFlags{format: format}
		var out strings.Builder
		if err := f.write(&out, []any{one}); err != nil || out.String() != want+"\n" {
			t.Errorf("%s: got %q, %v, want %q", format, out.String(), err, want)
		}
	}
}
