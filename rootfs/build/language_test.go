package build

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/rootfs"
)

// contextFiles are what the tables copy from.
func contextFiles(l *lab) {
	l.files("a", "A", "b", "B", "d/c", "C", "d/sub/e", "E", "d/link", "->c", "dlink", "->d", "alink", "->a", ".dockerignore", "ign\n!ign/k\n",
		"ign/i", "I", "ign/k", "K", "sp ace", "S", "up", "->../../../../etc/passwd")
}

const head = "FROM scratch\n"

func TestCopy(t *testing.T) {
	etc := "COPY <<EOF /etc/passwd\nroot:x:0:0::/:\nann:x:5:6::/:\nEOF\nCOPY <<EOF /etc/group\nstaff:x:9:\nEOF\n"
	shown := []string{"755 0:0 etc/", `644 0:0 etc/passwd = root:x:0:0::/:\nann:x:5:6::/:\n`, `644 0:0 etc/group = staff:x:9:\n`}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"file to directory", "COPY a /t/", []string{"755 0:0 t/", "644 0:0 t/a = A"}},
		{"file to file", "COPY a /t/x", []string{"755 0:0 t/", "644 0:0 t/x = A"}},
		{"file to root", "COPY a /", []string{"644 0:0 a = A"}},
		{"file into what is there", "WORKDIR /t\nCOPY a /t", []string{"755 0:0 t/", "644 0:0 t/a = A"}},
		{"directory", "COPY d /t", []string{"755 0:0 t/", "644 0:0 t/c = C", "755 0:0 t/sub/", "644 0:0 t/sub/e = E", "777 0:0 t/link -> c"}},
		{"directory by symlink", "COPY dlink /t/", []string{"755 0:0 t/", "644 0:0 t/c = C", "755 0:0 t/sub/", "644 0:0 t/sub/e = E",
			"777 0:0 t/link -> c"}},
		{"file by symlink", "COPY alink /t/", []string{"755 0:0 t/", "644 0:0 t/alink = A"}},
		{"wildcard", "COPY ? /t/", []string{"755 0:0 t/", "644 0:0 t/a = A", "644 0:0 t/b = B", "644 0:0 t/c = C", "755 0:0 t/sub/",
			"644 0:0 t/sub/e = E", "777 0:0 t/link -> c"}},
		{"wildcard in a directory", "COPY */c /t/", []string{"755 0:0 t/", "644 0:0 t/c = C"}},
		{"list form", `COPY ["sp ace", "/t/"]`, []string{"755 0:0 t/", "644 0:0 t/sp ace = S"}},
		{"ignored", "COPY ign /t", []string{"755 0:0 t/", "644 0:0 t/k = K"}},
		{"relative", "WORKDIR /w/x\nCOPY a ../y/", []string{"755 0:0 w/", "755 0:0 w/x/", "755 0:0 w/y/", "644 0:0 w/y/a = A"}},
		{"owner", "COPY --chown=7:8 d/sub /t/n", []string{"755 7:8 t/", "755 7:8 t/n/", "644 7:8 t/n/e = E"}},
		{"owner by number alone", "COPY --chown=7 a /", []string{"644 7:7 a = A"}},
		{"owner by name", etc + "COPY --chown=ann a /", append([]string{"644 5:6 a = A"}, shown...)},
		{"owner and group by name", etc + "COPY --chown=ann:staff a /", append([]string{"644 5:9 a = A"}, shown...)},
		{"mode", "COPY --chmod=4711 a /", []string{"4711 0:0 a = A"}},
		{"mode in words", "COPY --chmod=u=rwx,go= d/sub /t/", []string{"755 0:0 t/", "700 0:0 t/e = E"}},
		{"exclude", "COPY --exclude=sub --exclude=l* d /t/", []string{"755 0:0 t/", "644 0:0 t/c = C"}},
		{"exclude of a wildcard's", "COPY --exclude=a --exclude=d ? /t/", []string{"755 0:0 t/", "644 0:0 t/b = B"}},
		{"parents", "COPY --parents d/sub/e a /t/", []string{"755 0:0 t/", "644 0:0 t/a = A", "755 0:0 t/d/", "755 0:0 t/d/sub/", "644 0:0 t/d/sub/e = E"}},
		{"parents from a pivot", "COPY --parents d/./sub/e /t/", []string{"755 0:0 t/", "755 0:0 t/sub/", "644 0:0 t/sub/e = E"}},
		{"parents by pattern", "COPY --parents **/e /t/", []string{"755 0:0 t/", "755 0:0 t/d/", "755 0:0 t/d/sub/", "644 0:0 t/d/sub/e = E"}},
		{"link", "WORKDIR /t\nCOPY --link a b /t/", []string{"755 0:0 t/", "644 0:0 t/a = A", "644 0:0 t/b = B"}},
		{"link keeps directories as they are", "COPY --chmod=1777 d/sub /t\nRUN rm /t/e\nCOPY --chmod=711 d /t/x\nCOPY --link a /t/x/",
			[]string{"1777 0:0 t/", "711 0:0 t/x/", "711 0:0 t/x/c = C", "777 0:0 t/x/link -> c", "711 0:0 t/x/sub/", "711 0:0 t/x/sub/e = E",
				"644 0:0 t/x/a = A"}},

		{"heredocs", "COPY <<x <<\"y\" /t/\n$PATH-$A\nx\n$A\ny\n", []string{"755 0:0 t/",
			`644 0:0 t/x = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin-\n`, `644 0:0 t/y = $A\n`}},
		{"variables", "ARG F=a\nENV T=/t\nCOPY $F ${T}/${F}x", []string{"755 0:0 t/", "644 0:0 t/ax = A"}},
		{"dot dot stays in", "COPY ../../a /", []string{"644 0:0 a = A"}},
		{"file over file", "COPY a /x\nCOPY b /x", []string{"644 0:0 x = B"}},
		{"nothing matches", "COPY a nope* /t/", []string{"755 0:0 t/", "644 0:0 t/a = A"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				contextFiles(l)

				l.has(l.build(head+c.text), c.want...)
				if l.worker.open != 0 {
					l.Errorf("%d mounts are left", l.worker.open)
				}
			})
		})
	}
}

