package rootfs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// basic asks for tester:secret.
func basic(w http.ResponseWriter, r *http.Request) bool {
	if user, secret, ok := r.BasicAuth(); ok && user == "tester" && secret == "secret" {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// bearer asks for a token, which it gives at /token to tester:secret.
func bearer(s *server) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if basic(w, r) {
				return true
			}
			if got := r.URL.Query().Get("scope"); got != "repository:x:pull" {
				http.Error(w, "bad scope "+got, http.StatusBadRequest)
				return true
			}
			fmt.Fprint(w, `{"token":"opensesame"}`)
			return true
		}
		if r.Header.Get("Authorization") == "Bearer opensesame" {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:x:pull"`, s.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// login writes credentials in Docker's form under a key.
func login(t *testing.T, path, key, secret string) {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte("tester:" + secret))
	writeConf(t, path, fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, auth))
}

func writeConf(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o755)); err != nil {
		t.Fatal(err)
	}
}

func TestPullWithCredentials(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		what  string
		setup func(t *testing.T, host string)
		ok    bool
	}{
		{"none", func(*testing.T, string) {}, false},
		{"DOCKER_CONFIG", func(t *testing.T, host string) {
			t.Setenv("DOCKER_CONFIG", dir)
			login(t, dir+"/config.json", host, "secret")
		}, true},
		{"wrong", func(t *testing.T, host string) {
			t.Setenv("DOCKER_CONFIG", dir)
			login(t, dir+"/config.json", host, "sekret")
		}, false},
		{"home", func(t *testing.T, host string) {
			t.Setenv("HOME", dir)
			login(t, dir+"/.docker/config.json", host, "secret")
		}, true},
		{"REGISTRY_AUTH_FILE", func(t *testing.T, host string) {
			t.Setenv("REGISTRY_AUTH_FILE", dir+"/auth")
			login(t, dir+"/auth", host, "secret")
		}, true},
		{"podman's", func(t *testing.T, host string) {
			t.Setenv("XDG_RUNTIME_DIR", dir)
			login(t, dir+"/containers/auth.json", host+"/x", "secret")
		}, true},
		{"helper", func(t *testing.T, host string) {
			t.Setenv("DOCKER_CONFIG", dir)
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			writeConf(t, dir+"/config.json", fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, host))
			writeConf(t, dir+"/docker-credential-test", "#!/bin/sh\necho '{\"Username\":\"tester\",\"Secret\":\"secret\"}'\n")
		}, true},
		{"broken helper", func(t *testing.T, _ string) {
			t.Setenv("DOCKER_CONFIG", dir)
			writeConf(t, dir+"/config.json", `{"credsStore":"nowhere"}`)
		}, false},
	} {
		for _, kind := range []string{"basic", "bearer"} {
			t.Run(c.what+" "+kind, func(t *testing.T) {
				r, s := newServer(t), openStore(t)
				name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
				r.spoiled(map[string]func(http.ResponseWriter, *http.Request) bool{"basic": basic, "bearer": bearer(r)}[kind])
				c.setup(t, r.host())
				_, err := s.Pull(context.Background(), mustParse(t, name), PullOptions{})
				if c.ok && err != nil || !c.ok && !errors.Is(err, Unauthorized) {
					t.Errorf("error %v", err)
				}
				if !c.ok && !strings.Contains(err.Error(), "`bivouac login "+r.host()+"`") {
					t.Errorf("error %v", err)
				}
			})
		}
	}
}

func TestPullBadCredentialFile(t *testing.T) {
	r, s, dir := newServer(t), openStore(t), t.TempDir()
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	for _, path := range []string{dir + "/none", dir + "/bad"} {
		writeConf(t, dir+"/bad", "{")
		t.Setenv("REGISTRY_AUTH_FILE", path)
		if _, err := s.Pull(context.Background(), mustParse(t, name), PullOptions{}); !errors.Is(err, BadConfig) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func newTLSServer(t *testing.T) *server {
	t.Helper()
	s := quietServer()
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = silent
	s.StartTLS()
	t.Cleanup(s.close)
	return s
}

func TestPullOverTLS(t *testing.T) {
	r := newTLSServer(t)
	name := r.push(t, "x:1", imageOf(t, packedGzip, smallTree))
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
	dir := t.TempDir()
	writeConf(t, dir+"/ca.crt", ca)
	writeConf(t, dir+"/conf/containers/certs.d/"+r.host()+"/ca.crt", ca)
	writeConf(t, dir+"/bad.crt", "no certificate")
	insecure := fmt.Sprintf("[[registry]]\nlocation=%q\ninsecure=true\n", r.host())
	for _, c := range []struct {
		what string
		env  [2]string
		o    PullOptions
		code Code
	}{
		{"unknown authority", [2]string{"A", "b"}, PullOptions{}, Insecure},
		{"plain http does not help", [2]string{"A", "b"}, PullOptions{PlainHTTP: true}, Insecure},
		{"flag", [2]string{"A", "b"}, PullOptions{CAFile: dir + "/ca.crt"}, ""},
		{"environment", [2]string{"BIVOUAC_CA_FILE", dir + "/ca.crt"}, PullOptions{}, ""},
		{"certs.d", [2]string{"XDG_CONFIG_HOME", dir + "/conf"}, PullOptions{}, ""},
		{"bad", [2]string{"A", "b"}, PullOptions{CAFile: dir + "/bad.crt"}, BadConfig},
		{"missing", [2]string{"A", "b"}, PullOptions{CAFile: dir + "/none"}, BadConfig},
		{"insecure", [2]string{"CONTAINERS_REGISTRIES_CONF", confFile(t, insecure)}, PullOptions{}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Setenv(c.env[0], c.env[1])
			_, err := openStore(t).Pull(context.Background(), mustParse(t, name), c.o)
			if c.code == "" && err != nil || c.code != "" && !errors.Is(err, c.code) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNetworkRefusesPlainHTTP(t *testing.T) {
	conf := &registriesConf{Registries: []registryConf{{Prefix: "a.test", Location: "b.test:5000", Insecure: true}}}
	for host, want := range map[string]bool{
		"127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true, "localhost": true, "x.localhost:1": true, "b.test:5000": true,
		"10.0.0.1:5000": false, "192.168.1.1": false, "localhost.test": false, "127.0.0.1.test": false, "b.test": false, "a.test": false,
	} {
		if got := (&network{conf: conf}).mayBePlain(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	n := &network{conf: conf, report: &reporter{}}
	req, err := http.NewRequest(http.MethodGet, "http://10.0.0.1:5000/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.RoundTrip(req); !errors.Is(err, Insecure) || !strings.Contains(err.Error(), "--plain-http") {
		t.Errorf("error %v", err)
	}
}

func confFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "registries.conf")
	writeConf(t, path, content)
	return path
}

func TestErrorSurvivesWire(t *testing.T) {
	err := error(fail(NotFound, "look elsewhere", "find %s", "it"))
	if err.Error() != "find it; look elsewhere" || !errors.Is(about(err, "pull"), NotFound) || errors.Is(err, NoSpace) {
		t.Errorf("%v", err)
	}
	content, bad := json.Marshal(NotFound)
	var code Code
	if bad = errors.Join(bad, json.Unmarshal(content, &code)); bad != nil || !errors.Is(err, code) {
		t.Errorf("%v %s", bad, code)
	}
}
