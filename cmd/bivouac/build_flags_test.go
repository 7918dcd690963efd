package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

// buildSpecOf translates a command line in an empty directory with some files.
func buildSpecOf(t *testing.T, stdin string, args ...string) (*sandbox.BuildSpec, error) {
	t.Helper()
	f := &buildFlags{}
	cmd := newBuildCommand()
	cmd.ResetFlags()
	f.register(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		return nil, err
	}
	source, err := f.openContext(t.Context(), strings.NewReader(stdin), cmd.Flags().Arg(0))
	if err != nil {
		return nil, err
	}
	t.Cleanup(source.remove)
	spec, err := f.spec(source)
	if err != nil {
		return nil, err
	}
	o, err := f.openOutput(spec)
	t.Cleanup(o.remove)
	return spec, err
}

// contextDir is a context with a Dockerfile, and the working directory.
func contextDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{"Dockerfile": "FROM scratch\n", "sub/Other": "FROM x\n", "token": "hush"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBuildFlags(t *testing.T) {
	dir := contextDir(t)
	t.Setenv("FROM_OUTSIDE", "taken")
	t.Setenv("SOURCE_DATE_EPOCH", "")
	socket, err := net.Listen("unix", "agent")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("SSH_AUTH_SOCK", "agent")
	epoch := int64(1_000_000)
	missing := sandbox.ImageOptions{Pull: sandbox.PullMissing}
	for _, test := range []struct {
		args []string
		want sandbox.BuildSpec
	}{
		{[]string{"."}, sandbox.BuildSpec{Context: dir}},
		{[]string{"-t", "a", "--tag", "b:1", "--target", "x", "--no-cache", "--squash", "."},
			sandbox.BuildSpec{Context: dir, Names: []string{"a", "b:1"}, Target: "x", NoCache: true, Squash: true}},
		{[]string{"-f", "sub/Other", "."}, sandbox.BuildSpec{Context: dir, Dockerfile: "sub/Other"}},
		{[]string{"-f", "Dockerfile", "sub"}, sandbox.BuildSpec{Context: filepath.Join(dir, "sub"), Text: "FROM scratch\n"}},
		{[]string{"--build-arg", "A=b=c", "--build-arg", "FROM_OUTSIDE", "--build-arg", "UNSET", "."},
			sandbox.BuildSpec{Context: dir, Args: map[string]string{"A": "b=c", "FROM_OUTSIDE": "taken"}}},
		{[]string{"--build-arg", "SOURCE_DATE_EPOCH=1000000", "."},
			sandbox.BuildSpec{Context: dir, Args: map[string]string{"SOURCE_DATE_EPOCH": "1000000"}, SourceDateEpoch: &epoch}},
		{[]string{"--secret", "id=t,src=token", "--secret", "id=FROM_OUTSIDE", "--secret", "id=e,env=FROM_OUTSIDE", "--secret", "type=file,id=token", "."},
			sandbox.BuildSpec{Context: dir, Secrets: []sandbox.BuildSecret{
				{ID: "t", Value: []byte("hush")}, {ID: "FROM_OUTSIDE", Value: []byte("taken")}, {ID: "e", Value: []byte("taken")}, {ID: "token", Value: []byte("hush")},
			}}},
		{[]string{"--ssh", "default", "--ssh", "other=agent", "."},
			sandbox.BuildSpec{Context: dir, SSH: []sandbox.BuildSSH{{ID: "default", Socket: filepath.Join(dir, "agent")}, {ID: "other", Socket: filepath.Join(dir, "agent")}}}},
		{[]string{"--build-context", "src=sub", "--build-context", "base=docker-image://busybox", "."},
			sandbox.BuildSpec{Context: dir, Contexts: map[string]string{"src": filepath.Join(dir, "sub"), "base": "docker-image://busybox"}}},
		{[]string{"--cache-from", "r.example.com/c", "--cache-to", "type=registry,ref=r.example.com/d:1,mode=max", "."},
			sandbox.BuildSpec{Context: dir, CacheFrom: []string{"r.example.com/c"}, CacheTo: []string{"r.example.com/d:1"}}},
		{[]string{"--add-host", "a:1.2.3.4", "--add-host", "b=[::1]", "--shm-size", "1m", "--ulimit", "nofile=10:20", "-m", "64m", "."},
			sandbox.BuildSpec{Context: dir, AddHosts: []string{"a:1.2.3.4", "b:::1"}, ShmSize: 1 << 20,
				Ulimits: []sandbox.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}}, Limits: sandbox.Limits{Memory: 64 << 20, Swap: 64 << 20}}},
		{[]string{"-o", "out", "."}, sandbox.BuildSpec{Context: dir, Output: "type=local,dest=" + filepath.Join(dir, "out")}},
		{[]string{"-o", "type=tar,dest=x.tar", "."}, sandbox.BuildSpec{Context: dir, Output: "type=tar,dest=" + filepath.Join(dir, "x.tar")}},
		{[]string{"-o", "type=docker", "."}, sandbox.BuildSpec{Context: dir}},
		{[]string{"--load", "--provenance=false", "--sbom", "none", "--rm", "--force-rm=1", "--push=false", "--builder", "default", "."}, sandbox.BuildSpec{Context: dir}},
		{[]string{"--label", "a=b", "--label", "c", "--platform", "linux/arm64", "--no-cache-filter", "x,y", "."},
			sandbox.BuildSpec{Context: dir, Labels: map[string]string{"a": "b", "c": ""}, Platform: "linux/arm64", NoCacheStages: []string{"x", "y"}}},
	} {
		got, err := buildSpecOf(t, "", test.args...)
		test.want.Get, test.want.Network = missing, sandbox.NetworkHost
		if err != nil || !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%q:\ngot  %+v %v\nwant %+v", test.args, got, err, test.want)
		}
	}
	for flag, want := range map[string]sandbox.PullPolicy{"--pull": sandbox.PullAlways, "--pull=false": sandbox.PullMissing, "--pull=never": sandbox.PullNever} {
		if got, err := buildSpecOf(t, "", flag, "."); err != nil || got.Get.Pull != want {
			t.Errorf("%s: %v %v", flag, got, err)
		}
	}
}

