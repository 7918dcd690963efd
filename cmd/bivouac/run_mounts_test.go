package main

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/bivouac-run/bivouac/sandbox"
)

// mountCase is a text of a flag and what it means, or parts of the error.
type mountCase struct {
	text string
	want sandbox.Mount
	err  []string
}

func checkMounts(t *testing.T, flag string, parse func(string) (sandbox.Mount, error), cases []mountCase) {
	t.Helper()
	for _, test := range cases {
		got, err := parse(test.text)
		if test.err == nil && (err != nil || got != test.want) {
			t.Errorf("%s %q: got %+v, %v", flag, test.text, got, err)
		}
		if test.err == nil {
			continue
		}
		if err == nil {
			t.Errorf("%s %q: became %+v", flag, test.text, got)
			continue
		}
		for _, part := range append(test.err, flag) {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s %q: %q does not contain %q", flag, test.text, err, part)
			}
		}
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func TestParseVolume(t *testing.T) {
	bind := func(source, target string) sandbox.Mount {
		return sandbox.Mount{Type: sandbox.MountBind, Source: source, Target: target}
	}
	volume := func(source, target string) sandbox.Mount {
		return sandbox.Mount{Type: sandbox.MountVolume, Source: source, Target: target}
	}
	readOnly := bind("/a", "/b")
	readOnly.ReadOnly = true
	slave := readOnly
	slave.Propagation = "rslave"
	checkMounts(t, "--volume", parseVolume, []mountCase{
		{text: "/a:/b", want: bind("/a", "/b")},
		{text: "/a:/b:ro", want: readOnly},
		{text: "/a:/b:readonly", want: readOnly},
		{text: "/a:/b:rw", want: bind("/a", "/b")},
		{text: "/a:/b:ro,rw", want: bind("/a", "/b")},
		{text: "/a:/b:ro,rslave", want: slave},
		{text: "/a:/b:cached", want: bind("/a", "/b")},
		{text: "/a:/b:ro,delegated", want: readOnly},
		{text: "data:/b:cached", err: []string{`"cached"`, "of a volume"}},
		{text: "/a/../c//d/:/b", want: bind("/c/d", "/b")},
		{text: "/with space,and=comma:/b", want: bind("/with space,and=comma", "/b")},
		{text: ".:/b", want: bind(absolute(t, "."), "/b")},
		{text: "./x:/b", want: bind(absolute(t, "x"), "/b")},
		{text: "..:/b", want: bind(absolute(t, ".."), "/b")},
		{text: "data:/b", want: volume("data", "/b")},
		{text: "/a", want: volume("", "/a")},
		{text: "data:/b:ro,nocopy", want: sandbox.Mount{Type: sandbox.MountVolume, Source: "data", Target: "/b", ReadOnly: true, NoCopy: true}},
		{text: "data:/b:rslave", err: []string{`"rslave"`, "of a volume", "nocopy"}},
		{text: "/a:/b:nocopy", err: []string{`"nocopy"`}},
		{text: "data:/b:Z", err: []string{"SELinux"}},
		{text: "", err: []string{"[SOURCE:]TARGET"}},
		{text: ":/b", err: []string{"[SOURCE:]TARGET"}},
		{text: "/a:/b:ro:rw", err: []string{"[SOURCE:]TARGET"}},
		{text: "/a:/b:", err: []string{`unknown option ""`}},
		{text: "/a:/b:rw,", err: []string{`unknown option ""`}},
		{text: "/a:/b:fast", err: []string{`"fast"`, "ro, rw"}},
		{text: "/a:/b:shared", err: []string{`"shared"`}},
		{text: "/a:/b:z", err: []string{"SELinux", "leave it out"}},
	})
}

func TestParseMount(t *testing.T) {
	bind := sandbox.Mount{Type: sandbox.MountBind, Source: "/a", Target: "/b"}
	readOnly, slave, odd := bind, bind, bind
	readOnly.ReadOnly = true
	slave.Propagation = "slave"
	odd.Source, odd.Target = "/a,b", `/with "quotes"`
	memory := sandbox.Mount{Type: sandbox.MountTmpfs, Target: "/t"}
	small := memory
	small.Size, small.Mode, small.ReadOnly = 1<<20, 0o700, true
	checkMounts(t, "--mount", parseMount, []mountCase{
		{text: "type=bind,source=/a,target=/b", want: bind},
		{text: "source=/a,target=/b", want: bind},
		{text: "src=/a,dst=/b", want: bind},
		{text: "SRC=/a,Destination=/b,Type=bind", want: bind},
		{text: "src=/a,dst=/b,readonly", want: readOnly},
		{text: "src=/a,dst=/b,ro", want: readOnly},
		{text: "src=/a,dst=/b,readonly=true", want: readOnly},
		{text: "src=/a,dst=/b,ro=1", want: readOnly},
		{text: "src=/a,dst=/b,readonly=false", want: bind},
		{text: "src=/a,dst=/b,bind-propagation=slave", want: slave},
		{text: "type=bind,src=/a,dst=/b,consistency=cached", want: bind},
		{text: "src=/a,dst=/b,consistency=none", err: []string{`"none"`, "cached"}},
		{text: `"src=/a,b","dst=/with ""quotes"""`, want: odd},
		{text: "type=tmpfs,dst=/t", want: memory},
		{text: "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700,ro", want: small},
		{text: "type=bind,src=rel,dst=/b", want: sandbox.Mount{Type: sandbox.MountBind, Source: absolute(t, "rel"), Target: "/b"}},
		{text: "src=rel,dst=/b", want: sandbox.Mount{Type: sandbox.MountVolume, Source: "rel", Target: "/b"}},
		{text: "dst=/b", want: sandbox.Mount{Type: sandbox.MountVolume, Target: "/b"}},
		{text: "type=volume,src=x,dst=/b,volume-nocopy,ro", want: sandbox.Mount{Type: sandbox.MountVolume, Source: "x", Target: "/b", NoCopy: true, ReadOnly: true}},
		{text: "", err: []string{""}},
		{text: "src=/a", err: []string{"needs source and target"}},
		{text: "type=bind,dst=/b", err: []string{"needs source and target"}},
		{text: "type=tmpfs", err: []string{"a tmpfs a target alone"}},
		{text: "type=tmpfs,src=/a,dst=/t", err: []string{"a tmpfs a target alone"}},
		{text: "type=volume,src=/x,dst=/b", err: []string{"no slash", "type=bind"}},
		{text: "type=volume,src=x,dst=/b,tmpfs-size=1m", err: []string{"only a tmpfs"}},
		{text: "type=image,src=x,dst=/b", err: []string{`"image"`, "bind, tmpfs, volume"}},
		{text: "type=,src=/a,dst=/b", err: []string{"bind, tmpfs"}},
		{text: "src=/a,dst=/b,readonly=perhaps", err: []string{"perhaps"}},
		{text: "src=/a,dst=/b,bind-propagation=shared", err: []string{`"shared"`}},
		{text: "src=/a,dst=/b,volume-nocopy", err: []string{"volume-nocopy"}},
		{text: "src=/a,dst=/b,", err: []string{`unknown key ""`}},
		{text: "/a:/b", err: []string{`unknown key "/a:/b"`}},
		{text: "type=tmpfs,dst=/t,tmpfs-size=big", err: []string{"tmpfs-size", "512m"}},
		{text: "type=tmpfs,dst=/t,tmpfs-mode=9", err: []string{"octal"}},
		{text: `src="/a,dst=/b`, err: []string{""}},
	})
}

func TestParseTmpfs(t *testing.T) {
	plain := sandbox.Mount{Type: sandbox.MountTmpfs, Target: "/t"}
	full := plain
	full.Size, full.Mode, full.Exec, full.ReadOnly = 64<<10, 0o1770, true, true
	checkMounts(t, "--tmpfs", parseTmpfs, []mountCase{
		{text: "/t", want: plain},
		{text: "/t:rw,noexec,nosuid,nodev", want: plain},
		{text: "/t:size=64k,mode=1770,exec,ro", want: full},
		{text: "/t:", err: []string{`unknown option ""`}},
		{text: "/t:size=-1", err: []string{"size"}},
		{text: "/t:size=lots", err: []string{`"lots"`, "512m"}},
		{text: "/t:mode=", err: []string{"octal"}},
		{text: "/t:mode=u+x", err: []string{"octal"}},
		{text: "/t:mode=17777", err: []string{"octal"}},
		{text: "/t:uid=1000", err: []string{`unknown option "uid=1000"`, "size, mode, exec, ro"}},
		{text: "/t:suid", err: []string{`unknown option "suid"`}},
		{text: "/t:size=1m:ro", err: []string{"size"}},
	})
}

func TestMountsKeepTheirOrder(t *testing.T) {
	got := mustParseRun(t, "--tmpfs", "/3", "--mount", "src=/a,dst=/2", "-v", "/a:/0", "-v", "/a:/1", "alpine").Mounts
	for i, m := range got {
		if want := []string{"/0", "/1", "/2", "/3"}[i]; m.Target != want {
			t.Errorf("mount %d is on %s", i, m.Target)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d mounts", len(got))
	}
	refuseRun(t, []string{"-v", "/a:/b", "--tmpfs", "/t:x", "alpine"}, "--tmpfs")
}

// saneMount asserts what holds for every mount that was accepted, and one line of text for every other.
func saneMount(t *testing.T, text string, m sandbox.Mount, err error) {
	if err != nil {
		if strings.ContainsFunc(complaint(err), unicode.IsControl) {
			t.Errorf("%q: %q is not one line", text, err)
		}
		return
	}
	bind, tmpfs, volume := m.Type == sandbox.MountBind, m.Type == sandbox.MountTmpfs, m.Type == sandbox.MountVolume
	switch {
	case bind && !filepath.IsAbs(m.Source), tmpfs && m.Source != "", volume && filepath.IsAbs(m.Source), !bind && !tmpfs && !volume:
		t.Errorf("%q: %s from %q", text, m.Type, m.Source)
	case m.Size < 0 || m.Mode > 0o7777:
		t.Errorf("%q: size %d, mode %o", text, m.Size, m.Mode)
	}
}

func FuzzParseVolume(f *testing.F) {
	for _, seed := range []string{"", ":", "::", "/a:/b:ro", ".:/b:rslave,ro", "~:/b", "name:/b", "/b", "name:/b:nocopy,ro"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseVolume(text)
		saneMount(t, text, m, err)
		if err != nil {
			return
		}
		option := map[bool]string{true: "ro", false: "rw"}[m.ReadOnly]
		if m.Propagation != "" {
			option += "," + m.Propagation
		}
		if m.NoCopy {
			option += ",nocopy"
		}
		written := m.Source + ":" + m.Target + ":" + option
		if m.Source == "" {
			written = m.Target
		}
		again, err := parseVolume(written)
		if err != nil || again != m {
			t.Errorf("%q: %+v read again is %+v, %v", text, m, again, err)
		}
	})
}

func FuzzParseMount(f *testing.F) {
	for _, seed := range []string{"", "src=/a,dst=/b,ro", `"src=/a,b",dst=/b`, "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700", "src=,dst=/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMount(text)
		saneMount(t, text, m, err)
		if err == nil && m.Target == "" {
			t.Errorf("%q: %+v has no target", text, m)
		}
	})
}

func FuzzParseTmpfs(f *testing.F) {
	for _, seed := range []string{"", "/t", "/t:size=1m,mode=700,exec,ro", "/t:size=1e3g", "/t:,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseTmpfs(text)
		saneMount(t, text, m, err)
		if err == nil && m.Target != strings.SplitN(text, ":", 2)[0] {
			t.Errorf("%q: the target is %q", text, m.Target)
		}
	})
}
