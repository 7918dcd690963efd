package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

var _ = Describe("commit", func() {
	var d *depot
	BeforeEach(func() { d = newDepot() })

	// config is the configuration of an image.
	config := func(name string) (c struct {
		Cmd, Entrypoint, Env []string
		User, WorkingDir     string
		Labels               map[string]string
		ExposedPorts         map[string]any
	}) {
		GinkgoHelper()
		Expect(json.Unmarshal([]byte(d.do("inspect", "--format", "{{json .Config}}", name)), &c)).To(Succeed())
		return c
	}

	It("makes an image with all kinds of changes", func() {
		line := `echo new >/new; echo changed >/etc/passwd2; rm -r /etc/cron.daily; mkdir /etc/cron.daily; echo x >/etc/cron.daily/x; rm /usr/bin/tac;
			ln /new /hard; ln -s new /soft; cp /bin/true /su; chown 7:8 /new; chmod 4755 /su; mkfifo /pipe; mkdir -m 1777 /sticky; setcap cap_net_raw+ep /su2 2>/dev/null`
		d.do("run", "--name", "job", "-u", "0", image("debian:tools"), "sh", "-c", "cp /bin/true /su2;"+line+"; touch -d @1000 /old; true")
		id := d.do("commit", "-m", "made by a test", "-a", "me", "job", "changed:1")
		Expect(id).To(MatchRegexp(`^sha256:[0-9a-f]{64}$`))
		d.do("rm", "job")
		look := `cat /new /hard; readlink /soft; ls /etc/cron.daily; ls /usr/bin/tac 2>&1 | grep -c 'No such'; stat -c '%a %u:%g %h' /new /su /sticky; stat -c %F /pipe; stat -c %Y /old`
		want := "new\nnew\nnew\nx\n1\n644 7:8 2\n4755 0:0 1\n1777 0:0 2\nfifo\n1000"
		Expect(d.do("run", "-u", "0", "changed:1", "sh", "-c", look)).To(Equal(want))
		Expect(d.do("history", "--format", "{{.Comment}}", "changed:1")).To(HavePrefix("made by a test\n"))
		Expect(d.do("inspect", "--format", "{{.Author}}", "changed:1")).To(Equal("me"))
		d.healthy()
	})

	It("takes over what the container was made with, and the changes", func() {
		d.do("create", "--name", "job", "-e", "A=b", "-w", "/tmp", "-u", "1000", "-l", "k=v", "-p", "8080", image("busybox:latest"), "echo", "hello")
		d.do("commit", "job", "plain")
		c := config("plain")
		Expect(c.Cmd).To(Equal([]string{"echo", "hello"}))
		Expect(c.Env).To(ContainElement("A=b"))
		Expect([]string{c.User, c.WorkingDir, c.Labels["k"]}).To(Equal([]string{"1000", "/tmp", "v"}))
		Expect(c.ExposedPorts).To(HaveKey("8080/tcp"))
		Expect(d.do("run", "plain")).To(Equal("hello"))
		d.do("commit", "-c", `ENTRYPOINT ["echo"]`, "-c", `CMD ["from", "here"]`, "-c", "ENV C=$A-x", "-c", "USER 5", "-c", "LABEL a=b c=d", "-c", "EXPOSE 90/udp", "job", "edited:2")
		c = config("edited:2")
		Expect(c.Entrypoint).To(Equal([]string{"echo"}))
		Expect(c.Env).To(ContainElement("C=b-x"))
		Expect(c.Labels).To(Equal(map[string]string{"k": "v", "a": "b", "c": "d"}))
		Expect(c.ExposedPorts).To(And(HaveKey("90/udp"), HaveKey("8080/tcp")))
		Expect(d.do("run", "edited:2")).To(Equal("from here"))
		for _, change := range []string{"RUN ls", "nonsense", "EXPOSE x", "CMD a\nCMD b"} {
			Expect(oneLine(d.try("commit", "-c", change, "job"), 11)).NotTo(BeEmpty(), change)
		}
		Expect(oneLine(d.try("commit", "job", "Bad:Name"), 20)).NotTo(BeEmpty())
		Expect(oneLine(d.try("commit", "nosuch"), 21)).NotTo(BeEmpty())
	})

	It("adds no layer for a container that has changed nothing, and leaves mounts and the keeper's files out", func() {
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600)).To(Succeed())
		d.do("run", "--name", "job", "-v", dir+":/deep/below/mount", "-v", "data:/data", "--tmpfs", "/scratch", image("busybox:latest"), "touch", "/data/x", "/scratch/x")
		d.do("commit", "job", "same")
		layers := func(name string) string { return d.do("inspect", "--format", "{{len .RootFS.Layers}}", name) }
		Expect(layers("same")).To(Equal(layers(image("busybox:latest"))))
		Expect(d.do("run", "same", "ls", "-d", "/etc")).To(Equal("/etc"))
		Expect(d.do("run", "same", "sh", "-c", "ls -d /deep /data /scratch 2>/dev/null | wc -l")).To(Equal("0"))
	})

	It("pauses a program that runs, which goes on, and works on one that is not kept", func() {
		d.do("run", "-d", "--rm", "--name", "job", image("busybox:latest"), "sh", "-c", "n=0; while :; do n=$((n+1)); echo $n >/a; echo $n >/b; done")
		Eventually(func() string { return string(d.try("exec", "job", "cat", "/b").Out.Contents()) }).ShouldNot(BeEmpty())
		for range 3 {
			d.do("commit", "job", "shot")
			ab := strings.Fields(d.do("run", "shot", "sh", "-c", "cat /a /b; [ -s /a ] || echo none"))
			Expect(len(ab)).To(BeNumerically(">=", 1))
		}
		before := d.do("exec", "job", "cat", "/b")
		Eventually(func() string { return string(d.try("exec", "job", "cat", "/b").Out.Contents()) }).ShouldNot(Equal(before))
		d.do("commit", "-p=false", "job", "shot")
		d.do("rm", "-f", "job")
	})

	It("has a name for what was committed last, and keeps the one before without", func() {
		d.do("create", "--name", "job", image("busybox:latest"), "true")
		first := d.do("commit", "job", "x")
		second := d.do("commit", "job", "x")
		Expect(first).NotTo(Equal(second)) // another time
		Expect(d.do("images", "-q", "--no-trunc", "--filter", "dangling=true")).To(Equal(first))
		Expect(d.do("inspect", "--format", "{{.Id}}", "x")).To(Equal(second))
		d.do("image", "prune", "-f")
		Expect(d.do("images", "-q", "--no-trunc", "--filter", "dangling=true")).To(BeEmpty())
		Expect(d.do("run", "x", "echo", "ok")).To(Equal("ok"))
	})

	It("says so on a full disk, and leaves nothing", func() {
		dir := scratchDir()
		script := `mount -t tmpfs -o size=14m none "$BIVOUAC_HOME" && "$0" run --name job "$1" dd if=/dev/urandom of=/x bs=1M count=5 &&
			{ "$0" commit job big; echo "code $?"; } && "$0" system check && "$0" run "$1" echo whole`
		cmd := exec.Command("unshare", "-Urm", "sh", "-c", script, binary, image("busybox:latest"))
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+dir, "XDG_RUNTIME_DIR="+GinkgoT().TempDir())
		session := finish(cmd)
		Expect(session).To(gexec.Exit(0), string(session.Out.Contents()))
		Expect(string(session.Out.Contents())).To(MatchRegexp(`(?s)^code 40\n.* 0 problems.*whole`))
	})

	It("refuses what has no image", func() {
		session := start(d.command("run", "-d", "--rm", "--name", "job", "host:", "sleep", "1000"))
		Eventually(session).Should(gexec.Exit(0))
		Expect(oneLine(d.try("commit", "job"), 10)).To(ContainSubstring("bivouac import"))
		d.do("rm", "-f", "job")
	})
})