func TestCopyFails(t *testing.T) {
	inOneLab(t, func(l *lab) {
		contextFiles(l)
		for text, want := range map[string]string{
			"COPY nope /t/":                                   "not in the context",
			"COPY ign/i /t/":                                  "ignore file leaves it out",
			"COPY up /t/":                                     "not in the context",
			"COPY a b /t":                                     "must be a directory and end with a /",
			"COPY --chmod=9 a /":                              "read --chmod=9",
			"COPY --chmod=77777 a /":                          "read --chmod=77777",
			"COPY --chown=nobody a /":                         `unknown user "nobody"`,
			"COPY --chown=0:nobody a /":                       `unknown group "nobody"`,
			"COPY d /t/c/\nCOPY d /t\n":                       "cannot replace directory c with a file",
			"COPY a /t/sub\nCOPY d /t\n":                      "cannot copy a directory to sub",
			"COPY a /t\nCOPY a /t/":                           "there is a file of that name",
			"COPY http://127.0.0.1:1/x /":                     "a source can be a URL for ADD alone",
			"ADD https://github.com/a/b.git /":                "git repositories are not supported",
			"ADD git@github.com:a/b /":                        "git repositories are not supported",
			"ADD --checksum=sha256:00 a /":                    "--checksum is for a single source",
			"ADD --checksum=sha256:00 http://127.0.0.1:1/x /": "read --checksum",
			"ADD http://127.0.0.1:1/x /":                      "connection refused",
			"COPY --from=$X a /":                              "variable expansion is not supported for --from",
			"COPY --from=3 a /":                               "invalid stage index 3",
			"COPY [a /":                                       "read pattern",
		} {
			err := l.fails(head + text)
			if !strings.Contains(err.Error(), want) {
				l.Errorf("%s\n%v\nwant: %s", text, err, want)
			}
			if !strings.Contains(excerptOf(err), ">>> ") {
				l.Errorf("%s: excerpt %q", text, excerptOf(err))
			}
		}
	})
}

// config builds and returns the configuration.
func (l *lab) config(text string, change ...func(*Spec)) dockerspec.DockerOCIImage {
	l.Helper()
	var c dockerspec.DockerOCIImage
	must(l, json.Unmarshal(l.build(text, change...).RawConfig, &c))
	return c
}

