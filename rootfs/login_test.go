package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

func TestParseServer(t *testing.T) {
	for s, want := range map[string]Server{
		"": {"docker.io", authn.DefaultAuthKey}, "docker.io": {"docker.io", authn.DefaultAuthKey},
		"https://index.docker.io/v1/": {"docker.io", authn.DefaultAuthKey}, "h.io": {"h.io", "h.io"},
		"https://h.io:5000/": {"h.io:5000", "h.io:5000"}, "localhost:5000": {"localhost:5000", "localhost:5000"},
	} {
		if got, err := ParseServer(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"h.io/team", "a b", "ftp://h.io", "h.io:x", "-"} {
		if got, err := ParseServer(s); !errors.Is(err, BadReference) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func TestVerify(t *testing.T) {
	for what, asks := range map[string]func(*server) func(http.ResponseWriter, *http.Request) bool{
		"basic": func(*server) func(http.ResponseWriter, *http.Request) bool { return basic },
		"token": tokens,
	} {
		t.Run(what, func(t *testing.T) {
			r := newServer(t)
			r.spoiled(asks(r))
			server, err := ParseServer(r.host())
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Verify(context.Background(), "tester", "secret", LoginOptions{}); err != nil {
				t.Error(err)
			}
			err = server.Verify(context.Background(), "tester", "wrong", LoginOptions{})
			if !errors.Is(err, Unauthorized) || !strings.Contains(err.Error(), "check user name and password") || strings.Contains(err.Error(), "wrong") {
				t.Errorf("wrong password: %v", err)
			}
			r.close()
			if err := server.Verify(context.Background(), "tester", "secret", LoginOptions{}); !errors.Is(err, Unreachable) {
				t.Errorf("gone: %v", err)
			}
		})
	}
}

// tokens is bearer for who asks for no repository.
func tokens(s *server) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if !basic(w, r) {
				fmt.Fprint(w, `{"token":"opensesame"}`)
			}
			return true
		}
		if r.Header.Get("Authorization") == "Bearer opensesame" {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, s.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// configOfDocker gives Docker's configuration a directory of its own, and returns the file.
func configOfDocker(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	path := filepath.Join(dir, "config.json")
	if content != "" {
		writeConf(t, path, content)
	}
	return path
}

func TestKeepAndForget(t *testing.T) {
	path := configOfDocker(t, `{"auths":{"other.io":{"auth":"eDp5","x":1}},"HttpHeaders":{"A":"<b>"},"unknown":{"big":12345678901234567890}}`)
	server := Server{"h.io:5000", "h.io:5000"}
	kept, err := server.Keep("me", "pass:word")
	if err != nil || kept != (Kept{File: path}) {
		t.Fatalf("%+v, %v", kept, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12345678901234567890", `"x": 1`, "HttpHeaders"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("without %s: %s", want, text)
		}
	}
	if user, password, err := server.Credentials(); user != "me" || password != "pass:word" || err != nil {
		t.Errorf("%q %q %v", user, password, err)
	}
	if found, err := server.Forget(); !found || err != nil {
		t.Errorf("%v %v", found, err)
	}
	if user, _, err := server.Credentials(); user != "" || err != nil {
		t.Errorf("after forgetting: %q %v", user, err)
	}
	if found, err := server.Forget(); found || err != nil {
		t.Errorf("twice: %v %v", found, err)
	}
	if left := entries(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

func TestKeepWithHelper(t *testing.T) {
	path := configOfDocker(t, `{"credsStore":"none-such","credHelpers":{"h.io":"camp"}}`)
	dir := filepath.Dir(path)
	helper := "#!/bin/sh\ncd " + dir + "; case $1 in store) cat >kept;; erase) cat >/dev/null; rm kept;; get) cat >/dev/null; " +
		"test -e kept && cat kept || { echo credentials not found in native keychain; exit 1; };; esac\n"
	writeConf(t, dir+"/docker-credential-camp", helper)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	server := Server{"h.io", "h.io"}
	kept, err := server.Keep("me", "secret")
	if err != nil || kept.Helper != "docker-credential-camp" {
		t.Fatalf("%+v, %v", kept, err)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), `"auth":`) {
		t.Errorf("%s, %v", text, err)
	}
	var stored map[string]string
	text, err := os.ReadFile(dir + "/kept")
	if err = errors.Join(err, json.Unmarshal(text, &stored)); err != nil || stored["Secret"] != "secret" || stored["ServerURL"] != "h.io" {
		t.Errorf("%v, %v", stored, err)
	}
	if user, password, err := server.Credentials(); user != "me" || password != "secret" || err != nil {
		t.Errorf("%q %q %v", user, password, err)
	}
	if found, err := server.Forget(); !found || err != nil {
		t.Errorf("%v %v", found, err)
	}
	if found, err := server.Forget(); found || err != nil {
		t.Errorf("twice: %v %v", found, err)
	}
	if _, err := (Server{"i.io", "i.io"}).Keep("me", "secret"); !errors.Is(err, BadConfig) || !strings.Contains(err.Error(), "docker-credential-none-such") {
		t.Errorf("a helper that is not there: %v", err)
	}
}

func TestKeepInBadFile(t *testing.T) {
	for _, content := range []string{"{", "[]", "null", `{"auths":[]}`, `{"auths":null}`} {
		path := configOfDocker(t, content)
		_, err := (Server{"h.io", "h.io"}).Keep("me", "secret")
		if !errors.Is(err, BadConfig) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", content, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != content {
			t.Errorf("%s became %s, %v", content, text, err)
		}
	}
}

func TestKeepTellsOfOtherFiles(t *testing.T) {
	configOfDocker(t, "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	other := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "containers/auth.json")
	login(t, other, "h.io", "old")
	if kept, err := (Server{"h.io", "h.io"}).Keep("me", "secret"); err != nil || kept.Shadowed != other {
		t.Errorf("%+v, %v", kept, err)
	}
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "sub/auth.json"))
	kept, err := (Server{"h.io", "h.io"}).Keep("me", "secret")
	if err != nil || kept.File != os.Getenv("REGISTRY_AUTH_FILE") || kept.Shadowed != "" {
		t.Errorf("%+v, %v", kept, err)
	}
}

// TestKeepAtOnce loses none of what several keep at the same time.
func TestKeepAtOnce(t *testing.T) {
	path := configOfDocker(t, "")
	var group sync.WaitGroup
	for i := range 10 {
		host := fmt.Sprintf("h%d.io", i)
		group.Go(func() {
			if _, err := (Server{host, host}).Keep("me", "secret"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	l, _, err := readLogins(path)
	if err != nil || len(l.auths) != 10 {
		t.Errorf("%d logins, %v", len(l.auths), err)
	}
}

// TestHelperBesideEmptyEntry asks the helper also where the file has the empty entry that a login leaves.
func TestHelperBesideEmptyEntry(t *testing.T) {
	r, s := newServer(t), openStore(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	r.spoiled(basic)
	dir := filepath.Dir(configOfDocker(t, fmt.Sprintf(`{"auths":{%q:{}},"credsStore":"camp"}`, r.host())))
	writeConf(t, dir+"/docker-credential-camp", "#!/bin/sh\necho '{\"Username\":\"tester\",\"Secret\":\"secret\"}'\n")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	pullNow(t, s, name, PullOptions{})
}

func FuzzLogins(f *testing.F) {
	f.Add([]byte(`{"auths":{"h.io":{"auth":"eDp5"}},"credHelpers":{"h.io":"x"},"credsStore":"y"}`))
	f.Add([]byte(`{"auths":{},"credHelpers":[],"credsStore":1}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = editLogins(path, func(l *logins) error {
			_ = l.helper("h.io")
			l.auths["new"] = []byte("{}")
			return nil
		})
	})
}
