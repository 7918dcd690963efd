package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// volumeCamp is a camp whose volumes are removed after its containers.
func volumeCamp() *camp {
	GinkgoHelper()
	DeferCleanup(func() {
		left, err := command("volume", "ls", "-q").Output()
		Expect(err).NotTo(HaveOccurred())
		if len(left) > 0 {
			out, err := command(append([]string{"volume", "rm"}, strings.Fields(string(left))...)...).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
		}
	})
	return newCamp()
}

// inVolume runs a line of the shell in a container that has mounts.
func (c *camp) inVolume(line string, flags ...string) string {
	GinkgoHelper()
	args := append([]string{"run", "--rm", "-q", "--plain-http"}, flags...)
	return c.succeed(append(args, image("busybox"), "sh", "-c", line)...)
}

var _ = Describe("volumes", func() {
	It("outlive containers, and are shared", func() {
		c := volumeCamp()
		Expect(c.succeed("volume", "create", "--label", "for=test", "data")).To(Equal("data"))
		Expect(c.succeed("volume", "create", "data")).To(Equal("data"))
		c.inVolume("echo one > /data/file", "-v", "data:/data")
		Expect(c.inVolume("cat /there/file", "--mount", "type=volume,source=data,target=/there,readonly")).To(Equal("one"))
		Expect(c.run("run", "--rm", "-q", "-v", "data:/data:ro", image("busybox"), "touch", "/data/x")).To(gexec.Exit(1))
		c.detach("other", "sleep 1000", "-v", "data:/data")
		c.inVolume("echo two >> /data/file", "-v", "data:/data")
		Expect(c.succeed("exec", "other", "cat", "/data/file")).To(Equal("one\ntwo"))
		var found []struct {
			Name, Mountpoint string
			Labels           map[string]string
			Containers       []string
		}
		Expect(json.Unmarshal([]byte(c.succeed("volume", "inspect", "data")), &found)).To(Succeed())
		Expect(found).To(HaveLen(1))
		Expect(found[0].Labels).To(HaveKeyWithValue("for", "test"))
		Expect(found[0].Containers).To(HaveLen(1))
		Expect(os.ReadFile(filepath.Join(found[0].Mountpoint, "file"))).To(BeEquivalentTo("one\ntwo\n"))
	})

	It("are listed, filtered and pruned as Docker does", func() {
		c := volumeCamp()
		c.succeed("volume", "create", "--label", "a=b", "named")
		anonymous := c.succeed("volume", "create")
		Expect(anonymous).To(MatchRegexp("^[0-9a-f]{64}$"))
		c.detach("user", "sleep 1000", "-v", "used:/data")
		Expect(c.succeed("volume", "ls")).To(MatchRegexp(`^DRIVER +VOLUME NAME\nlocal +`))
		Expect(c.succeed("volume", "ls", "-q", "--filter", "dangling=true")).To(Equal(anonymous + "\nnamed"))
		Expect(c.succeed("volume", "ls", "-q", "--filter", "dangling=false")).To(Equal("used"))
		Expect(c.succeed("volume", "ls", "-q", "--filter", "label=a=b")).To(Equal("named"))
		Expect(c.succeed("volume", "ls", "--format", `{{.Name}} {{.Driver}} {{.Links}} {{.Label "a"}}`, "--filter", "name=ame")).To(Equal("named local 0 b"))
		Expect(c.succeed("volume", "prune", "-f")).To(MatchRegexp(`^Deleted Volumes:\n` + anonymous + `\n\nTotal reclaimed space: [0-9.]+k?B$`))
		Expect(c.succeed("volume", "prune", "-f", "-a", "--filter", "label!=a")).To(Equal("Total reclaimed space: 0B"))
		Expect(c.succeed("volume", "prune", "-f", "-a")).To(ContainSubstring("named"))
		Expect(c.succeed("volume", "ls", "-q")).To(Equal("used"))
		Expect(c.succeed("ps", "-q", "--filter", "volume=used")).NotTo(BeEmpty())
	})

	It("are not removed while a container has them, running or not", func() {
		c := volumeCamp()
		c.detach("user", "sleep 1000", "-v", "data:/data")
		Expect(oneLine(c.run("volume", "rm", "data"), 58)).To(ContainSubstring("user"))
		c.succeed("stop", "-t", "0", "user")
		Expect(oneLine(c.run("volume", "rm", "data"), 58)).To(ContainSubstring("user"))
		c.succeed("rename", "user", "renamed")
		Expect(oneLine(c.run("volume", "rm", "data"), 58)).To(ContainSubstring("renamed"))
		c.succeed("rm", "-v", "renamed")
		Expect(c.succeed("volume", "ls", "-q")).To(Equal("data"), "a named one stays")
		Expect(c.succeed("volume", "rm", "data")).To(Equal("data"))
		Expect(oneLine(c.run("volume", "rm", "data"), 21)).To(ContainSubstring("data"))
		c.succeed("volume", "rm", "-f", "data")
		Expect(oneLine(c.run("volume", "create", "no/name"), 11)).To(ContainSubstring("not a valid name"))
		Expect(oneLine(c.run("volume", "create", "a", "b"), 2)).NotTo(BeEmpty())
	})

	It("get what the image has, once, with owners and modes", func() {
		c := volumeCamp()
		c.succeed("pull", "-q", "--plain-http", image("postgres:15"))
		list := func(flags ...string) string {
			args := append([]string{"run", "--rm", "-q", "--entrypoint", "", "--plain-http"}, flags...)
			return c.succeed(append(args, image("postgres:15"), "sh", "-c", "stat -c '%n %U:%G %a' /var/lib/postgresql/data; ls -lnR /etc/skel /var/lib/postgresql; id -u postgres")...)
		}
		plain := list()
		Expect(list("-v", "data:/var/lib/postgresql/data")).To(Equal(plain))
		Expect(list("-v", "skel:/etc/skel", "-v", "all:/var/lib/postgresql")).To(Equal(plain))
		c.inVolume("rm -rf /v/* && touch /v/mine", "-v", "all:/v")
		Expect(c.inVolume("ls /v", "-v", "all:/v")).To(Equal("mine"))
		Expect(c.succeed("run", "--rm", "-q", "--entrypoint", "", "-v", "none:/var/lib/postgresql:nocopy", image("postgres:15"), "ls", "/var/lib/postgresql")).To(BeEmpty())
	})

	It("are filled by one of many containers at once", func() {
		c := volumeCamp()
		c.inVolume("true") // the image is there
		var all sync.WaitGroup
		counts := make([]string, 6)
		for i := range counts {
			all.Go(func() {
				defer GinkgoRecover()
				counts[i] = c.inVolume("ls /bin | wc -l", "-v", "bin:/bin")
			})
		}
		all.Wait()
		for _, count := range counts {
			Expect(count).To(Equal(counts[0]))
			Expect(count).NotTo(Equal("0"))
		}
	})

	It("are made of an image's VOLUME in a container that is kept, and only there", func() {
		c := volumeCamp()
		run := func(flags ...string) string {
			args := append([]string{"run", "-q", "--plain-http", "--entrypoint", ""}, flags...)
			return c.succeed(append(args, image("redis:7"), "sh", "-c", "grep -c ' /data ' /proc/mounts; echo x > /data/mine; sleep ${T:-0}")...)
		}
		_ = c.run("run", "-q", "--plain-http", "--rm", "--entrypoint", "", image("redis:7"), "true")
		Expect(c.succeed("volume", "ls", "-q")).To(BeEmpty())
		run("-d", "--name", "kept", "-e", "T=1000")
		volume := c.succeed("volume", "ls", "-q")
		Expect(volume).To(MatchRegexp("^[0-9a-f]{64}$"))
		Eventually(func() string { return string(c.run("exec", "kept", "cat", "/data/mine").Out.Contents()) }).Should(Equal("x\n"))
		Expect(c.succeed("diff", "kept")).NotTo(ContainSubstring("/data"))
		c.succeed("restart", "-t", "0", "kept")
		Expect(c.succeed("volume", "ls", "-q")).To(Equal(volume), "the same after another start")
		Eventually(func() string { return c.inVolume("cat /data/mine", "--volumes-from", "kept:ro") }).Should(Equal("x")) // the program writes it again
		c.succeed("rm", "-f", "kept")
		Expect(c.succeed("volume", "ls", "-q")).To(Equal(volume), "rm without -v leaves it")
		Expect(c.succeed("volume", "prune", "-f")).To(ContainSubstring(volume))
		run("-d", "--name", "again", "-e", "T=1000")
		c.succeed("rm", "-f", "-v", "again")
		Expect(c.succeed("volume", "ls", "-q")).To(BeEmpty())
	})

	It("of a container's own go with it, also where it is killed with its keeper", func() {
		c := volumeCamp()
		c.inVolume("touch /own/x", "-v", "/own")
		Expect(c.succeed("volume", "ls", "-q")).To(BeEmpty())
		session := start(c.command("run", "--rm", "-q", "--plain-http", "-v", "/own", image("busybox"), "sh", "-c", "echo up; sleep 1000"))
		Eventually(session.Out.Contents).Should(ContainSubstring("up"))
		Expect(c.succeed("volume", "ls", "-q", "--filter", "dangling=false")).NotTo(BeEmpty())
		session.Signal(syscall.SIGKILL)
		Eventually(session).Should(gexec.Exit())
		Eventually(func() string {
			c.inVolume("true") // whose keeper sweeps
			return c.succeed("volume", "ls", "-q")
		}).Should(BeEmpty())
	})

	It("of a container's own are among the files of its snapshots, and those with a name are the same for all", func() {
		c := volumeCamp()
		c.detach("origin", "mkdir -p /own/deep; echo mine > /own/deep/file; echo shared > /named/file; sleep 1000", "-v", "/own", "-v", "named:/named")
		Eventually(func() string { return string(c.run("exec", "origin", "cat", "/named/file").Out.Contents()) }).Should(Equal("shared\n"))
		c.succeed("exec", "origin", "sh", "-c", "chown 1:1 /own/deep; chmod 750 /own")
		c.succeed("checkpoint", "--processes", "never", "--live", "origin", "volumes")
		DeferCleanup(func() { _ = c.command("snapshot", "rm", "volumes").Run() })
		c.succeed("exec", "origin", "sh", "-c", "rm -r /own/deep; echo later > /named/file")
		c.succeed("rm", "-f", "-v", "origin")
		c.succeed("restore", "--name", "clone", "volumes")
		Expect(c.succeed("exec", "clone", "sh", "-c", "cat /own/deep/file; stat -c '%u %a' /own/deep /own; cat /named/file")).
			To(MatchRegexp(`mine\n1 755\n0 750(\n(later|shared))?`)) // the clone's program writes shared again
		Expect(strings.Fields(c.succeed("volume", "ls", "-q"))).To(Equal([]string{"named"}))
		c.succeed("rm", "-f", "clone")
	})
})
