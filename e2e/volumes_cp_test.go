package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// tarred is the content of a file of a container, by its tar stream.
func (c *camp) tarred(source string) string {
	GinkgoHelper()
	session := c.run("cp", source, "-")
	Expect(session).To(gexec.Exit(0), source)
	r := tar.NewReader(bytes.NewReader(session.Out.Contents()))
	_, err := r.Next()
	Expect(err).NotTo(HaveOccurred())
	text, err := io.ReadAll(r)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// copying begins to copy a file into a container's directory, in which a volume is mounted, and leaves it at that.
func (c *camp) copying(container, target, volume string) (*gexec.Session, io.Closer) {
	GinkgoHelper()
	r, w, err := os.Pipe()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = w.Close() })
	cmd := c.command("cp", "-", container+":"+target)
	cmd.Stdin = r
	session := start(cmd)
	Expect(r.Close()).To(Succeed())
	stream := tar.NewWriter(w)
	Expect(stream.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "late", Mode: 0o600, Size: 1 << 20})).To(Succeed())
	Expect(stream.Write(make([]byte, 1000))).To(Equal(1000))
	data := c.succeed("volume", "inspect", "-f", "{{.Mountpoint}}", volume)
	Eventually(func() []os.DirEntry { entries, _ := os.ReadDir(data); return entries }).Should(ContainElement(HaveField("Name()", HavePrefix(".bivouac-"))))
	return session, w
}

