package rootfs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func failing(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		return true
	}
}

func TestPullFromMirrors(t *testing.T) {
	for _, c := range []struct {
		what    string
		conf    string // %[1]s and %[2]s are mirrors, %[3]s is the home
		spoil   func(one, two, home *server)
		by      string // suffix of the name
		asked   string
		unasked string
	}{
		{"first", "[[registry]]\nprefix='home.test/lib'\n[[registry.mirror]]\nlocation='%[1]s/m'\n", nil, ":1", "one", "two home"},
		{"second", "[[registry]]\nprefix='home.test'\nlocation='%[3]s'\n[[registry.mirror]]\nlocation='%[1]s/none'\n[[registry.mirror]]\nlocation='%[2]s/m'\n",
			nil, ":1", "one two", "home"},
		{"home", "[[registry]]\nprefix='home.test/lib'\nlocation='%[3]s/m'\n[[registry.mirror]]\nlocation='%[1]s/m'\n[[registry.mirror]]\nlocation='%[2]s/m'\n",
			func(one, two, _ *server) { one.spoiled(failing(403)); two.spoiled(failing(501)) }, ":1", "one two home", ""},
		{"blobs from another", "[[registry]]\nprefix='home.test/lib'\nlocation='%[3]s/m'\n[[registry.mirror]]\nlocation='%[1]s/m'\n",
			func(one, _, _ *server) {
				one.spoiled(func(w http.ResponseWriter, r *http.Request) bool { return isBlob(r) && failing(404)(w, r) })
			}, ":1", "one home", "two"},
		{"not for tags", "[[registry]]\nprefix='home.test/lib'\nlocation='%[3]s/m'\n[[registry.mirror]]\nlocation='%[1]s/m'\npull-from-mirror='digest-only'\n",
			nil, ":1", "home", "one two"},
		{"for digests", "[[registry]]\nprefix='home.test/lib'\nlocation='%[3]s/m'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='%[1]s/m'\n",
			nil, "@", "one", "two home"},
		{"wildcard", "[[registry]]\nprefix='*.test/lib'\nlocation='%[2]s/m'\n", nil, ":1", "two", "one home"},
	} {
		t.Run(c.what, func(t *testing.T) {
			servers := map[string]*server{"one": newServer(t), "two": newServer(t), "home": newServer(t)}
			img := imageOf(t, packedGzip, smallTree)
			for _, r := range servers {
				r.push(t, "m/x:1", img)
				r.push(t, "m/lib/x:1", img)
				r.spoiled(nil)
			}
			if c.spoil != nil {
				c.spoil(servers["one"], servers["two"], servers["home"])
			}
			conf := fmt.Sprintf(c.conf+"\n# %[1]s %[2]s %[3]s", servers["one"].host(), servers["two"].host(), servers["home"].host())
			t.Setenv("CONTAINERS_REGISTRIES_CONF", confFile(t, conf))
			if c.by == "@" {
				d, err := img.Digest()
				if err != nil {
					t.Fatal(err)
				}
				c.by += d.String()
			}
			got := pullNow(t, openStore(t), "home.test/lib/x"+c.by, PullOptions{})
			if got.Name != "home.test/lib/x"+c.by {
				t.Errorf("name %s", got.Name)
			}
			for _, name := range strings.Fields(c.asked) {
				if servers[name].requests("/v2/") == nil {
					t.Errorf("%s was not asked", name)
				}
			}
			for _, name := range strings.Fields(c.unasked) {
				if seen := servers[name].requests("/v2/"); seen != nil {
					t.Errorf("%s was asked: %q", name, seen)
				}
			}
		})
	}
}

func TestPullBlocked(t *testing.T) {
	t.Setenv("CONTAINERS_REGISTRIES_CONF", confFile(t, "[[registry]]\nprefix='bad.test'\nblocked=true\n"))
	_, err := openStore(t).Pull(context.Background(), mustParse(t, "bad.test/x"), PullOptions{})
	if !errors.Is(err, Blocked) || err.Error() != "pull bad.test/x:latest: registries.conf blocks bad.test" {
		t.Errorf("error %v", err)
	}
}

func TestPullShortNames(t *testing.T) {
	one, two := newServer(t), newServer(t)
	two.push(t, "searched:latest", imageOf(t, packedGzip, smallTree))
	one.push(t, "other/name:2", imageOf(t, packedGzip, smallTree))
	conf := fmt.Sprintf("unqualified-search-registries=[%q, %q]\n[aliases]\naliased=%q\n", one.host(), two.host(), one.host()+"/other/name")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", confFile(t, conf))
	s := openStore(t)
	for short, full := range map[string]string{"searched": two.host() + "/searched:latest", "aliased:2": one.host() + "/other/name:2"} {
		if img := pullNow(t, s, short, PullOptions{}); img.Name != full {
			t.Errorf("%s is %s, want %s", short, img.Name, full)
		}
		one.spoiled(nil)
		two.spoiled(nil)
		if img := pullNow(t, s, short, PullOptions{}); img.Name != full || one.requests("") != nil || two.requests("") != nil {
			t.Errorf("%s again is %s, asked %q %q", short, img.Name, one.requests(""), two.requests(""))
		}
	}
	_, err := s.Pull(context.Background(), mustParse(t, "nowhere"), PullOptions{})
	if !errors.Is(err, NotFound) || !strings.Contains(err.Error(), "search registries") {
		t.Errorf("error %v", err)
	}
}

func TestRegistriesConfErrors(t *testing.T) {
	for conf, text := range map[string]string{
		"[[registry]":                             "line 1",
		"[[registry]]\ninsecure=true":             "neither prefix nor location",
		"[registries.search]\nregistries=['a.b']": "version 2",
		"[[registry]]\nlocation='a.b'\n[[registry.mirror]]\ninsecure=true":                                "no location",
		"[[registry]]\nlocation='a.b'\n[[registry.mirror]]\nlocation='c.d'\npull-from-mirror='sometimes'": "pull-from-mirror",
		"[[registry]]\nlocation='docker.io'\n[[registry.mirror]]\nlocation='http://c.d'":                  "://",
		"unqualified-search-registries=['a b']":                                                           "bad name",
	} {
		path := confFile(t, conf)
		t.Setenv("CONTAINERS_REGISTRIES_CONF", path)
		_, err := openStore(t).Pull(context.Background(), mustParse(t, "x"), PullOptions{})
		if !errors.Is(err, BadConfig) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", conf, err)
		}
	}
}

func TestRegistriesConfLaterWins(t *testing.T) {
	parse := func(s string) *registriesConf {
		c, err := parseRegistriesConf([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := &registriesConf{Aliases: map[string]string{}}
	c.merge(parse("unqualified-search-registries=['a.b']\n[[registry]]\nlocation='x.y'\ninsecure=true\n[aliases]\nq='a.b/q'"))
	c.merge(parse("[[registry]]\nlocation='x.y'\n[[registry]]\nlocation='x.y/z'\nblocked=true\n[aliases]\nq='c.d/q'"))
	if len(c.Registries) != 2 || c.insecure("x.y") || !c.find("x.y/z/a").Blocked || c.find("x.y/zz").Blocked || c.find("w.y") != nil ||
		c.Aliases["q"] != "c.d/q" || len(c.Search) != 1 {
		t.Errorf("%+v", c)
	}
}
