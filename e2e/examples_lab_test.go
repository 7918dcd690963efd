package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"
)

// exampleNames are the images that examples speak of, by where the corpus's registry has them, and which of the corpus stands
// for each. Docker Hub is the registry without TLS, registry.example.com:5000 the one with TLS and passwords.
var exampleNames = map[string]string{
	"library/alpine:latest": "busybox:multi", "library/busybox:latest": "busybox:latest", "library/debian:12": "debian:slim",
	"library/nginx:latest": "nginx:latest", "library/postgres:16": "postgres:15", "library/python:3": "python:3",
	"app:latest": "busybox:latest",
}

// exampleLab is what the scripts share: a registry that has the images of the examples, and a way to it by their names.
type exampleLab struct{ bin, conf, proxy string }

func newExampleLab(t *testing.T) *exampleLab {
	t.Helper()
	registry := os.Getenv("BIVOUAC_E2E_REGISTRY")
	for to, from := range exampleNames {
		if err := offerImage(registry+"/"+from, registry+"/"+to); err != nil {
			t.Fatalf("offer %s as %s: %v", from, to, err)
		}
	}
	dir := t.TempDir()
	l := &exampleLab{bin: filepath.Join(dir, "bin"), conf: filepath.Join(dir, "registries.conf")}
	conf := fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = %q\ninsecure = true\n", registry)
	for _, err := range []error{
		os.Mkdir(l.bin, 0o755),
		os.Symlink(os.Getenv("BIVOUAC_E2E_BINARY"), filepath.Join(l.bin, "bivouac")),
		os.WriteFile(l.conf, []byte(conf), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	proxy := httptest.NewServer(tunnelTo(os.Getenv("BIVOUAC_E2E_REGISTRY_TLS")))
	t.Cleanup(proxy.Close)
	l.proxy = proxy.URL
	return l
}

// offerImage gives an image of a registry another name there. Its blobs stay where they are.
func offerImage(from, to string) error {
	source, err := name.ParseReference(from, name.Insecure)
	if err != nil {
		return err
	}
	target, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		return err
	}
	found, err := remote.Get(source)
	if err != nil {
		return err
	}
	if found.MediaType.IsIndex() {
		index, err := found.ImageIndex()
		if err != nil {
			return err
		}
		return remote.WriteIndex(target, index)
	}
	image, err := found.Image()
	if err != nil {
		return err
	}
	return remote.Write(target, image)
}

// tunnelTo is an HTTP proxy for which every host is the one at address.
func tunnelTo(address string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		there, err := net.Dial("tcp", address)
		if err != nil || r.Method != http.MethodConnect {
			http.Error(w, fmt.Sprint(r.Method, err), http.StatusBadGateway)
			return
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = there.Close()
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		for _, pair := range [][2]net.Conn{{here, there}, {there, here}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			}()
		}
	}
}

// setUp gives a script a store, a home and a runtime directory of its own, and removes what it leaves.
func (l *exampleLab) setUp(env *testscript.Env) error {
	runtime, err := os.MkdirTemp("", "b") // sockets' paths are short
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"PATH": l.bin + ":" + os.Getenv("PATH"), "HOME": env.WorkDir, "BIVOUAC_HOME": filepath.Join(env.WorkDir, ".store"),
		"XDG_RUNTIME_DIR": runtime, "CONTAINERS_REGISTRIES_CONF": l.conf, "BIVOUAC_CRIU": os.Getenv("BIVOUAC_CRIU"),
		"GOCACHE": filepath.Join(cache, "go-build"),
		"CA":      os.Getenv("BIVOUAC_E2E_CA"), "PROXY": l.proxy,
	} {
		env.Setenv(name, value)
	}
	env.Defer(func() {
		cmd := exec.Command(filepath.Join(l.bin, "bivouac"), "system", "reset", "--force")
		cmd.Env = env.Vars
		if out, err := cmd.CombinedOutput(); err != nil {
			env.T().Log(fmt.Sprintf("bivouac system reset: %v\n%s", err, out))
		}
		_ = os.RemoveAll(runtime)
	})
	return nil
}

// fits tells whether the machine enforces limits, which is a condition of scripts.
func (l *exampleLab) fits(condition string) (bool, error) {
	if condition != "cgroups" {
		return false, fmt.Errorf("unknown condition %q", condition)
	}
	out, err := exec.Command(filepath.Join(l.bin, "bivouac"), "doctor", "--format", "{{.Answer}} {{.Name}}").Output()
	return strings.Contains(string(out), "yes cgroup delegation"), err
}

// waitForText is `waitfor TEXT PROGRAM [ARG...]`. The program may fail until then.
func waitForText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitfor TEXT PROGRAM [ARG...]")
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		_ = ts.Exec(args[1], args[2:]...)
		if strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), args[0]) {
			return
		}
	}
	ts.Fatalf("%s never printed %q", strings.Join(args[1:], " "), args[0])
}

// waitForPort is `freeport PORT`: examples name ports, which another run of the tests may have for a moment.
func waitForPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport PORT")
	}
	for range 600 {
		listener, err := net.Listen("tcp", ":"+args[0])
		if err == nil {
			_ = listener.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("another program has port %s", args[0])
}
