package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
)

var _ = Describe("the life of an image", func() {
	var (
		own, docker string
		secured     = os.Getenv("BIVOUAC_E2E_REGISTRY_TLS")
		ca          = os.Getenv("BIVOUAC_E2E_CA")
	)
	withStdin := func(stdin string, args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own, "DOCKER_CONFIG="+docker, "XDG_CONFIG_HOME="+docker, "BIVOUAC_CA_FILE="+ca)
		cmd.Stdin = strings.NewReader(stdin)
		return cmd
	}
	in := func(args ...string) *gexec.Session {
		GinkgoHelper()
		return finish(withStdin("", args...))
	}
	do := func(args ...string) string {
		GinkgoHelper()
		session := in(args...)
		Expect(session).To(gexec.Exit(0), "%s\n%s", strings.Join(args, " "), session.Err.Contents())
		return strings.TrimSuffix(string(session.Out.Contents()), "\n")
	}
	digest := func(name string) string { return do("inspect", "--format", "{{.Digest}}", name) }
	unique := func(registry, name string) string {
		return fmt.Sprintf("%s/life-%s-%d/%s", registry, os.Getenv("BIVOUAC_E2E_USER_KIND"), GinkgoRandomSeed()+int64(GinkgoParallelProcess()), name)
	}
	skopeo := func(args ...string) string {
		GinkgoHelper()
		tool, err := exec.LookPath("skopeo")
		if err != nil {
			Skip("skopeo is not installed")
		}
		cmd := exec.Command(tool, args...)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+docker)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		Expect(err).NotTo(HaveOccurred(), "skopeo %q: %s", args, &errs)
		return strings.TrimSpace(string(out))
	}

	BeforeEach(func() {
		own, docker = filepath.Join(scratchDir(), "store"), GinkgoT().TempDir()
	})

	It("is pushed with the same digest, as another tool sees it", func() {
		for _, name := range []string{"busybox:latest", "busybox:zstd", "busybox:v2s2", "debian:tools"} {
			do("pull", "-q", image(name))
			target := unique(registry, name)
			do("tag", image(name), target)
			Expect(do("push", target)).To(MatchRegexp(`(?s)^The push refers to repository \[.*\]\n.*: digest: %s size: \d+$`, digest(image(name))))
			Expect(skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+target)).To(Equal(digest(image(name))))
			elsewhere := filepath.Join(GinkgoT().TempDir(), "layout")
			skopeo("copy", "--quiet", "--src-tls-verify=false", "docker://"+target, "dir:"+elsewhere) // which checks every digest
		}
		Expect(do("push", unique(registry, "debian:tools"))).To(ContainSubstring("digest: "))
	})

	It("is pushed with TLS and a login, and not without", func() {
		if secured == "" {
			Skip("BIVOUAC_E2E_REGISTRY_TLS is not set")
		}
		do("pull", "-q", image("busybox:latest"))
		target := unique(secured, "bb:1")
		do("tag", image("busybox:latest"), target)
		Expect(oneLine(in("push", target), 22)).To(ContainSubstring("bivouac login " + secured))
		Expect(oneLine(finish(withStdin("wrong\n", "login", "-u", "tester", "--password-stdin", secured)), 22)).To(ContainSubstring("check user name and password"))
		Expect(filepath.Join(docker, "config.json")).NotTo(BeAnExistingFile())
		session := finish(withStdin("secret\n", "login", "-u", "tester", "--password-stdin", secured))
		Expect(session).To(gexec.Exit(0), string(session.Err.Contents()))
		Expect(session.Out).To(gbytes.Say("Login Succeeded"))
		Expect(session.Err).To(gbytes.Say("is not encrypted"))
		info, err := os.Stat(filepath.Join(docker, "config.json"))
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(BeEquivalentTo(0o600))
		do("push", "-q", target)
		Expect(skopeo("inspect", "--tls-verify=false", "--creds", "tester:secret", "--format", "{{.Digest}}", "docker://"+target)).To(Equal(digest(target)))
		Expect(do("logout", secured)).To(Equal("Removing login credentials for " + secured))
		Expect(do("logout", secured)).To(Equal("Not logged in to " + secured))
		Expect(in("push", target)).To(gexec.Exit(22))
	})

	It("is called by names, ids and their beginnings", func() {
		do("pull", "-q", image("busybox:latest"))
		id := do("images", "-q", "--no-trunc")
		Expect(id).To(MatchRegexp(`^sha256:[0-9a-f]{64}$`))
		do("tag", id[7:19], "mine:1")
		do("tag", "mine:1", "mine:2")
		for _, name := range []string{"mine:1", id, id[7:], id[7:19], id[7:11]} {
			Expect(do("run", "--rm", "--pull", "never", name, "echo", "hello")).To(Equal("hello"), name)
		}
		Expect(do("rmi", "mine:1")).To(Equal("Untagged: mine:1"))
		Expect(in("rmi", id[7:19])).NotTo(gexec.Exit(0))
		Expect(oneLine(in("tag", "nothing-like-this", "x"), 21)).To(ContainSubstring("there is none"))
		Expect(oneLine(in("tag", "mine:2", "UPPER"), 20)).To(ContainSubstring("lower case"))
		Expect(do("rmi", "-f", id[7:19])).To(ContainSubstring("Deleted: " + id))
		Expect(do("images", "-q")).To(BeEmpty())
		Expect(oneLine(in("run", "--rm", id, "true"), 125)).To(ContainSubstring("no image of that id"))
	})

	It("tells of itself", func() {
		do("pull", "-q", image("debian:tools"))
		do("pull", "-q", image("debian:slim"))
		Expect(do("history", image("debian:tools"))).To(MatchRegexp(`^IMAGE +CREATED +CREATED BY +SIZE +COMMENT\n[0-9a-f]{12} `))
		Expect(do("history", "-q", "--no-trunc", image("debian:slim"))).To(HavePrefix("sha256:"))
		Expect(do("image", "tree")).To(MatchRegexp(`shared with .*debian:`))
		Expect(do("images", "-q", "--filter", "dangling=true")).To(BeEmpty())
		Expect(do("image", "ls", "--filter", "reference=*/debian:slim", "--format", "{{.Tag}}")).To(Equal("slim"))
		Expect(do("image", "inspect", "--format", "{{len .RootFS.Layers}}", image("debian:tools"))).To(Equal("2"))
		Expect(oneLine(in("images", "--filter", "colour=red"), 2)).To(ContainSubstring("there is no such filter"))
		Expect(oneLine(in("search", "debian"), 2)).To(ContainSubstring("has none"))
	})

	DescribeTable("is saved and loaded with names and digests",
		func(format, transport string) {
			do("pull", "-q", image("busybox:latest"))
			do("pull", "-q", image("debian:tools"))
			do("tag", image("busybox:latest"), "mine:1")
			names := []string{"mine:1", image("busybox:latest"), image("debian:tools")}
			want := []string{digest(names[0]), digest(names[1]), digest(names[2])}
			path := filepath.Join(GinkgoT().TempDir(), "saved")
			do(append([]string{"save", "--format", format, "-o", path}, names...)...)
			do(append([]string{"rmi", "-f"}, names...)...)
			Expect(do("load", "-i", path)).To(Equal("Loaded image: mine:1\nLoaded image: " + names[1] + "\nLoaded image: " + names[2]))
			Expect([]string{digest(names[0]), digest(names[1]), digest(names[2])}).To(Equal(want))
			Expect(do("run", "--rm", "--pull", "never", names[2], "echo", "hello")).To(Equal("hello"))
			name := "docker.io/library/mine:1"
			if format == "docker-archive" {
				name = "mine:1"
			}
			Expect(skopeo("inspect", "--raw", transport+":"+path+":"+name)).To(ContainSubstring("schemaVersion"))
			skopeo("copy", "--quiet", transport+":"+path+":"+names[2], "dir:"+filepath.Join(GinkgoT().TempDir(), "copy"))
		},
		Entry("docker-archive", "docker-archive", "docker-archive"),
		Entry("oci-archive", "oci-archive", "oci-archive"),
		Entry("oci-dir", "oci-dir", "oci"),
	)

	It("is loaded from what other tools write, and from a pipe", func() {
		path := filepath.Join(GinkgoT().TempDir(), "theirs.tar")
		skopeo("copy", "--quiet", "--src-tls-verify=false", "docker://"+image("busybox:latest"), "docker-archive:"+path+":theirs:1")
		Expect(do("load", "-q", "-i", path)).To(Equal("Loaded image: theirs:1"))
		Expect(do("run", "--rm", "theirs:1", "echo", "hello")).To(Equal("hello"))
		pipe := exec.Command("sh", "-c", `"$0" save theirs:1 | gzip | "$0" load -q`, binary)
		pipe.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
		out, err := pipe.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		Expect(string(out)).To(Equal("Loaded image: theirs:1\n"))
	})

	It("is imported from a tar file and run", func() {
		path := filepath.Join(GinkgoT().TempDir(), "root.tar")
		out, err := exec.Command("tar", "-C", rootfsWith(nil), "-cf", path, ".").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		id := do("import", "-m", "from a test", "-c", `CMD ["/bin/busybox", "echo", "by default"]`, "-c", "ENV A=b", path, "imported:1")
		Expect(do("run", "--rm", "imported:1")).To(Equal("by default"))
		Expect(do("run", "--rm", id, "/bin/busybox", "sh", "-c", "echo $A")).To(Equal("b"))
		Expect(do("history", "--format", "{{.Comment}}", "imported:1")).To(Equal("from a test"))
		Expect(oneLine(in("import", "-c", "RUN x", path), 11)).To(ContainSubstring("RUN x"))
		Expect(oneLine(finish(withStdin("hello", "import", "-")), 32)).NotTo(BeEmpty())
		Expect(oneLine(in("import", "http://"+registry+"/nothing"), 21)).To(ContainSubstring("Not Found"))
		Expect(oneLine(in("import", filepath.Dir(path)), 2)).To(ContainSubstring("it is a directory"))
	})

	It("is pushed by two at once", func() {
		do("pull", "-q", image("debian:tools"))
		target := unique(registry, "twice:1")
		do("tag", image("debian:tools"), target)
		first, second := start(withStdin("", "push", target)), start(withStdin("", "push", target))
		Eventually(first).WithTimeout(time.Minute).Should(gexec.Exit(0))
		Eventually(second).WithTimeout(time.Minute).Should(gexec.Exit(0))
		Expect(skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+target)).To(Equal(digest(target)))
	})

	It("survives kill -9 in the middle of push and load", func() {
		do("pull", "-q", image("debian:tools"))
		target, path := unique(registry, "killed:1"), filepath.Join(GinkgoT().TempDir(), "saved.tar")
		do("tag", image("debian:tools"), target)
		do("save", "-o", path, target)
		want := digest(target)
		for delay := 10; delay < 300; delay += 70 {
			session := start(withStdin("", "push", target))
			time.Sleep(time.Duration(delay) * time.Millisecond)
			session.Kill().Wait()
		}
		do("push", target)
		Expect(skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+target)).To(Equal(want))
		do("rmi", "-f", target, image("debian:tools"))
		for delay := 10; delay < 800; delay += 150 {
			session := start(withStdin("", "load", "-i", path))
			time.Sleep(time.Duration(delay) * time.Millisecond)
			session.Kill().Wait()
		}
		do("load", "-i", path)
		Expect(digest(target)).To(Equal(want))
		Expect(do("run", "--rm", "--pull", "never", target, "sh", "-c", "dpkg -l | wc -l")).NotTo(Equal("0"))
	})

	It("is not loaded onto a full disk, of which one line tells", func() {
		do("pull", "-q", image("debian:tools"))
		path, full := filepath.Join(GinkgoT().TempDir(), "saved.tar"), GinkgoT().TempDir()
		do("save", "-o", path, image("debian:tools"))
		// Nothing is half there. A layer that was complete before another met the end of the disk may stay until image prune.
		script := `mount -t tmpfs -o size=6m none "$0" && "$1" load -q -i "$2"; code=$?; "$1" images -aq
			find "$0/store/partial" "$0/store/tmp" "$0"/store/layers/*/tmp -mindepth 1; "$1" image prune -f >/dev/null
			find "$0/store/blobs/sha256" -mindepth 1; find "$0/store/layers" -mindepth 3; "$1" system check >/dev/null || echo "exit code of check: $?"
			exit $code`
		cmd := exec.Command("unshare", "-Urm", "sh", "-c", script, full, binary, path)
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+full+"/store")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		Expect(cmd.ProcessState.ExitCode()).To(Equal(40), "%v\n%s", err, &errs)
		Expect(errs.String()).To(MatchRegexp(`\Abivouac: load .*: no space left on device; make room there, or set BIVOUAC_HOME [^;]*\n\z`))
		Expect(out.String()).To(BeEmpty())
	})

	It("is refused in one line", func() {
		do("pull", "-q", image("busybox:latest"))
		missing := filepath.Join(GinkgoT().TempDir(), "missing")
		Expect(oneLine(in("push", "nothing-like-this"), 21)).To(ContainSubstring("bivouac tag"))
		Expect(oneLine(in("push", image("busybox@sha256:"+strings.Repeat("0", 64))), 20)).To(ContainSubstring("has a name and a tag"))
		Expect(oneLine(in("push", "-a", image("busybox:latest")), 2)).To(ContainSubstring("leave the tag out"))
		Expect(oneLine(in("save", "-o", missing, "nothing-like-this"), 21)).To(ContainSubstring("there is none"))
		Expect(missing).NotTo(BeAnExistingFile())
		Expect(oneLine(in("save", "--format", "zip", image("busybox:latest")), 2)).To(ContainSubstring("oci-archive"))
		Expect(oneLine(finish(withStdin("no archive", "load")), 32)).To(ContainSubstring("standard input"))
		Expect(in("load", "-i", missing)).NotTo(gexec.Exit(0))
		Expect(oneLine(finish(withStdin("", "login", registry)), 2)).To(ContainSubstring("--password-stdin"))
		Expect(lastLine(in("login", "-u", "a", "-p", "b", "127.0.0.1:1"), 23)).NotTo(BeEmpty())
	})

	It("is on record", func() {
		do("pull", "-q", image("busybox:latest"))
		do("tag", image("busybox:latest"), "mine:1")
		do("save", "-o", filepath.Join(GinkgoT().TempDir(), "a.tar"), "mine:1")
		text, err := os.ReadFile(filepath.Join(own, "events.jsonl"))
		Expect(err).NotTo(HaveOccurred())
		var actions []string
		for line := range strings.Lines(string(text)) {
			var e struct{ Type, Action string }
			Expect(json.Unmarshal([]byte(line), &e)).To(Succeed())
			if e.Type == "image" {
				actions = append(actions, e.Action)
			}
		}
		Expect(actions).To(Equal([]string{"pull", "tag", "save"}))
	})
})