func TestConfiguration(t *testing.T) {
	path := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	inOneLab(t, func(l *lab) {
		for text, want := range map[string]string{
			"ENV A=1 B=\"x y\"\nENV C=$A-${D:-d}": `{"Env":["` + path + `","A=1","B=x y","C=1-d"],"WorkingDir":"/"}`,
			"ENV A hello  world":                  `{"Env":["` + path + `","A=hello  world"],"WorkingDir":"/"}`,
			"CMD a b":                             `{"Env":["` + path + `"],"Cmd":["/bin/sh","-c","a b"],"WorkingDir":"/"}`,
			"CMD [\"a\"]\nENTRYPOINT [\"e\"]":     `{"Env":["` + path + `"],"Entrypoint":["e"],"Cmd":["a"],"WorkingDir":"/"}`,
			"SHELL [\"/x\",\"-q\"]\nENTRYPOINT e": `{"Env":["` + path + `"],"Entrypoint":["/x","-q","e"],"WorkingDir":"/","Shell":["/x","-q"]}`,
			"ARG P=80-81\nEXPOSE $P ${Q:-9}/udp":  `{"ExposedPorts":{"80/tcp":{},"81/tcp":{},"9/udp":{}},"Env":["` + path + `"],"WorkingDir":"/"}`,
			"EXPOSE 80 81/udp 90-91":              `{"ExposedPorts":{"80/tcp":{},"81/udp":{},"90/tcp":{},"91/tcp":{}},"Env":["` + path + `"],"WorkingDir":"/"}`,
			"VOLUME /a [\nVOLUME [\"/b\"]":        `{"Env":["` + path + `"],"Volumes":{"/a":{},"/b":{},"[":{}},"WorkingDir":"/"}`,
			"USER 5:6\nSTOPSIGNAL SIGINT":         `{"User":"5:6","Env":["` + path + `"],"WorkingDir":"/","StopSignal":"SIGINT"}`,
			"LABEL a=1 \"b c\"=2\nLABEL a=3":      `{"Env":["` + path + `"],"WorkingDir":"/","Labels":{"a":"3","b c":"2"}}`,
			"HEALTHCHECK --interval=1s CMD x":     `{"Env":["` + path + `"],"WorkingDir":"/","Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":1000000000}}`,
			"HEALTHCHECK NONE":                    `{"Env":["` + path + `"],"WorkingDir":"/","Healthcheck":{"Test":["NONE"]}}`,
			"ONBUILD RUN x\nONBUILD ENV a=b":      `{"Env":["` + path + `"],"WorkingDir":"/","OnBuild":["RUN x","ENV a=b"]}`,
			"WORKDIR /a\nWORKDIR b/../c\n":        `{"Env":["` + path + `"],"WorkingDir":"/a/c"}`,
			"ARG A=1\nENV B=$A":                   `{"Env":["` + path + `","B=1"],"WorkingDir":"/"}`,
		} {
			got, err := marshal(l.config(head + text).Config)
			must(l, err)
			if string(got) != want {
				l.Errorf("%s\n%s\nwant:\n%s", text, got, want)
			}
		}
	})
}

func TestHistory(t *testing.T) {
	inOneLab(t, func(l *lab) {
		c := l.config(head+"MAINTAINER me\nARG A=1\nENV B=2\nRUN write /x y\nRUN true\nCMD z", func(s *Spec) { s.Labels = map[string]string{"l": "m"} })
		var got []string
		for _, h := range c.History {
			text := h.CreatedBy
			if h.EmptyLayer {
				text = "- " + text
			}
			if h.Created == nil {
				l.Errorf("%s has no time", text)
			}
			got = append(got, text)
		}
		want := []string{"- MAINTAINER me", "- ARG A=1", "- ENV B=2", "RUN |1 A=1 /bin/sh -c write /x y", "- RUN |1 A=1 /bin/sh -c true",
			`- CMD ["/bin/sh" "-c" "z"]`}
		if !slices.Equal(got, want) || c.Author != "me" || c.Config.Labels["l"] != "m" {
			l.Errorf("%q %q %v", got, c.Author, c.Config.Labels)
		}
	})
}

