package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bivouac-run/bivouac/sandbox"
)

// TestScripts runs testdata/script, which is also the documentation of how the command behaves.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         onDisk(t),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("BIVOUAC_HOME", filepath.Join(env.WorkDir, "store"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("USER", os.Getenv("USER"))
			env.Setenv("GOCACHE", goCache())
			env.Defer(func() { removeDetached(env) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"image": imageCommand, "exits": exitsCommand, "waitfor": waitForCommand,
		},
	})
}

// removeDetached removes the containers that a script left which has failed. Scripts have their sockets in $WORK/runtime.
func removeDetached(env *testscript.Env) {
	sockets, _ := filepath.Glob(filepath.Join(env.WorkDir, "runtime", "bivouac", "*"+sandbox.SocketSuffix))
	for _, socket := range sockets {
		cmd := exec.Command("bivouac", "rm", "-f", strings.TrimSuffix(filepath.Base(socket), sandbox.SocketSuffix))
		cmd.Env = append(env.Vars, "XDG_RUNTIME_DIR="+filepath.Join(env.WorkDir, "runtime"))
		_ = cmd.Run() // the script has failed already
	}
}

// goCache is where the go command of scripts finds what was built before.
func goCache() string {
	if dir := os.Getenv("GOCACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "go-build")
}

// exitsCommand is `exits CODE PROGRAM [ARG...]`: the program must end with the code.
func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	script := `"$@" >"$WORK/.stdout" 2>"$WORK/.stderr"; echo $? >"$WORK/.code"`
	ts.Check(ts.Exec("sh", append([]string{"-c", script, "sh"}, args[1:]...)...))
	for stream, w := range map[string]io.Writer{".stdout": ts.Stdout(), ".stderr": ts.Stderr()} {
		_, err := io.WriteString(w, ts.ReadFile(ts.MkAbs(filepath.Join(ts.Getenv("WORK"), stream))))
		ts.Check(err)
	}
	if got := ts.ReadFile(filepath.Join(ts.Getenv("WORK"), ".code")); got != args[0]+"\n" {
		ts.Fatalf("exit code %s instead of %d:\n%s", got, want, ts.ReadFile(filepath.Join(ts.Getenv("WORK"), ".stderr")))
	}
}

// waitForCommand is `waitfor COUNT PROGRAM [ARG...]`: run the program until it prints that many lines.
func waitForCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitfor COUNT PROGRAM [ARG...]")
	}
	script := `n=$1; shift; for i in $(seq 2400); do test "$("$@" | wc -l)" = "$n" && exit; sleep 0.05; done; exit 1`
	ts.Check(ts.Exec("sh", append([]string{"-c", script, "sh"}, args...)...))
}

// imageCommand is `image DIR`: make DIR an OCI image layout with the image "tiny", which has one file.
func imageCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: image DIR")
	}
	l := layout{dir: ts.MkAbs(args[0])}
	layer := l.tar("etc/motd", "hello\n")
	layerBlob := l.blob("application/vnd.oci.image.layer.v1.tar", layer)
	config := l.blob("application/vnd.oci.image.config.v1+json", object{
		"created": "2020-02-02T02:02:02Z", "os": "linux", "architecture": runtime.GOARCH,
		"config": object{"Env": []string{"PATH=/bin", "A=1"}, "Labels": object{"maintainer": "\x1b[31mred"}},
		"rootfs": object{"type": "layers", "diff_ids": []any{layerBlob["digest"]}},
	})
	manifest := l.blob("application/vnd.oci.image.manifest.v1+json", object{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{layerBlob},
	})
	manifest["annotations"] = object{"org.opencontainers.image.ref.name": "tiny"}
	l.write("index.json", object{"schemaVersion": 2, "manifests": []any{manifest}})
	l.write("oci-layout", object{"imageLayoutVersion": "1.0.0"})
	ts.Check(l.err)
}

type object = map[string]any

// layout writes an OCI image layout and keeps the first error.
type layout struct {
	dir string
	err error
}

func (l *layout) keep(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *layout) tar(name, content string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	l.keep(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
	_, err := io.WriteString(w, content)
	l.keep(err)
	l.keep(w.Close())
	return out.Bytes()
}

// write writes bytes as they are and all else as JSON.
func (l *layout) write(name string, v any) []byte {
	content, ok := v.([]byte)
	if !ok {
		var err error
		content, err = json.Marshal(v)
		l.keep(err)
	}
	path := filepath.Join(l.dir, name)
	l.keep(os.MkdirAll(filepath.Dir(path), 0o755))
	l.keep(os.WriteFile(path, content, 0o644))
	return content
}

// blob writes v below its digest and returns its descriptor.
func (l *layout) blob(mediaType string, v any) object {
	content, ok := v.([]byte)
	if !ok {
		var err error
		content, err = json.Marshal(v)
		l.keep(err)
	}
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:])
	l.write("blobs/sha256/"+name, content)
	return object{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(content)}
}

// onDisk makes a directory that host: shows, which it does not where /tmp is a memory file system.
func onDisk(t *testing.T) string {
	dir, err := os.MkdirTemp("/var/tmp", "bivouac-script-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
