package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
)

var _ = Describe("run", func() {
	busybox := func(args ...string) []string { return append([]string{"run", image("busybox:latest")}, args...) }
	with := func(flags []string, args ...string) []string {
		return append(append(append([]string{"run"}, flags...), image("busybox:latest")), args...)
	}
	flags := func(f ...string) []string { return f }

	DescribeTable("ends with the program's exit code",
		func(code int, args ...string) { Expect(bivouac(busybox(args...)...)).To(gexec.Exit(code)) },
		Entry("success", 0, "true"),
		Entry("failure", 1, "false"),
		Entry("a code of its own", 42, "sh", "-c", "exit 42"),
		Entry("a program that is not there", 127, "/no/such/program"),
		Entry("a program that is not on the path", 127, "nosuchprogram"),
		Entry("a directory", 126, "/etc"),
		Entry("a file that is not executable", 126, "/etc/passwd"),
	)

	It("ends with 128 and the signal that killed the program", func() {
		Expect(bivouac(with(flags("--init"), "sh", "-c", "kill -9 $$")...)).To(gexec.Exit(128 + 9))
	})

	It("says in one line why a program cannot be executed", func() {
		Expect(oneLine(bivouac(busybox("nosuchprogram")...), 127)).To(ContainSubstring(`"nosuchprogram": not found in the image`))
		Expect(oneLine(bivouac(busybox("/etc/passwd")...), 126)).To(ContainSubstring("permission"))
	})

	It("runs the image's own command", func() {
		Expect(succeed("run", image("busybox:latest"))).To(BeEmpty())
	})

	It("passes standard input on only when asked to", func() {
		cmd := command(with(flags("-i"), "cat")...)
		cmd.Stdin = strings.NewReader("some\ninput")
		Expect(finish(cmd).Out.Contents()).To(BeEquivalentTo("some\ninput"))
		cmd = command(busybox("cat")...)
		cmd.Stdin = strings.NewReader("unseen")
		Expect(finish(cmd).Out.Contents()).To(BeEmpty())
	})

	It("keeps standard output and error apart", func() {
		session := bivouac(busybox("sh", "-c", "echo out; echo err >&2")...)
		Expect(session.Out.Contents()).To(BeEquivalentTo("out\n"))
		Expect(session.Err.Contents()).To(BeEquivalentTo("err\n"))
	})

	It("carries a large output whole", func() {
		Expect(bivouac(busybox("head", "-c", "20000000", "/dev/zero")...).Out.Contents()).To(HaveLen(20_000_000))
	})

	It("sets the environment that was asked for and inherits none", func() {
		file := filepath.Join(GinkgoT().TempDir(), "env")
		Expect(os.WriteFile(file, []byte("# comment\nFROM_FILE=1\nBOTH=file\nFROM_HOST\n"), 0o600)).To(Succeed())
		cmd := command(with(flags("--env-file", file, "-e", "BOTH=flag", "-e", "PASSED", "-e", "ABSENT", "--hostname", "h"), "env")...)
		cmd.Env = append(cmd.Env, "SECRET=leaked", "PASSED=on", "FROM_HOST=host")
		Expect(strings.Fields(string(finish(cmd).Out.Contents()))).To(ConsistOf(
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=h", "HOME=/root",
			"FROM_FILE=1", "BOTH=flag", "PASSED=on", "FROM_HOST=host"))
	})

	It("starts in the working directory, made if missing", func() {
		Expect(succeed(with(flags("-w", "/some/where"), "pwd")...)).To(Equal("/some/where"))
		Expect(oneLine(bivouac(with(flags("-w", "relative"), "pwd")...), 125)).To(ContainSubstring("not absolute"))
	})

	DescribeTable("runs as the user that was asked for",
		func(user, uid, gid string) {
			Expect(succeed(with(flags("-u", user), "id", "-u")...)).To(Equal(uid))
			Expect(succeed(with(flags("-u", user), "id", "-g")...)).To(Equal(gid))
		},
		Entry("root", "root", "0", "0"),
		Entry("a name", "www-data", "33", "33"),
		Entry("a number without an entry", "1234", "1234", "0"),
		Entry("name and group", "daemon:www-data", "1", "33"),
		Entry("numbers", "5:7", "5", "7"),
	)

	It("refuses an unknown user", func() {
		Expect(oneLine(bivouac(with(flags("-u", "nobody-here"), "id")...), 125)).To(MatchRegexp(`user "nobody-here".*/etc/passwd`))
	})

	It("replaces the entrypoint", func() {
		Expect(succeed(with(flags("--entrypoint", "echo"), "a", "b")...)).To(Equal("a b"))
	})

	It("names the host", func() {
		Expect(succeed(with(flags("--hostname", "camp"), "sh", "-c", "hostname; cat /etc/hostname; grep -c camp /etc/hosts")...)).To(Equal("camp\ncamp\n1"))
		Expect(succeed(with(flags("--rm", "--name", "tent"), "hostname")...)).To(Equal("tent"))
		Expect(succeed(busybox("hostname")...)).To(MatchRegexp("^[0-9a-f]{12}$"))
	})

	It("gives a name to one container at a time", func() {
		first := start(command(with(flags("--rm", "--name", "only"), "sh", "-c", "echo up; exec sleep 60")...))
		Eventually(first).Should(gbytes.Say("up"))
		Expect(oneLine(bivouac(with(flags("--rm", "--name", "only"), "true")...), 125)).To(ContainSubstring("another container has it"))
		first.Kill().Wait()
		Eventually(func() int { return bivouac(with(flags("--rm", "--name", "only"), "true")...).ExitCode() }).Should(BeZero())
	})

	It("mounts directories and files of the host", func() {
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "f"), []byte("from the host"), 0o644)).To(Succeed())
		Expect(succeed(with(flags("-v", dir+":/data"), "sh", "-c", "cat /data/f; echo written >/data/g")...)).To(Equal("from the host"))
		Expect(os.ReadFile(filepath.Join(dir, "g"))).To(BeEquivalentTo("written\n"))
		Expect(succeed(with(flags("-v", filepath.Join(dir, "f")+":/etc/one:ro"), "cat", "/etc/one")...)).To(Equal("from the host"))
		Expect(succeed(with(flags("--mount", "type=bind,src="+dir+",dst=/deep/down,readonly"), "sh", "-c", "touch /deep/down/x || echo refused")...)).To(Equal("refused"))
		Expect(filepath.Join(dir, "x")).NotTo(BeAnExistingFile())
	})

	It("refuses a mount that cannot be made", func() {
		Expect(oneLine(bivouac(with(flags("-v", "/no/such/dir:/x"), "true")...), 125)).To(ContainSubstring("the source does not exist"))
		Expect(oneLine(bivouac(with(flags("-v", "/tmp:relative"), "true")...), 125)).To(ContainSubstring("absolute path"))
		outer := exec.Command("unshare", "-Urm", "sh", "-c", `mount -t tmpfs -o ro none /mnt && exec "$@"`, "-", binary, "run", "-v", "/mnt:/x", "host:", "true")
		outer.Env = append(os.Environ(), "BIVOUAC_HOME="+filepath.Join(GinkgoT().TempDir(), "store"))
		Expect(oneLine(finish(outer), 125)).To(ContainSubstring("the source is read-only; mount it read-only"))
	})

	It("mounts memory file systems", func() {
		Expect(succeed(with(flags("--tmpfs", "/t:size=1m,mode=700"), "sh", "-c", "stat -c %a /t; df -m /t | tail -1 | awk '{print $2}'")...)).To(Equal("700\n1"))
		Expect(succeed(with(flags("--mount", "type=tmpfs,dst=/t,tmpfs-size=2m"), "sh", "-c", "head -c 3000000 /dev/zero >/t/f || echo full")...)).To(Equal("full"))
	})

	It("can have a read-only root", func() {
		Expect(succeed(with(flags("--read-only", "--tmpfs", "/tmp"), "sh", "-c", "touch /f 2>&1; touch /tmp/f && echo ok")...)).To(MatchRegexp("(?s)Read-only.*ok$"))
	})

	It("discards what the container changed", func() {
		succeed(busybox("sh", "-c", "echo x >/etc/mine; rm /etc/passwd")...)
		Expect(succeed(busybox("sh", "-c", "ls /etc/mine 2>/dev/null; ls /etc/passwd")...)).To(Equal("/etc/passwd"))
	})

	It("keeps the container when asked to", func() {
		succeed(with(flags("--rm=false", "-l", "souvenir"), "sh", "-c", "echo mine >/kept")...)
		id := succeed("ps", "-aq", "--no-trunc", "--filter", "label=souvenir")
		Expect(os.ReadFile(filepath.Join(store, "containers", id, "upper", "kept"))).To(BeEquivalentTo("mine\n"))
		succeed("rm", id)
	})

	It("reaps orphans below an init, and ends with the program", func() {
		Expect(succeed(with(flags("--init"), "sh", "-c", `zombies() { cat /proc/[0-9]*/status 2>/dev/null | grep -c 'State:.Z'; }
			(sleep 0.1 &); sleep 0.4; for i in $(seq 100); do [ "$(zombies)" = 0 ] && break; sleep 0.1; done; zombies; echo pid $$`)...)).To(MatchRegexp("^0\npid [2-9]"))
		Expect(bivouac(with(flags("--init"), "sh", "-c", "exit 7")...)).To(gexec.Exit(7))
		Expect(bivouac(with(flags("--init"), "nosuchprogram")...)).To(gexec.Exit(127))
	})

	It("forwards signals", func() {
		session := start(command(busybox("sh", "-c", "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.1; done")...))
		Eventually(session).Should(gbytes.Say("up"))
		session.Terminate()
		Eventually(session).Should(gexec.Exit(5))
		Expect(session).To(gbytes.Say("got"))
	})

	It("forwards signals through an init to a program without handlers", func() {
		session := start(command(with(flags("--init"), "sh", "-c", "echo up; exec sleep 60")...))
		Eventually(session).Should(gbytes.Say("up"))
		session.Terminate()
		Eventually(session).Should(gexec.Exit(128 + int(syscall.SIGTERM)))
	})

	It("kills at the second interrupt", func() {
		session := start(command(busybox("sh", "-c", "echo up; exec sleep 60")...))
		Eventually(session).Should(gbytes.Say("up"))
		session.Interrupt()
		Consistently(session).WithTimeout(300 * time.Millisecond).ShouldNot(gexec.Exit())
		// It is sent again, as two signals are one to the kernel while nobody has taken the first.
		Eventually(session.Interrupt).WithPolling(time.Second).Should(gexec.Exit(128 + 9))
	})

	It("stops a program after its time", func() {
		begun := time.Now()
		session := bivouac(with(flags("--timeout", "300ms", "--init"), "sleep", "60")...)
		Expect(session).To(gexec.Exit(124))
		Expect(session.Err).To(gbytes.Say("after the time-out of 300ms"))
		Expect(time.Since(begun)).To(BeNumerically("<", 50*time.Second))
		Expect(bivouac(with(flags("--timeout", "1m"), "true")...)).To(gexec.Exit(0))
	})

	It("leaves nothing when it is killed itself", func() {
		session := start(command(busybox("sh", "-c", "echo up; sleep 600 & sleep 600")...))
		Eventually(session).Should(gbytes.Say("up"))
		session.Kill()
		Eventually(session).Should(gexec.Exit())
		// The check after every spec does the rest.
	})

	It("can have changed files on disk, and leaves none of them there", func() {
		onDisk := func(script string) *gexec.Session {
			cmd := command(busybox("sh", "-c", script)...)
			cmd.Env = append(cmd.Env, "BIVOUAC_SCRATCH=disk")
			return start(cmd)
		}
		Eventually(onDisk("echo x >/f; rm -r /etc/passwd; mkdir /d; chown 7:8 /d; chmod 0 /d")).Should(gexec.Exit(0))
		killed := onDisk("echo up; exec sleep 600")
		Eventually(killed).Should(gbytes.Say("up"))
		killed.Kill()
		Eventually(killed).Should(gexec.Exit())
		// The check after every spec does the rest.
	})

	It("does as many things at once as it is asked to", func() {
		var sessions []*gexec.Session
		for range 8 {
			sessions = append(sessions, start(command(busybox("sh", "-c", "echo $HOSTNAME >/f; sleep 0.2; cat /f")...)))
		}
		seen := map[string]bool{}
		for _, s := range sessions {
			Eventually(s).Should(gexec.Exit(0))
			seen[string(s.Out.Contents())] = true
		}
		Expect(seen).To(HaveLen(8))
	})

	It("enforces limits, or refuses them and names what is missing", func() {
		limited := flags("--memory", "64m", "--pids-limit", "20", "--cpus", "0.5")
		session := bivouac(with(limited, "true")...)
		if session.ExitCode() == 0 {
			Expect(succeed(with(limited, "sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max")...)).
				To(Equal("67108864\n20\n50000 100000"))
			Expect(bivouac(with(limited, "sh", "-c", "head -c 200m /dev/zero | tail")...).ExitCode()).NotTo(BeZero())
			return
		}
		Expect(oneLine(session, 125)).To(MatchRegexp("limit .*memory.*; .*--limits=best-effort"))
		session = bivouac(with(flags("--memory", "64m", "--limits=best-effort"), "true")...)
		Expect(session).To(gexec.Exit(0))
		Expect(session.Err).To(gbytes.Say("warning: no limits"))
	})

	It("sets ulimits", func() {
		Expect(succeed(with(flags("--ulimit", "nofile=100:200"), "sh", "-c", "ulimit -n; ulimit -Hn")...)).To(Equal("100\n200"))
		Expect(oneLine(bivouac(with(flags("--ulimit", "nofile=99999999"), "true")...), 125)).To(ContainSubstring("hard limit"))
	})

	DescribeTable("refuses what makes no sense",
		func(want string, flags ...string) {
			Expect(oneLine(bivouac(with(flags, "true")...), 125)).To(ContainSubstring(want))
		},
		Entry("network", "no such network", "--network", "bridge"),
		Entry("capability", "no such capability", "--cap-add", "FLY"),
		Entry("privileges", "always on", "--security-opt", "no-new-privileges=false"),
		Entry("profile", "no such file", "--security-opt", "seccomp=/no/such/file"),
		Entry("volume", "not a valid name", "-v", "a name:/x"),
		Entry("flag", "unknown", "--no-such-flag"),
		Entry("policy", "missing, always, never", "--pull", "sometimes"),
		Entry("signal", "stop signal", "--stop-signal", "SIGFOO"),
		Entry("platform", "platform", "--platform", "plan9/mips"),
	)
})