func TestArguments(t *testing.T) {
	inOneLab(t, func(l *lab) {
		for _, c := range []struct{ text, want string }{
			{"FROM scratch\nARG A=1\nRUN env A", "1"},
			{"FROM scratch\nARG G=1\nRUN env G", "given"},
			{"FROM scratch\nARG G\nRUN env G", "given"},
			{"ARG A=glob\nFROM scratch\nARG A\nRUN env A", "glob"},
			{"ARG A=glob\nFROM scratch\nRUN env A", ""},
			{"ARG A=glob\nFROM scratch\nARG A=own\nRUN env A", "own"},
			{"ARG A=1\nARG B=$A-2\nFROM scratch\nARG B\nRUN env B", "1-2"},
			{"FROM scratch\nARG A=1\nARG B=${A}2\nRUN env B", "12"},
			{"FROM scratch\nENV A=env\nARG A=arg\nRUN env A", "arg"},
			{"FROM scratch\nARG A=arg\nENV A=env\nRUN env A", "env"},
			{"FROM scratch\nRUN env HTTP_PROXY", "p"},
			{"FROM scratch\nARG TARGETOS\nRUN env TARGETOS", "linux"},
			{"FROM scratch\nRUN env TARGETOS", ""},
			{"ARG V=two\nFROM scratch AS one\nENV X=1\nFROM scratch AS two\nENV X=2\nFROM $V\nRUN env X", "2"},
			{"FROM scratch AS a\nARG A=1\nFROM a\nRUN env A", "1"},
			{"# escape=`\nFROM scratch\nENV A=x`\n y=z\nRUN env A", "x"},
			{"FROM scratch\nENV A='$PATH' B=\"\\$C\"\nRUN env A && env B", "$PATH\n\n$C"},
		} {
			l.build(c.text, args("G", "given", "HTTP_PROXY", "p"), func(s *Spec) { s.NoCache = true })
			if got := strings.TrimSpace(l.text(EventLog)); got != c.want {
				l.Errorf("%s\n%q, want %q", c.text, got, c.want)
			}
		}
		l.build("FROM scratch\nARG A\n", args("A", "1", "B", "2", "http_proxy", "3"))
		if got := l.text(EventWarning); !strings.Contains(got, "build argument B is not used") || strings.Count(got, "\n") != 1 {
			l.Errorf("%q", got)
		}
	})
}

func TestStages(t *testing.T) {
	inLab(t, func(l *lab) {
		l.files("a", "A")
		text := `FROM scratch AS one
		COPY --chown=3:4 a /x/a
		FROM scratch AS unused
		RUN fail 9
		FROM one AS two
		RUN write /x/b B
		FROM scratch
		COPY --from=two /x /t
		COPY --from=0 /x/a /t/c`
		l.has(l.build(text), "755 0:0 t/", "644 3:4 t/a = A", "644 0:0 t/b = B", "644 3:4 t/c = A")
		l.has(l.build(text, func(s *Spec) { s.Target = "ONE" }), "755 3:4 x/", "644 3:4 x/a = A")
		l.has(l.build(text, func(s *Spec) { s.Target = "2" }), "755 3:4 x/", "644 3:4 x/a = A", "644 0:0 x/b = B")
		if err := l.fails(text, func(s *Spec) { s.Target = "too" }); !strings.Contains(err.Error(), "did you mean two?") {
			l.Error(err)
		}
		if err := l.fails(text, func(s *Spec) { s.Target = "unused" }); !strings.Contains(err.Error(), "exit code: 9") {
			l.Error(err)
		}
		for text, want := range map[string]string{
			"FROM scratch\nCOPY --from=later /x /\nFROM scratch AS later": "needs to be defined before",
			"FROM scratch AS me\nCOPY --from=me /x /":                     "needs to be defined before",
			"FROM missing:1": "the image is not in the store",
			"FROM $NOPE":     "base name should not be blank",
			"FROM scratch\nRUN --mount=from=later,target=/x true\nFROM scratch AS later": "needs to be defined before",
		} {
			if err := l.fails(text, func(s *Spec) { s.Target = "0" }); !strings.Contains(err.Error(), want) {
				l.Errorf("%s: %v", text, err)
			}
		}
	})
}

