package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// insides prints all that a program can see of its confinement. A process reads its own status: that of the shell changes
// while it forks.
const insides = `
p=/proc/self
echo "== status"; grep -vE '^(Name|State|Tgid|Ngid|Pid|PPid|TracerPid|NS[a-z]*|Vm|Rss|Hugetlb|Threads|Mems|Cpus|.*ctxt|FDSize|x86|CoreDump|THP|untag)' $p/status
grep -E '^(NSsid|NSpgid|NStgid|FDSize)' $p/status
echo "== mounts"; cat $p/mountinfo
echo "== limits"; cat $p/limits
echo "== descriptors"; ls -l /proc/$$/fd
echo "== environment"; env | sort; tr '\0' '\n' </proc/1/environ | sort
echo "== first"; tr '\0' ' ' </proc/1/cmdline; echo; readlink /proc/1/cwd /proc/1/root /proc/$$/cwd /proc/$$/root
echo "== devices"; ls -lan /dev /dev/pts /dev/shm /dev/mqueue
echo "== root"; ls -lan / /etc/hosts /etc/hostname /etc/resolv.conf; id
echo "== names"; hostname; umask; (cd $p && cat oom_score_adj cgroup setgroups uid_map gid_map attr/current loginuid sessionid) 2>/dev/null
echo "== network"; ip addr 2>/dev/null | grep -vE 'valid_lft|link/'
echo "== files"; stat -L -c '%n %u %g %a %F' /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2
for f in /proc/kcore /proc/keys /proc/acpi /sys/firmware /proc/sys/kernel/hostname; do stat -c '%n %F %a %u' $f 2>&1; (echo x >$f) 2>&1; done
grep -E '^(policy|prio)' /proc/$$/sched 2>/dev/null; cat $p/personality 2>/dev/null
`

// numbers are what differs from container to container: mount ids, device numbers, layers' places, a pipe's inode.
var numbers = []struct{ pattern, with string }{
	{`(?m)^\d+ \d+ \d+:\d+ `, ""},
	{`(lower|upper|work)dir[^ ,]*`, "$1"},
	{`[0-9a-f]{64}|[0-9a-f]{12}\b`, "ID"},
	{`(pipe|socket|anon_inode|mnt|net|pid|ipc|uts|cgroup|user):\[\d+\]`, "$1"},
	{`/\d+/(fd|stat|task)`, "/PID/$1"},
	{`[A-Z][a-z]{2} +\d+ +[\d:]+`, "DATE"},
	{`(?m)^(dr-xr-xr-x) +\d+`, "$1"}, // as many links as processes
	{`(?m)^(NStgid|NSpgid):.*`, "$1"},
	{`(?m)^NSsid:\t([2-9]|\d\d+)$`, "NSsid"}, // 1 is the container's own
}

func normal(s string) string {
	for _, n := range numbers {
		s = regexp.MustCompile(n.pattern).ReplaceAllString(s, n.with)
	}
	return s
}

// withoutCgroups leaves the mount of cgroup v2 out. Over the host's /sys, which has it mounted, libcontainer cannot mount it
// again (EBUSY of mount(2), which fsmount(2) does not know), and shows an empty directory instead.
func withoutCgroups(s string) string {
	return regexp.MustCompile(`(?m)^.* /sys/fs/cgroup .*\n`).ReplaceAllString(s, "")
}