var _ = Describe("volumes and bind mounts", func() {
	It("are copied with cp where they are mounted, before, while and after the program runs", func() {
		c, dir := volumeCamp(), GinkgoT().TempDir()
		file, bound := filepath.Join(dir, "file"), filepath.Join(dir, "bound")
		Expect(errors.Join(os.WriteFile(file, []byte("copied\n"), 0o644), os.Mkdir(bound, 0o755))).To(Succeed())
		c.create("user", "cat /data/file /own/file /bound/file && echo mine > /own/mine; sleep 1000", "-v", "data:/data", "-v", "/own", "-v", bound+":/bound", "-v", "data:/etc/data:ro")
		c.create("other", "true", "--volumes-from", "user:ro", "-v", bound+":/new/bound:ro", "-v", file+":/new/file")
		By("copying before the first start")
		for _, target := range []string{"/data", "/own", "/bound/"} {
			c.succeed("cp", file, "user:"+target)
		}
		Expect(c.inVolume("cat /v/file", "-v", "data:/v")).To(Equal("copied"))
		Expect(os.ReadFile(filepath.Join(bound, "file"))).To(BeEquivalentTo("copied\n"))
		Expect(c.tarred("user:/etc/data/file")).To(Equal("copied\n"))
		for _, source := range []string{"/data/file", "/own/file", "/bound/file", "/new/bound/file", "/new/file"} {
			Expect(c.tarred("other:" + source)).To(Equal("copied\n"))
		}
		By("not writing to what is read-only")
		for _, target := range []string{"user:/etc/data/x", "other:/data/x", "other:/own/", "other:/bound/x", "other:/new/bound/file"} {
			Expect(oneLine(c.run("cp", file, target), 11)).To(ContainSubstring("read-only"), target)
		}
		Expect(c.run("cp", file, "other:/new/file")).To(gexec.Exit(11), "a mount point")
		By("copying while the program runs, and after its end")
		c.succeed("start", "user")
		Eventually(c.logs("user")).Should(Equal("copied\ncopied\ncopied\n"))
		Eventually(func() int { return c.run("exec", "user", "grep", "-q", "mine", "/own/mine").ExitCode() }).Should(Equal(0))
		c.succeed("cp", file, "user:/data/second")
		c.succeed("stop", "-t", "0", "user")
		Expect(c.tarred("user:/data/second")).To(Equal("copied\n"))
		c.succeed("cp", "user:/own/.", filepath.Join(dir, "own"))
		Expect(os.ReadFile(filepath.Join(dir, "own", "mine"))).To(BeEquivalentTo("mine\n"))
		By("leaving them out of what is the container's")
		Expect(c.succeed("diff", "user")).To(BeEmpty())
		Expect(tarNames(c.run("export", "user").Out.Contents())).NotTo(ContainElement(MatchRegexp("^(data|own|bound)/.")))
		By("saying which mount cannot be had")
		Expect(os.RemoveAll(bound)).To(Succeed())
		Expect(oneLine(c.run("cp", file, "user:/data/third"), 52)).To(ContainSubstring(bound + " on /bound"))
	})

	It("are shown by cp with what the image has there, before the first start", func() {
		c := volumeCamp()
		c.succeed("create", "-q", "--plain-http", "--name", "made", "-v", "skel:/etc/skel", image("postgres:15"))
		c.inVolume("chmod 711 /v; echo >> /v/.profile", "-v", "skel:/v")
		want := c.inVolume("cd /v; ls -A; cat .profile", "-v", "skel:/v")
		dir := filepath.Join(GinkgoT().TempDir(), "skel")
		c.succeed("cp", "made:/etc/skel", dir)
		got, err := exec.Command("sh", "-c", "cd "+dir+"; ls -A; cat .profile").Output()
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.TrimSuffix(string(got), "\n")).To(Equal(want))
		h, err := tar.NewReader(bytes.NewReader(c.run("cp", "made:/var/lib/postgresql/data", "-").Out.Contents())).Next()
		Expect(err).NotTo(HaveOccurred())
		Expect(h.Uid).NotTo(BeZero(), "the directory of an anonymous one is as in the image")
	})

	It("lead cp nowhere else, whatever is in them and in the way to them", func() {
		c, dir, place := volumeCamp(), GinkgoT().TempDir(), GinkgoT().TempDir()
		mine := filepath.Join(dir, "mine")
		Expect(os.WriteFile(mine, []byte("mine"), 0o600)).To(Succeed())
		up := "../../../../../../../.."
		c.create("evil", "mkdir -p "+place+"; ln -s "+mine+" /data/link; ln -s "+up+dir+" /data/up; ln -s "+up+" /data/root; mv /srv /old; ln -s "+place+" /srv; echo ok",
			"-v", "data:/data", "-v", "deep:/srv/deep", "-v", "/srv/own")
		c.succeed("start", "-a", "evil")
		for _, source := range []string{"/data/link", "/data/up", "/data/up/mine"} {
			oneLine(c.run("cp", "-L", "evil:"+source, filepath.Join(dir, "out")), 21)
		}
		file := filepath.Join(GinkgoT().TempDir(), "new")
		Expect(os.WriteFile(file, []byte("new"), 0o600)).To(Succeed())
		oneLine(c.run("cp", file, "evil:/data/up/mine"), 21)
		c.succeed("cp", file, "evil:/data/link") // takes its place
		Expect(c.tarred("evil:/data/link")).To(Equal("new"))
		By("a symlink that has taken the place of a target's directory, which a start follows in the container")
		c.succeed("cp", file, "evil:/srv/deep/")
		Expect(c.inVolume("cat /v/new", "-v", "deep:/v")).To(Equal("new"))
		Expect(c.tarred("evil:" + place + "/deep/new")).To(Equal("new"))
		c.succeed("cp", file, "evil:/data/root/landed")
		Expect(c.tarred("evil:/landed")).To(Equal("new"))
		Expect(filepath.Glob(filepath.Join(place, "*"))).To(BeEmpty())
		Expect(filepath.Glob(filepath.Join(dir, "*"))).To(Equal([]string{mine}))
		Expect(os.ReadFile(mine)).To(BeEquivalentTo("mine"))
	})

	It("are held by cp, which ends with its container", func() {
		c := volumeCamp()
		c.create("user", "sleep 1000", "-v", "data:/data", "-v", "/own")
		By("killing one that writes to a container that does not run")
		session, stdin := c.copying("user", "/data", "data")
		Expect(oneLine(c.run("volume", "rm", "data"), 58)).To(ContainSubstring("user"))
		Expect(c.succeed("volume", "prune", "-f", "-a")).To(Equal("Total reclaimed space: 0B"))
		session.Kill().Wait()
		Expect(stdin.Close()).To(Succeed())
		Eventually(func() string { return c.inVolume("ls -A /v", "-v", "data:/v") }).Should(BeEmpty())
		c.succeed("rm", "-v", "user")
		By("removing a container that goes with its program, and that one writes to")
		run := start(c.command("run", "--rm", "-q", "--plain-http", "--name", "brief", "-v", "/own", image("busybox"), "sh", "-c", "echo up; sleep 1000"))
		Eventually(run.Out.Contents).Should(BeEquivalentTo("up\n"))
		own := c.succeed("volume", "ls", "-q", "--filter", "dangling=false")
		session, _ = c.copying("brief", "/own", own)
		c.succeed("rm", "-f", "brief")
		Eventually(session).Should(gexec.Exit())
		Expect(session.ExitCode()).NotTo(BeZero())
		Eventually(run).Should(gexec.Exit(137))
		Expect(c.succeed("volume", "ls", "-q")).To(Equal("data"))
		Expect(c.succeed("volume", "rm", "data")).To(Equal("data"))
	})
})
