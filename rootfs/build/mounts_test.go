package build

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

func TestMounts(t *testing.T) {
	inLab(t, func(l *lab) {
		contextFiles(l)
		secrets := func(s *Spec) {
			s.Secrets, s.SSH = map[string][]byte{"s": []byte("v")}, map[string]string{"default": "/agent"}
		}
		text := `FROM scratch AS other
		COPY d /o
		FROM scratch
		WORKDIR /w
		RUN --mount=target=/ctx --mount=source=d,target=rel,rw --mount=from=other,source=/o/sub,target=/o --mount=from=other,source=o/link,target=/f ` +
			`--mount=type=tmpfs,target=/tmpfs,size=1m --mount=type=secret,id=s,mode=0444,uid=5 --mount=type=secret,id=s,env=S --mount=type=secret,id=none ` +
			`--mount=type=ssh cat /ctx/a && cat /ctx/ign/k && cat /w/rel/sub/e && write /w/rel/new x && cat /o/e && cat /f`
		l.build(text, secrets)
		if got := l.text(EventLog); strings.ReplaceAll(got, "\n", "") != "AKEEC" {
			l.Errorf("%q", got)
		}
		if _, err := os.Stat(filepath.Join(l.dir, "d/new")); err == nil {
			l.Error("the user's context was written to")
		}
		m := l.worker.ran[0].Mounts
		if len(m) != 8 || !m[0].ReadOnly || m[1].ReadOnly || m[1].Target != "/w/rel" || m[4].Kind != MountTmpfs || m[4].Size != 1<<20 ||
			m[5].Target != "/run/secrets/s" || m[5].Mode != 0o444 || m[5].UID != 5 || string(m[5].Value) != "v" || m[6].Env != "S" || m[6].Target != "" ||
			m[7].Socket != "/agent" || m[7].Target != "/run/buildkit/ssh_agent.0" || m[7].Mode != 0o600 {
			l.Errorf("%+v", m)
		}
		if sock, _ := environ(l.worker.ran[0].Env).Get("SSH_AUTH_SOCK"); sock != "/run/buildkit/ssh_agent.0" {
			l.Error(sock)
		}
		if l.worker.open != 0 {
			l.Errorf("%d mounts are left", l.worker.open)
		}
	})
}

func TestMountsRefused(t *testing.T) {
	inOneLab(t, func(l *lab) {
		for text, want := range map[string]string{
			"--mount=type=nope,target=/x":            "unsupported mount type",
			"--mount=type=cache,targt=/x":            "did you mean target?",
			"--mount=type=bind,target=/":             "the root cannot be mounted over",
			"--mount=type=tmpfs":                     "needs a target",
			"--mount=source=nope,target=/x":          "not in the context",
			"--mount=type=secret,id=x,required":      `secret "x" is required`,
			"--mount=type=ssh,required":              `SSH agent "default" is required`,
			"--mount=type=cache,target=/x,mode=9":    "invalid value 9 for mode",
			"--mount=type=tmpfs,target=/x,size=x":    "invalid value for size",
			"--security=insecure":                    "has no privileges to give",
			"--network=nope":                         "invalid network mode",
			"--nope":                                 "unknown flag",
			"--mount=type=bind,target=/x,source=../": "",
		} {
			_, err := l.try("FROM scratch\nRUN " + text + " true")
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				l.Errorf("%s: %v", text, err)
			}
		}
	})
}

func TestCacheMounts(t *testing.T) {
	inLab(t, func(l *lab) {
		l.files("d/seed", "S")
		fresh := func(s *Spec) { s.NoCache = true }
		second := func(s *Spec) { s.NoCacheStages = []string{"1"} }
		text := "FROM scratch\nRUN --mount=type=cache,target=/c,uid=7,mode=0750 append /c/n x && cat /c/n"
		l.build(text, fresh)
		l.build(text, fresh)
		if got := l.text(EventLog); got != "xx\n" {
			l.Errorf("%q", got)
		}
		source := l.worker.ran[0].Mounts[0].Source
		opened, err := os.Open(source)
		must(l, err)
		defer opened.Close()
		var st unix.Stat_t
		must(l, unix.Fstat(int(opened.Fd()), &st))
		if o := ownerOf(opened, &st, l.store.IDs().Single); o != (handle.Owner{UID: 7}) || st.Mode&0o7777 != 0o750 {
			l.Errorf("%v %o", o, st.Mode)
		}
		l.build("FROM scratch AS s\nCOPY d /x\nFROM scratch\nRUN --mount=type=cache,target=/c,from=s,source=/x cat /c/seed && append /c/seed T", second)
		l.build("FROM scratch AS s\nCOPY d /x\nFROM scratch\nRUN --mount=type=cache,target=/c,from=s,source=/x cat /c/seed", second)
		if got := l.text(EventLog); got != "ST\n" {
			l.Errorf("%q", got)
		}
		mounts, err := os.ReadDir(buildPath(l.store, "mounts"))
		must(l, err)
		if len(mounts) != 2 {
			l.Errorf("%v", mounts)
		}
		for _, m := range mounts {
			if gone, err := RemoveMount(l.store, m.Name()); !gone || err != nil {
				l.Error(gone, err)
			}
		}
	})
}

