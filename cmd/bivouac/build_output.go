package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildOutcome is where the files of a build go besides the store.
type buildOutcome struct {
	dir    string // temporary, of what goes to the standard output
	stdout string // the file to copy there
}

func (o *buildOutcome) remove() {
	if o.dir != "" {
		_ = os.RemoveAll(o.dir) // a temporary directory of ours, which the system sweeps too
	}
}

// deliver copies to the standard output what was asked for there.
func (o *buildOutcome) deliver(out io.Writer) error {
	if o.stdout == "" {
		return nil
	}
	file, err := os.Open(o.stdout)
	if err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	defer file.Close()
	if _, err := io.Copy(out, file); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// openOutput reads --output, and makes place for what goes to the standard output.
func (f *buildFlags) openOutput(spec *sandbox.BuildSpec) (*buildOutcome, error) {
	o := &buildOutcome{}
	if f.output == "" {
		return o, nil
	}
	kind, dest, err := parseOutput(f.output)
	if err != nil || kind == "" {
		return o, err
	}
	if dest == "-" {
		if isTerminal(os.Stdout) {
			return o, usageErrorf("--output %s: an archive would confuse the terminal; redirect it to a file", f.output)
		}
		if o.dir, err = os.MkdirTemp("", "bivouac-build-"); err != nil {
			return o, err
		}
		o.stdout = filepath.Join(o.dir, "output")
		dest = o.stdout
	}
	if dest, err = filepath.Abs(dest); err != nil {
		return o, err
	}
	spec.Output = "type=" + kind + ",dest=" + dest
	return o, nil
}

// parseOutput reads what Docker does: a directory, - for an archive of it, or type=KIND,dest=PATH. An empty kind is the store.
func parseOutput(text string) (kind, dest string, err error) {
	if text == "-" {
		return "tar", "-", nil
	}
	if !strings.Contains(text, "=") {
		return "local", text, nil
	}
	fields, err := parseFields("--output", text, "type", "dest", "tar")
	if err != nil {
		return "", "", err
	}
	kind, dest = fields["type"], fields["dest"]
	switch kind {
	case "local", "tar", "oci", "docker":
	case "image", "cacheonly", "registry":
		return "", "", usageErrorf("--output type=%s: the image always goes into the store; leave --output out, and use bivouac push for a registry", kind)
	default:
		return "", "", usageErrorf("--output type=%s: not a known type; use local, tar, oci or docker", kind)
	}
	switch {
	case kind == "local" && fields["tar"] != "", fields["tar"] == "false":
		return "", "", usageErrorf("--output %s: a layout is written as one archive; leave tar out", text)
	case kind == "docker" && dest == "":
		return "", "", nil // docker load: into the store
	case dest == "" && kind == "local", dest == "-" && kind == "local":
		return "", "", usageErrorf("--output %s: needs dest=DIRECTORY; use type=tar for an archive", text)
	case dest == "":
		dest = "-"
	}
	return kind, dest, nil
}

// writeMetadata writes buildx's file of what was built.
func (f *buildFlags) writeMetadata(info sandbox.ImageInfo) error {
	if f.metadataFile == "" {
		return nil
	}
	metadata := map[string]string{}
	for key, value := range map[string]string{
		"containerimage.config.digest": info.ID, "containerimage.digest": info.Digest, "image.name": strings.Join(f.tags, ","),
	} {
		if value != "" {
			metadata[key] = value
		}
	}
	text, err := json.MarshalIndent(metadata, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.metadataFile, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the build's metadata: %w", err)
	}
	return nil
}