// The quick start does in C what libcontainer's own init does: a program cannot tell them apart.
var _ = Describe("the quick start", func() {
	var dir string
	BeforeEach(func() {
		succeed("pull", image("busybox:latest"))
		dir = GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644)).To(Succeed())
		Expect(os.Chmod(dir, 0o755)).To(Succeed())
	})
	look := func(way string, args ...string) string {
		GinkgoHelper()
		cmd := command(append(append([]string{"run", "--hostname", "same"}, args...), "/bin/sh", "-c", insides)...)
		cmd.Env = append(cmd.Env, "BIVOUAC_START="+way)
		session := finish(cmd)
		Expect(session).To(gexec.Exit(0), string(session.Err.Contents()))
		return normal(string(session.Out.Contents()) + string(session.Err.Contents()))
	}
	same := func(args ...string) {
		GinkgoHelper()
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "DIR", dir)
		}
		stock, quick := look("stock", args...), look("quick", args...)
		if slices.Contains(args, "host") {
			stock, quick = withoutCgroups(stock), withoutCgroups(quick)
		}
		Expect(quick).To(ContainSubstring("== files"))
		Expect(cmp.Diff(stock, quick)).To(BeEmpty(), "- libcontainer's init, + the quick start")
	}
	busybox := image("busybox:latest")

	DescribeTable("confines as libcontainer's init does",
		func(args ...string) { same(append(args, busybox)...) },
		Entry("by default"),
		Entry("below an init", "--init"),
		Entry("with a read-only root", "--read-only"),
		Entry("with capabilities", "--cap-drop", "ALL", "--cap-add", "CHOWN"),
		Entry("with all capabilities", "--cap-add", "ALL"),
		Entry("as another user", "-u", "33:34"),
		Entry("as another user below an init", "--init", "-u", "33:34"),
		Entry("in a new working directory", "-w", "/a/b/c"),
		Entry("with memory file systems", "--tmpfs", "/a", "--tmpfs", "/b/c:ro,size=1m,mode=700", "--tmpfs", "/dev/shm/x:exec"),
		Entry("with bind mounts", "-v", "DIR:/mnt/a", "-v", "DIR/file:/etc/b:ro", "-v", "DIR:/c:ro", "--mount", "type=bind,src=DIR,dst=/d,bind-propagation=rslave"),
		Entry("with a mount in a mount", "-v", "DIR:/c:ro", "--tmpfs", "/e:ro", "-v", "DIR/file:/e/file"),
		Entry("on the host's network", "--network", "host"),
		Entry("without filters and masks", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"),
		Entry("with limits of its own", "--ulimit", "nofile=99:100"),
	)

	DescribeTable("executes in a container as libcontainer's init does",
		func(args ...string) {
			inside := map[string]string{}
			for _, way := range []string{"stock", "quick"} {
				name := fmt.Sprintf("conform-%s-%d", way, time.Now().UnixNano()) // an earlier one's may be taken for a moment
				cmd := command("run", "--rm", "--hostname", "same", "--name", name, busybox, "sleep", "60")
				cmd.Env = append(cmd.Env, "BIVOUAC_START="+way)
				session := start(cmd)
				Eventually(func() int { return bivouac("exec", name, "true").ExitCode() }).Should(BeZero())
				inside[way] = normal(succeed(slices.Concat([]string{"exec"}, args, []string{name, "/bin/sh", "-c", insides})...))
				session.Kill().Wait()
			}
			Expect(inside["quick"]).To(ContainSubstring("== files"))
			Expect(cmp.Diff(inside["stock"], inside["quick"])).To(BeEmpty(), "- libcontainer's init, + the quick start")
		},
		Entry("by default"),
		Entry("as another user", "-u", "33:34", "-w", "/tmp"),
		Entry("with an environment", "-e", "A=b"),
	)

	It("does so over the machine's own root", func() { same("host:") })

	It("does so in images whose directories are links", func() {
		links := map[string]string{"elsewhere": "", "usr": "", "var": "", "dev": "/elsewhere", "etc": "../../usr", "tmp": "/var"}
		for _, applet := range strings.Fields("sh cat env grep hostname id ip ls readlink sort stat tr") {
			links["bin/"+applet] = "busybox"
		}
		same("--tmpfs", "/tmp/x", "-w", "/tmp/y", "rootfs:"+rootfsWith(links))
	})

	It("is taken where it can be, and refused where it was asked for and cannot", func() {
		Expect(string(bivouac("run", busybox, "true").Err.Contents())).To(BeEmpty())
		cmd := command("run", "-t", busybox, "true")
		cmd.Env = append(cmd.Env, "BIVOUAC_START=quick")
		Expect(oneLine(finish(cmd), 125)).To(ContainSubstring("terminal"))
		cmd = command("run", busybox, "true")
		cmd.Env = append(cmd.Env, "BIVOUAC_START=quik")
		Expect(oneLine(finish(cmd), 125)).To(ContainSubstring("quik"))
	})

	It("names the limit of namespaces where that is reached", func() {
		cmd := command("run", "--quiet", busybox, "true")
		// In a namespace of one's own the limit can be lowered: the keeper's namespace is the last that may be made.
		outer := exec.Command("unshare", append([]string{"--user", "--map-root-user", "sh", "-c", `echo 1 >/proc/sys/user/max_user_namespaces; exec "$@"`, "sh"}, cmd.Args...)...)
		outer.Env = append(cmd.Env, "BIVOUAC_IDMAP=single", "BIVOUAC_HOME="+filepath.Join(scratchDir(), "store"))
		Expect(oneLine(finish(outer), 125)).To(ContainSubstring("sysctl -w user.max_user_namespaces"))
	})

	It("leaves the word to libcontainer where it fails", func() {
		session := bivouac("run", "-v", filepath.Join(dir, "file")+":/etc", busybox, "true")
		Expect(oneLine(session, 125)).To(ContainSubstring("mount"))
	})
})