func TestOnBuild(t *testing.T) {
	inOneLab(t, func(l *lab) {
		l.files("a", "A")
		l.build("FROM scratch\nCOPY a /s/\n", named("tools"))
		l.build("FROM scratch\nONBUILD COPY a /t/\nONBUILD COPY --from=tools /s/a /t/s\nONBUILD ENV X=1\nONBUILD RUN append /t/a $X\n", named("parent"))
		l.has(l.build("FROM parent\nRUN append /t/a x"), "755 0:0 t/", "644 0:0 t/a = A$Xx", "644 0:0 t/s = A")
		c := l.config("FROM parent")
		if c.Config.OnBuild != nil || !slices.Contains(c.Config.Env, "X=1") {
			l.Errorf("%+v", c.Config)
		}
		l.has(l.build("FROM scratch AS one\nONBUILD COPY a /x\nFROM one"), "644 0:0 x = A")
		l.build("FROM scratch\nONBUILD COPY nope\n", named("bad"))
		if err := l.fails("FROM bad"); !strings.Contains(err.Error(), `Dockerfile:1: ONBUILD of bad: read "COPY nope"`) {
			l.Error(err)
		}
	})
}

func TestRun(t *testing.T) {
	inLab(t, func(l *lab) {
		l.build(head + "WORKDIR /w\nUSER 7:8\nENV A=1\nRUN print hi\nRUN [\"x\", \"true\"]\nSHELL [\"/sh\"]\nRUN --network=none true")
		ran := l.worker.ran
		if len(ran) != 3 || ran[0].Dir != "/w" || ran[0].User != "7:8" || !slices.Equal(ran[0].Args, []string{"/bin/sh", "-c", "print hi"}) ||
			!slices.Equal(ran[1].Args, []string{"x", "true"}) || !slices.Equal(ran[2].Args, []string{"/sh", "true"}) || ran[2].Network != "none" {
			l.Errorf("%+v", ran)
		}
		if l.text(EventLog) != "hi\n\n" {
			l.Errorf("%q", l.text(EventLog))
		}
		img := l.build(head+"RUN <<EOF\nwrite /x y\nEOF\nRUN mkdir /d && write /d/x 1 && rm /d", func(s *Spec) { s.Loose = true })
		if img.Digest != "" || len(img.Layers) != 1 {
			l.Errorf("%+v", img)
		}
		l.build(head + "RUN <<EOF\n#!/bin/true\nEOF")
		if m := l.worker.ran[0].Mounts; len(m) != 1 || m[0].Target != "/dev/pipes" || l.worker.ran[0].Args[0] != "/dev/pipes/EOF" {
			l.Errorf("%+v", l.worker.ran[0])
		}
		err := l.fails("FROM scratch\n\nRUN true\nRUN fail 3\nCMD x")
		if err.Error() != `Dockerfile:4: process "/bin/sh -c fail 3" did not complete successfully: exit code: 3` ||
			excerptOf(err) != "   2 |     \n   3 |     RUN true\n   4 | >>> RUN fail 3\n   5 |     CMD x\n" || l.count(EventFailed) != 1 {
			l.Errorf("%v\n%s%v", err, excerptOf(err), l.events)
		}
	})
}

func TestSquash(t *testing.T) {
	inLab(t, func(l *lab) {
		l.files("a", "A", "d/b", "B", "d/c", "C")
		base := l.build("FROM scratch\nCOPY d /d\nCOPY d /gone\nCOPY a /file\nCOPY d /dir", named("base"))
		text := "FROM base\nRUN rm /gone\nRUN write /x 1\nRUN rm /x && write /d/b new\nRUN rm /dir && mkdir /dir && write /dir/n N\nCOPY --chown=5:5 a /file"
		plain := l.build(text)
		squashed := l.build(text, func(s *Spec) { s.Squash = true })
		if got, want := l.tree(squashed), l.tree(plain); got != want {
			l.Errorf("%s\nwant:\n%s", got, want)
		}
		if n := len(squashed.Config.RootFS.DiffIDs) - len(base.Config.RootFS.DiffIDs); n != 1 {
			l.Errorf("%d layers more than the base", n)
		}
		empty := 0
		for _, h := range squashed.Config.History {
			if !h.EmptyLayer {
				empty++
			}
		}
		if empty != len(squashed.Config.RootFS.DiffIDs) {
			l.Errorf("%+v", squashed.Config.History)
		}
	})
}