func TestBadBuildFlags(t *testing.T) {
	contextDir(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	for _, test := range []struct {
		want string
		args []string
	}{
		{"no attestations are made", []string{"--sbom=true", "."}},
		{"no attestations are made", []string{"--provenance=mode=max", "."}},
		{"no attestations are made", []string{"--attest", "type=sbom", "."}},
		{"no step gets more rights", []string{"--allow", "security.insecure", "."}},
		{"use bivouac push", []string{"--push", "."}},
		{"always removed", []string{"--rm=false", "."}},
		{"no such directory", []string{"nowhere"}},
		{"no such file", []string{"-f", "nowhere/Dockerfile", "sub"}},
		{"one standard input", []string{"-f", "-", "-"}},
		{"clone it", []string{"https://github.com/a/b.git"}},
		{"clone it", []string{"git@github.com:a/b"}},
		{"NAME=VALUE", []string{"--build-arg", "=x", "."}},
		{"seconds since 1970", []string{"--build-arg", "SOURCE_DATE_EPOCH=yesterday", "."}},
		{"needs id=ID", []string{"--secret", "type=env", "."}},
		{"is not set", []string{"--secret", "id=a,env=NOT_SET_AT_ALL", "."}},
		{"no such file", []string{"--secret", "id=a,src=nowhere", "."}},
		{"no regular file", []string{"--secret", "id=a,src=sub", "."}},
		{`"sorce" is not known`, []string{"--secret", "id=a,sorce=x", "."}},
		{"there is no agent", []string{"--ssh", "default", "."}},
		{"ssh-add", []string{"--ssh", "default=token", "."}},
		{"is no directory", []string{"--build-context", "a=token", "."}},
		{"not fetched", []string{"--build-context", "a=https://example.com/x", "."}},
		{"registries alone", []string{"--cache-from", "type=local,src=x", "."}},
		{"all steps are pushed", []string{"--cache-to", "type=registry,ref=x,mode=min", "."}},
		{"needs ref=IMAGE", []string{"--cache-to", "type=registry", "."}},
		{"NAME:IP", []string{"--add-host", "a:host-gateway", "."}},
		{"use host or none", []string{"--network", "bridge", "."}},
		{"always, missing or never", []string{"--pull=sometimes", "."}},
		{"for one platform", []string{"--platform", "linux/amd64,linux/arm64", "."}},
		{"not a known type", []string{"-o", "type=oil,dest=x", "."}},
		{"always goes into the store", []string{"-o", "type=image", "."}},
		{"dest=DIRECTORY", []string{"-o", "type=local", "."}},
		{"--progress", []string{"--progress", "fancy", "."}},
		{"is no name", []string{"-t", "oci:dir", "."}},
		{"--shm-size", []string{"--shm-size", "big", "."}},
	} {
		_, err := buildSpecOf(t, "", test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.args, err, test.want)
		}
	}
}

// archiveOf is a tar archive with one file.
func archiveOf(t *testing.T, name, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestBuildContexts(t *testing.T) {
	contextDir(t)
	archive := archiveOf(t, "Dockerfile", "FROM scratch\n")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(archive))
	_ = z.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/context.tar" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(archive))
	}))
	defer server.Close()
	for _, test := range []struct{ name, stdin, want string }{{"-", archive, ""}, {"-", packed.String(), ""}, {"-", "FROM x\nRUN y\n", "FROM x\nRUN y\n"}, {server.URL + "/context.tar", "", ""}} {
		spec, err := buildSpecOf(t, test.stdin, test.name)
		if err != nil || spec.Text != test.want {
			t.Fatalf("%s: %+v %v", test.name, spec, err)
		}
		info, err := os.Stat(spec.Context)
		if err != nil || info.IsDir() != (test.want != "") {
			t.Errorf("%s: the context is %v %v", test.name, info, err)
		}
	}
	if spec, err := buildSpecOf(t, archive, "-f", "sub/Other", "-"); err != nil || spec.Dockerfile != "sub/Other" {
		t.Errorf("a Dockerfile in an archive: %+v %v", spec, err)
	}
	if spec, err := buildSpecOf(t, "FROM y\n", "-f", "-", "sub"); err != nil || spec.Text != "FROM y\n" || filepath.Base(spec.Context) != "sub" {
		t.Errorf("a Dockerfile from the standard input: %+v %v", spec, err)
	}
	for stdin, want := range map[string]string{"": "is empty", "\x00\xff binary": "neither a tar archive nor a Dockerfile"} {
		if _, err := buildSpecOf(t, stdin, "-"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", stdin, err)
		}
	}
	if _, err := buildSpecOf(t, "", server.URL+"/nowhere"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a URL that leads nowhere: %v", err)
	}
}

func TestTemporaryFilesOfBuildsAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	f := &buildFlags{file: ""}
	source, err := f.openContext(t.Context(), strings.NewReader("FROM x\n"), "-")
	if err != nil {
		t.Fatal(err)
	}
	source.remove()
	if _, err := f.openContext(t.Context(), strings.NewReader("\x00\xff"), "-"); err == nil {
		t.Error("what is no Dockerfile was taken for one")
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left are %v %v", left, err)
	}
}