func TestSharing(t *testing.T) {
	for sharing, want := range map[string]struct{ atOnce, dirs int }{"shared": {2, 1}, "private": {2, 2}, "locked": {1, 1}} {
		t.Run(sharing, func(t *testing.T) {
			inOneLab(t, func(l *lab) {
				var mu sync.Mutex
				now, most, dirs := 0, 0, map[string]bool{}
				l.worker.during = func(s *RunStep) {
					mu.Lock()
					now++
					most = max(most, now)
					dirs[s.Mounts[0].Source] = true
					name := filepath.Base(filepath.Dir(s.Mounts[0].Source))
					mu.Unlock()
					if gone, err := RemoveMount(l.store, name); gone || err != nil {
						l.Errorf("a mount in use was removed: %v, %v", gone, err)
					}
					for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) { // those that may
						mu.Lock()
						enough := most >= want.atOnce
						mu.Unlock()
						if enough {
							break
						}
					}
					time.Sleep(200 * time.Millisecond) // those that may not
					mu.Lock()
					now--
					mu.Unlock()
				}
				run := "RUN --mount=type=cache,target=/c,sharing=" + sharing + " write /x "
				l.build("FROM scratch AS a\n" + run + "1\nFROM scratch\n" + run + "2\nCOPY --from=a /x /y")
				if most != want.atOnce || len(dirs) != want.dirs {
					l.Errorf("%d at once in %d directories", most, len(dirs))
				}
			})
		})
	}
}

func TestAddURL(t *testing.T) {
	inOneLab(t, func(l *lab) {
		asked, full := 0, 0
		content := "hello"
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			if r.URL.Path == "/missing" {
				http.NotFound(w, r)
				return
			}
			tag := `"` + content + `"`
			w.Header().Set("ETag", tag)
			w.Header().Set("Last-Modified", time.Unix(1000, 0).UTC().Format(http.TimeFormat))
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			full++
			_, _ = w.Write([]byte(content))
		}))
		defer server.Close()
		text := "FROM scratch\nADD " + server.URL + "/f[1] /t/"
		l.has(l.build(text), "755 0:0 t/", "600 0:0 t/f[1] = hello")
		l.build(text)
		if _, cached := l.steps(); cached != 1 || asked != 2 || full != 1 {
			l.Errorf("%d cached, asked %d times, sent %d times", cached, asked, full)
		}
		content = "other"
		l.has(l.build(text), "755 0:0 t/", "600 0:0 t/f[1] = other")
		sum := digest.FromString("other").String()
		l.has(l.build("FROM scratch\nADD --checksum="+sum+" --chmod=755 "+server.URL+"/f /x"), "755 0:0 x = other")
		before := asked
		l.build("FROM scratch\nADD --checksum=" + sum + " --chmod=755 " + server.URL + "/f /x")
		if asked != before {
			l.Error("a file with a checksum was asked for again")
		}
		content = "third"
		if err := l.fails("FROM scratch\nADD --checksum="+sum+" "+server.URL+"/g /x", func(s *Spec) { s.NoCache = true }); !strings.Contains(err.Error(), "does not have the checksum") {
			l.Error(err)
		}
		if err := l.fails("FROM scratch\nADD " + server.URL + "/missing /x"); !strings.Contains(err.Error(), "404 Not Found") {
			l.Error(err)
		}
		server.Config.SetKeepAlivesEnabled(false)
		http.DefaultClient.CloseIdleConnections()
	})
}
