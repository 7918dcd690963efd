package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// builder builds in a store and a context of its own.
type builder struct{ store, dir string }

// newBuilder returns one with an empty context. IMAGE in a Dockerfile stands for the registry's busybox, SLIM for its debian.
func newBuilder() *builder {
	return &builder{store: filepath.Join(scratchDir(), "store"), dir: GinkgoT().TempDir()}
}

func (b *builder) dockerfile(text string) string {
	return strings.NewReplacer("IMAGE", image("busybox:latest"), "SLIM", image("debian:slim")).Replace(text)
}

// files writes files of the context, by pairs of name and text.
func (b *builder) files(pairs ...string) {
	GinkgoHelper()
	for i := 0; i < len(pairs); i += 2 {
		path := filepath.Join(b.dir, pairs[i])
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(path, []byte(pairs[i+1]), 0o644)).To(Succeed())
	}
}

func (b *builder) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+b.store, "SOURCE_DATE_EPOCH=", "XDG_RUNTIME_DIR="+runtimeDir())
	return cmd
}

// runtimeDir is the user's, or none.
func runtimeDir() string { return os.Getenv("XDG_RUNTIME_DIR") }

// build builds what a Dockerfile says, and returns the session.
func (b *builder) build(dockerfile string, args ...string) *gexec.Session {
	GinkgoHelper()
	b.files("Dockerfile", b.dockerfile(dockerfile))
	return finish(b.command(append(append([]string{"build", "--progress", "plain"}, args...), ".")...))
}

// mustBuild builds, and returns what was shown.
func (b *builder) mustBuild(dockerfile string, args ...string) string {
	GinkgoHelper()
	session := b.build(dockerfile, args...)
	text := string(session.Err.Contents())
	Expect(session).To(gexec.Exit(0), text)
	return text
}

// run runs a command in an image that was built.
func (b *builder) run(args ...string) string {
	GinkgoHelper()
	session := finish(b.command(append([]string{"run", "--rm"}, args...)...))
	Expect(session).To(gexec.Exit(0), "%s\n%s", strings.Join(args, " "), session.Err.Contents())
	return strings.TrimSuffix(string(session.Out.Contents()), "\n")
}

// config returns the configuration of an image.
func (b *builder) config(name string) map[string]any {
	GinkgoHelper()
	session := finish(b.command("image", "inspect", name))
	Expect(session).To(gexec.Exit(0), string(session.Err.Contents()))
	var all []map[string]any
	Expect(json.Unmarshal(session.Out.Contents(), &all)).To(Succeed(), string(session.Out.Contents()))
	return all[0]["Config"].(map[string]any)
}

// cachedSteps returns the instructions of the steps that were not done again.
func cachedSteps(shown string) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^#\d+ \[.*\] (\w+) .*\n#\d+ CACHED$`).FindAllStringSubmatch(shown, -1) {
		list = append(list, m[1])
	}
	return list
}

// tidy asserts that no build has left anything that it worked on.
func (b *builder) tidy() {
	GinkgoHelper()
	Expect(filepath.Glob(filepath.Join(b.store, "build", "tmp", "*"))).To(BeEmpty(), "left by builds")
}

