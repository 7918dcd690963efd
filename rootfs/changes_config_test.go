package rootfs

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestChangeConfig(t *testing.T) {
	for _, c := range []struct {
		config  string
		changes []string
		want    string
	}{
		{``, nil, `{}`},
		{`{"X-other":[1]}`, []string{`CMD a b`}, `{"Cmd":["/bin/sh","-c","a b"],"X-other":[1]}`},
		{`{"Cmd":["x"]}`, []string{`ENTRYPOINT ["e"]`}, `{"Entrypoint":["e"]}`},
		{`{"Cmd":["x"]}`, []string{`CMD ["y"]`, `ENTRYPOINT ["e"]`}, `{"Cmd":["y"],"Entrypoint":["e"]}`},
		{`{"Env":["A=1","B=2"]}`, []string{`ENV A=$B C="x y"`}, `{"Env":["A=2","B=2","C=x y"]}`},
		{`{"Labels":{"a":"b"}}`, []string{`LABEL a=c d=e`}, `{"Labels":{"a":"c","d":"e"}}`},
		{`{"Env":["P=81"]}`, []string{`EXPOSE 80 $P/udp 90-91`}, `{"Env":["P=81"],"ExposedPorts":{"80/tcp":{},"81/udp":{},"90/tcp":{},"91/tcp":{}}}`},
		{`{"WorkingDir":"/a"}`, []string{`WORKDIR b`, `USER x`, `STOPSIGNAL INT`}, `{"StopSignal":"INT","User":"x","WorkingDir":"/a/b"}`},
		{``, []string{`VOLUME /a /b`, `SHELL ["/bin/bash"]`, `CMD x`}, `{"Cmd":["/bin/bash","x"],"Shell":["/bin/bash"],"Volumes":{"/a":{},"/b":{}}}`},
		{``, []string{`ONBUILD RUN x`}, `{"OnBuild":["RUN x"]}`},
		{`{"Env":["A","B=2"],"X":1}`, []string{`ENV A=1`, `EXPOSE 8080:80/UDP $A $NONE`}, `{"Env":["A=1","B=2"],"ExposedPorts":{"1/tcp":{},"80/udp":{}},"X":1}`},
		{`{"Healthcheck":{"Test":["CMD","x"],"Other":1}}`, []string{`USER 1`}, `{"Healthcheck":{"Test":["CMD","x"],"Other":1},"User":"1"}`},
		{`null`, []string{`CMD []`}, `{}`},
		{``, []string{`HEALTHCHECK NONE`}, `{"Healthcheck":{"Test":["NONE"]}}`},
	} {
		got, err := ChangeConfig(json.RawMessage(c.config), c.changes)
		if err != nil || string(got) != c.want {
			t.Errorf("%s with %q: %s, %v; want %s", c.config, c.changes, got, err, c.want)
		}
	}
}

func TestChangeConfigRefuses(t *testing.T) {
	for _, change := range []string{"", "RUN x", "FROM a", "COPY a b", "nonsense", "STOPSIGNAL x", `VOLUME "$NONE"`, "MAINTAINER x", "ARG a", "EXPOSE 1-0", "EXPOSE 80x", "CMD a\nCMD b", "ENV a", "USER"} {
		if _, err := ChangeConfig(nil, []string{change}); !errors.Is(err, BadChange) {
			t.Errorf("%q: %v", change, err)
		}
	}
	for _, config := range []string{"[", `{"Env":1}`} {
		if _, err := ChangeConfig(json.RawMessage(config), []string{"ENV a=b"}); !errors.Is(err, BadImage) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func FuzzChangeConfig(f *testing.F) {
	f.Add("ENV a=${b:-c}")
	f.Add(`HEALTHCHECK --interval=5s CMD x`)
	f.Fuzz(func(t *testing.T, change string) {
		out, err := ChangeConfig(json.RawMessage(`{"Env":["A=b"]}`), []string{change})
		if err == nil && !json.Valid(out) {
			t.Errorf("%q makes %s", change, out)
		}
	})
}