func TestContexts(t *testing.T) {
	inOneLab(t, func(l *lab) {
		l.files("Dockerfile", "FROM scratch\nCOPY . /\n", "a", "A", ".dockerignore", "Docker*\n.d*\n", "sub/Other", "FROM scratch\nCOPY a /o\n",
			"sub/Other.dockerignore", "b\n")
		useFile := func(name string) func(*Spec) { return func(s *Spec) { s.Text, s.Dockerfile = "", name } }
		l.has(l.build("", useFile("")), "644 0:0 a = A", "755 0:0 sub/", `644 0:0 sub/Other = FROM scratch\nCOPY a /o\n`,
			`644 0:0 sub/Other.dockerignore = b\n`)
		l.has(l.build("", useFile("sub/Other")), "644 0:0 o = A")
		if err := l.fails("", useFile("sub/None")); !errorsIs(err, rootfs.NotFound) {
			l.Error(err)
		}
		other := l.dir + "-other"
		first := l.dir
		l.dir = other
		l.files("a", "other")
		l.dir = first
		l.build("FROM scratch\nCOPY a /i\n", named("img"))
		with := func(s *Spec) {
			s.Contexts = map[string]string{"more": other, "base": "docker-image://img", "alias": "one"}
		}
		l.has(l.build("FROM base AS one\nFROM base\nCOPY --from=more a /\nCOPY --from=alias i /j", with), "644 0:0 i = A", "644 0:0 a = other",
			"644 0:0 j = A")
		if err := l.fails("FROM more", with); !strings.Contains(err.Error(), "FROM needs an image") {
			l.Error(err)
		}
		if err := l.fails("FROM scratch", func(s *Spec) { s.Context = "/nope" }); !errorsIs(err, rootfs.NotFound) {
			l.Error(err)
		}
		l.has(l.build("FROM scratch\nRUN write /x y", func(s *Spec) { s.Context = "" }), "644 0:0 x = y")
	})
}

func TestPlatform(t *testing.T) {
	inOneLab(t, func(l *lab) {
		c := l.config("FROM scratch\nARG TARGETARCH\nARG TARGETVARIANT\nENV X=$TARGETARCH$TARGETVARIANT", func(s *Spec) { s.Platform = "linux/arm/v7" })
		if c.Architecture != "arm" || c.Variant != "v7" || !slices.Contains(c.Config.Env, "X=armv7") {
			l.Errorf("%+v", c)
		}
		if err := l.fails("FROM scratch", func(s *Spec) { s.Platform = "a/b/c/d" }); !errorsIs(err, rootfs.NoPlatform) {
			l.Error(err)
		}
		if err := l.fails("FROM --platform=$NOPE scratch"); !strings.Contains(err.Error(), "read platform") {
			l.Error(err)
		}
	})
}

func TestReproducible(t *testing.T) {
	inLab(t, func(l *lab) {
		contextFiles(l)
		epoch := int64(1000000000)
		reproducible := func(s *Spec) { s.SourceDateEpoch, s.NoCache, s.Platform = &epoch, true, "linux/amd64" }
		text := "FROM scratch\nCOPY --chown=5:6 d/sub /t/\nWORKDIR /w\nADD a /w/\nRUN write /w/x y && mkdir /w/z\nCOPY <<x /w/\ny\nx\nLABEL a=b"
		one := l.build(text, reproducible)
		two := l.build(text, reproducible)
		if one.Digest != two.Digest || one.Digest != reproduced {
			l.Errorf("%s, %s, want %s\n%s", one.Digest, two.Digest, reproduced, one.RawConfig)
		}
		if l.build(text, func(s *Spec) { s.NoCache = true }).Digest == one.Digest {
			l.Error("the epoch made no difference")
		}
	})
}

// reproduced is the manifest's digest of that image, whoever builds it, whenever and where.
const reproduced = digest.Digest("sha256:af66e79d007b92f73abbc2c9b3f163782fd83657aa930dc001a69732c0a7ef1e")