var _ = Describe("bivouac build", func() {
	var b *builder

	BeforeEach(func() {
		b = newBuilder()
		DeferCleanup(func() { b.tidy() })
	})

	It("runs all instructions and keeps what they say", func() {
		b.files("src/a.txt", "alpha\n", "src/deep/b.txt", "beta\n", "src/skip.log", "no\n", ".dockerignore", "**/*.log\n", "data.tar.txt", "x")
		b.mustBuild(`# syntax=docker/dockerfile:1
ARG BASE=IMAGE
FROM $BASE AS base
ARG VERSION=1
ENV VERSION=$VERSION GREETING="hello world"
LABEL org.example.version=$VERSION
WORKDIR /work/sub
COPY --chmod=640 --chown=1000:1000 src /src
RUN echo "$VERSION" > version && pwd > where
RUN <<EOT
set -e
echo one > /heredoc
echo two >> /heredoc
EOT
COPY <<FILE /written
$GREETING
FILE
SHELL ["/bin/sh", "-fc"]
RUN echo $- > /shell
USER 1000:1000
RUN id -u > /tmp/who
STOPSIGNAL SIGINT
EXPOSE 80 53/udp
VOLUME /data
HEALTHCHECK --interval=5s --retries=2 CMD true
ENTRYPOINT ["/bin/sh"]
CMD ["-c", "cat /work/sub/version"]
`, "-t", "all", "--build-arg", "VERSION=7", "--label", "extra=yes")
		Expect(b.run("all")).To(Equal("7"))
		Expect(b.run("--entrypoint", "", "-u", "0", "all", "sh", "-c", "cat /work/sub/where /heredoc /written /shell /tmp/who; find /src | sort; stat -c '%u:%g %a' /src/a.txt")).To(Equal(
			"/work/sub\none\ntwo\nhello world\ncf\n1000\n/src\n/src/a.txt\n/src/deep\n/src/deep/b.txt\n1000:1000 640"))
		config := b.config("all")
		Expect(config["Env"]).To(ContainElements("VERSION=7", "GREETING=hello world"))
		Expect(config["Labels"]).To(SatisfyAll(HaveKeyWithValue("org.example.version", "7"), HaveKeyWithValue("extra", "yes")))
		Expect(config["User"]).To(Equal("1000:1000"))
		Expect(config["StopSignal"]).To(Equal("SIGINT"))
		Expect(config["ExposedPorts"]).To(SatisfyAll(HaveKey("80/tcp"), HaveKey("53/udp")))
		Expect(config["Volumes"]).To(HaveKey("/data"))
		Expect(config["Healthcheck"]).To(HaveKeyWithValue("Test", ConsistOf("CMD-SHELL", "true")))
	})

	It("builds stages as they are needed, and a target", func() {
		const text = `FROM IMAGE AS one
RUN echo first > /one
FROM IMAGE AS never
RUN false
FROM IMAGE AS two
COPY --from=one /one /two
COPY --link --from=IMAGE /bin/busybox /copied
FROM scratch AS empty
COPY --from=two /two /only
FROM two
RUN cat /two
`
		Expect(b.mustBuild(text, "-t", "last")).NotTo(ContainSubstring("never"))
		Expect(b.run("last", "cat", "/two")).To(Equal("first"))
		b.mustBuild(text, "--target", "one", "-t", "one")
		Expect(b.run("one", "sh", "-c", "ls /one /two 2>/dev/null; true")).To(Equal("/one"))
		Expect(b.build(text, "--target", "never")).To(gexec.Exit(59))
		Expect(finish(b.command("build", "--target", "empty", "-o", "out", "."))).To(gexec.Exit(0))
		Expect(os.ReadFile(filepath.Join(b.dir, "out", "only"))).To(BeEquivalentTo("first\n"))
	})

	It("runs triggers of the base image", func() {
		b.mustBuild("FROM IMAGE\nONBUILD COPY mark /mark\nONBUILD RUN echo ran >> /mark\n", "-t", "localhost/trigger:1")
		b.files("mark", "copied\n")
		b.mustBuild("FROM localhost/trigger:1\nRUN cat /mark\n", "-t", "triggered")
		Expect(b.run("triggered", "cat", "/mark")).To(Equal("copied\nran"))
	})

	It("takes finished steps from its cache as long as their content is the same", func() {
		const text = "FROM IMAGE\nCOPY a /a\nRUN cat /a > /b; cat /proc/sys/kernel/random/uuid > /when\n"
		b.files("a", "1")
		b.mustBuild(text, "-t", "x")
		first := b.run("x", "cat", "/when")
		Expect(os.Chtimes(filepath.Join(b.dir, "a"), past, past)).To(Succeed())
		Expect(cachedSteps(b.mustBuild(text, "-t", "x"))).To(Equal([]string{"FROM", "COPY", "RUN"}))
		Expect(b.run("x", "cat", "/when")).To(Equal(first))
		b.files("a", "2")
		Expect(cachedSteps(b.mustBuild(text, "-t", "x"))).To(Equal([]string{"FROM"}))
		Expect(b.run("x", "cat", "/b")).To(Equal("2"))
		second := b.run("x", "cat", "/when")
		Expect(cachedSteps(b.mustBuild(text, "-t", "x", "--no-cache"))).To(Equal([]string{"FROM"}))
		Expect(b.run("x", "cat", "/when")).NotTo(Equal(second))
	})

	It("builds from archives and standard input", func() {
		cmd := b.command("build", "-q", "-t", "piped", "-")
		cmd.Stdin = strings.NewReader(b.dockerfile("FROM IMAGE\nRUN echo piped > /p\n"))
		session := finish(cmd)
		Expect(session).To(gexec.Exit(0), string(session.Err.Contents()))
		Expect(string(session.Out.Contents())).To(MatchRegexp(`^sha256:[0-9a-f]{64}\n$`))
		Expect(b.run("piped", "cat", "/p")).To(Equal("piped"))
		b.files("Dockerfile", b.dockerfile("FROM IMAGE\nCOPY f /f\n"), "f", "in the archive")
		out, err := exec.Command("tar", "-C", b.dir, "-czf", filepath.Join(b.dir, "c.tgz"), "Dockerfile", "f").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		archive, err := os.Open(filepath.Join(b.dir, "c.tgz"))
		Expect(err).NotTo(HaveOccurred())
		defer archive.Close()
		cmd = b.command("build", "-t", "archived", "-")
		cmd.Stdin = archive
		Expect(finish(cmd)).To(gexec.Exit(0))
		Expect(b.run("archived", "cat", "/f")).To(Equal("in the archive"))
	})

	It("installs packages and makes users, whoever builds", func() {
		b.mustBuild(`FROM SLIM
RUN groupadd -r -g 999 svc && useradd -r -g svc -u 999 svc && install -d -o svc -g svc /data
RUN mkdir -p /p/DEBIAN /p/usr/share/p && printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: y\n' > /p/DEBIAN/control \
 && printf '#!/bin/sh\nchown svc:svc /usr/share/p\n' > /p/DEBIAN/postinst && chmod 755 /p/DEBIAN/postinst && dpkg-deb -b /p /p.deb && dpkg -i /p.deb && rm -rf /p /p.deb
USER svc
RUN touch /data/mine
`, "-t", "pack")
		Expect(b.run("-u", "0", "pack", "sh", "-c", "stat -c '%U %n' /data /data/mine /usr/share/p; dpkg -s p | grep Status")).To(Equal(
			"svc /data\nsvc /data/mine\nsvc /usr/share/p\nStatus: install ok installed"))
	})

	It("adds nothing to a layer but what the program changed", func() {
		b.mustBuild("FROM IMAGE\nRUN --mount=type=tmpfs,target=/not/there --mount=type=cache,target=/var/none true\nRUN touch /made\n", "-t", "lean")
		out := filepath.Join(b.dir, "out")
		Expect(finish(b.command("build", "-o", "type=tar,dest="+out+".tar", "."))).To(gexec.Exit(0))
		text, err := exec.Command("tar", "-tf", out+".tar").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(text))
		Expect(string(text)).To(ContainSubstring("made"))
		Expect(string(text)).NotTo(MatchRegexp(`not/|var/none|resolv\.conf`))
	})

	It("shows progress as JSON", func() {
		b.files("Dockerfile", b.dockerfile("FROM IMAGE\nRUN echo said\n"))
		session := finish(b.command("build", "--progress", "json", "."))
		Expect(session).To(gexec.Exit(0))
		kinds := map[string]int{}
		for line := range strings.Lines(string(session.Err.Contents())) {
			var e struct{ Kind, Text string }
			Expect(json.Unmarshal([]byte(line), &e)).To(Succeed(), line)
			kinds[e.Kind+" "+e.Text]++
		}
		Expect(kinds).To(SatisfyAll(HaveKeyWithValue("log said\n", 1), HaveKey("start "), HaveKey("done ")))
	})

	It("writes the id and the metadata", func() {
		b.mustBuild("FROM IMAGE\nLABEL a=b\n", "-t", "meta", "--iidfile", "id", "--metadata-file", "meta.json")
		id, err := os.ReadFile(filepath.Join(b.dir, "id"))
		Expect(err).NotTo(HaveOccurred())
		Expect(b.run(string(id), "echo", "by id")).To(Equal("by id"))
		text, err := os.ReadFile(filepath.Join(b.dir, "meta.json"))
		Expect(err).NotTo(HaveOccurred())
		var meta map[string]string
		Expect(json.Unmarshal(text, &meta)).To(Succeed())
		Expect(meta).To(SatisfyAll(HaveKeyWithValue("containerimage.config.digest", string(id)), HaveKeyWithValue("image.name", "meta")))
	})

	It("gives one digest to two builds with SOURCE_DATE_EPOCH", func() {
		digests := map[string]bool{}
		for range 2 {
			other := newBuilder()
			other.files("f", "content")
			other.mustBuild("FROM IMAGE\nCOPY f /f\nRUN mkdir /d && touch /d/x /d/y && ln -s x /d/z\nWORKDIR /w\nENV A=b\n", "--build-arg", "SOURCE_DATE_EPOCH=1700000000", "-t", "same", "--metadata-file", "m")
			text, err := os.ReadFile(filepath.Join(other.dir, "m"))
			Expect(err).NotTo(HaveOccurred())
			digests[string(text)] = true
			other.tidy()
		}
		Expect(digests).To(HaveLen(1))
	})

	It("takes steps from a registry into a fresh store", func() {
		ref := registry + "/cache/" + strings.ToLower(filepath.Base(filepath.Dir(b.store))) + ":1"
		b.files("f", "cached content")
		const text = "FROM IMAGE\nCOPY f /f\nRUN cat /proc/sys/kernel/random/uuid > /when\n"
		b.mustBuild(text, "-t", "pushed", "--cache-to", "type=registry,ref="+ref)
		when := b.run("pushed", "cat", "/when")
		other := newBuilder()
		other.files("f", "cached content")
		Expect(cachedSteps(other.mustBuild(text, "-t", "pulled", "--cache-from", ref))).To(Equal([]string{"COPY", "RUN"}))
		Expect(other.run("pulled", "cat", "/when")).To(Equal(when))
		other.tidy()
	})
})
