package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// closedRegistry asks for tester:secret.
func closedRegistry(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "tester" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestLoginAsks types user and password into a terminal, which does not show the password.
func TestLoginAsks(t *testing.T) {
	dir, host := t.TempDir(), closedRegistry(t)
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestLoginChild$")
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+dir, "XDG_CONFIG_HOME="+dir, "XDG_RUNTIME_DIR="+dir, "CONTAINERS_REGISTRIES_CONF="+os.DevNull,
		"LOGIN_CHILD="+host)
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var shown strings.Builder
	buffer := make([]byte, 1000)
	answers := map[string]string{"Username: ": "tester\n", "Password: ": "secret\n"}
	for {
		n, err := terminal.Read(buffer)
		shown.Write(buffer[:n])
		for question, answer := range answers {
			if strings.Contains(shown.String(), question) {
				delete(answers, question)
				if question == "Password: " {
					awaitNoEcho(t, terminal)
				}
				_, _ = io.WriteString(terminal, answer)
			}
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(shown.String(), "Login Succeeded") || strings.Contains(shown.String(), "secret") {
		t.Errorf("%v, shown %q", err, shown.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
		t.Error(err)
	}
}

// awaitNoEcho returns when a terminal does not show what is typed.
func awaitNoEcho(t *testing.T, terminal *os.File) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		modes, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err == nil && modes.Lflag&unix.ECHO == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it shows the password: %v", err)
		}
	}
}

// TestLoginChild is the process of TestLoginAsks.
func TestLoginChild(t *testing.T) {
	host := os.Getenv("LOGIN_CHILD")
	if host == "" {
		return
	}
	server, err := rootfs.ParseServer(host)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&loginFlags{}).login(t.Context(), os.Stdout, server); err != nil {
		t.Fatal(err)
	}
}

func TestLoginWithWhatIsKept(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("CONTAINERS_REGISTRIES_CONF", os.DevNull)
	server, err := rootfs.ParseServer(closedRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Keep("tester", "secret"); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := (&loginFlags{}).login(t.Context(), &out, server); err != nil || out.String() != "Login Succeeded\n" {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestLoadedLine(t *testing.T) {
	const id = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for name, want := range map[string]string{
		"docker.io/library/alpine:3": "Loaded image: alpine:3", "h.io/a/b:1": "Loaded image: h.io/a/b:1", id: "Loaded image ID: sha256:x",
	} {
		if got := loadedLine(sandbox.ImageInfo{Name: name, ID: "sha256:x"}); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestHistoryRows(t *testing.T) {
	now := time.Now()
	long := strings.Repeat("x", 50)
	steps := []rootfs.Step{{CreatedBy: long, Size: 12345678, Created: now.Add(-time.Hour)}, {Comment: "a\x1b[2Jb"}}
	rows := (&historyFlags{human: true}).rows(steps, "sha256:0123456789abcdef", now)
	if r := rows[0]; r.ID != "0123456789ab" || r.CreatedSince != "About an hour ago" || r.CreatedBy != long[:44]+"…" || r.Size != "12.3MB" {
		t.Errorf("%+v", r)
	}
	if r := rows[1]; r.ID != "<missing>" || r.CreatedSince != "N/A" || r.Comment != "a[2Jb" {
		t.Errorf("%+v", r)
	}
	rows = (&historyFlags{noTrunc: true}).rows(steps, "sha256:0123456789abcdef", now)
	if r := rows[0]; r.ID != "sha256:0123456789abcdef" || r.CreatedBy != long || r.Size != "12345678" {
		t.Errorf("%+v", r)
	}
}

func TestImageTree(t *testing.T) {
	a, b := rootfs.TreeImage{ID: "sha256:aaaaaaaaaaaaaaaa", Names: []string{"a:1"}, Platform: "linux/amd64", Size: 3e6, Unique: 1e6},
		rootfs.TreeImage{ID: "sha256:bbbbbbbbbbbbbbbb", Size: 2e6}
	a.Layers = []rootfs.TreeLayer{{DiffID: "sha256:1111111111111111", Size: 2e6, Shared: []digest.Digest{b.ID}}, {DiffID: "sha256:2222222222222222", Size: 1e6}}
	b.Layers = []rootfs.TreeLayer{{DiffID: "sha256:1111111111111111", Size: 2e6, Shared: []digest.Digest{a.ID}}}
	const want = `aaaaaaaaaaaa  a:1  linux/amd64  3MB, unique 1MB
├─ 111111111111  2MB  shared with bbbbbbbbbbbb
└─ 222222222222  1MB
bbbbbbbbbbbb  <none>    2MB, unique 0B
└─ 111111111111  2MB  shared with a:1
`
	var out strings.Builder
	if err := (&imageTree{images: []rootfs.TreeImage{a, b}}).print(&out); err != nil || out.String() != want {
		t.Errorf("got\n%s\nwant\n%s, %v", out.String(), want, err)
	}
}
