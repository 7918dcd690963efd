package e2e

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

var _ = Describe("confinement", func() {
	run := func(flags []string, script string) string {
		GinkgoHelper()
		return succeed(append(append([]string{"run"}, flags...), image("busybox:latest"), "sh", "-c", script)...)
	}
	status := func(flags []string, field string) string {
		GinkgoHelper()
		return run(flags, "grep "+field+": /proc/self/status | cut -f2")
	}

	It("has Docker's default capabilities, no new privileges and a seccomp filter", func() {
		Expect(status(nil, "CapEff")).To(Equal("00000000a80425fb"))
		Expect(status(nil, "CapBnd")).To(Equal("00000000a80425fb"))
		Expect(status(nil, "CapInh")).To(Equal("0000000000000000"))
		Expect(status(nil, "CapAmb")).To(Equal("0000000000000000"))
		Expect(status(nil, "NoNewPrivs")).To(Equal("1"))
		Expect(status(nil, "Seccomp")).To(Equal("2"))
	})

	It("changes capabilities as asked", func() {
		Expect(status([]string{"--cap-drop", "ALL"}, "CapEff")).To(Equal("0000000000000000"))
		Expect(status([]string{"--cap-drop", "ALL", "--cap-add", "net_bind_service"}, "CapBnd")).To(Equal("0000000000000400"))
		Expect(status([]string{"--cap-add", "CAP_SYS_ADMIN"}, "CapEff")).To(Equal("00000000a82425fb"))
		if !single() {
			Expect(status([]string{"-u", "33"}, "CapEff")).To(Equal("0000000000000000"))
		}
	})

	It("filters system calls, unless told otherwise", func() {
		Expect(run(nil, "mount -t tmpfs x /mnt 2>&1 || true")).To(MatchRegexp("not permitted|permission denied"))
		Expect(run(nil, "unshare -U true 2>&1 || true")).To(ContainSubstring("not permitted"))
		Expect(run([]string{"--security-opt", "seccomp=unconfined"}, "unshare -U echo allowed")).To(Equal("allowed"))
		profile := filepath.Join(GinkgoT().TempDir(), "profile.json")
		Expect(os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}`), 0o600)).To(Succeed())
		Expect(run([]string{"--security-opt", "seccomp=" + profile}, "mkdir /x 2>&1 || true")).To(ContainSubstring("not supported"))
	})

	It("masks and protects paths of /proc and /sys", func() {
		Expect(run(nil, "cat /proc/kcore /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l")).To(Equal("0\n0"))
		Expect(run(nil, "echo 1 >/proc/sys/vm/drop_caches 2>&1 || echo refused")).To(ContainSubstring("refused"))
		Expect(run(nil, "touch /sys/x 2>&1 || echo refused")).To(ContainSubstring("refused"))
	})

	It("is alone among its processes, and on its network", func() {
		Expect(run(nil, "ps | grep -c busybox || true; ls /proc | grep -c '^[0-9]*$'")).To(MatchRegexp("[0-9]+\n[2-6]$"))
		Expect(run(nil, "ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1")).To(Equal("1\n1"))
		Expect(run([]string{"--network", "host"}, "readlink /proc/self/ns/net")).To(Equal(readlink("/proc/self/ns/net")))
	})

	It("gets no descriptor, no keyring and no user namespace of ours", func() {
		leak, err := os.Open("/etc/passwd")
		Expect(err).NotTo(HaveOccurred())
		defer leak.Close()
		cmd := command("run", image("busybox:latest"), "ls", "-l", "/proc/self/fd")
		cmd.ExtraFiles = []*os.File{leak, leak, leak, leak}
		session := finish(cmd)
		var descriptors []string
		for line := range strings.Lines(string(session.Out.Contents())) {
			if fields := strings.Fields(line); len(fields) > 8 {
				descriptors = append(descriptors, fields[8])
			}
		}
		Expect(descriptors).To(ConsistOf("0", "1", "2", "3")) // 3 is ls's own
		Expect(run(nil, "readlink /proc/self/ns/user")).NotTo(Equal(readlink("/proc/self/ns/user")))
	})

	It("cannot change the program that runs it", func() {
		before, err := os.ReadFile(binary)
		Expect(err).NotTo(HaveOccurred())
		run([]string{"--init"}, "echo overwritten >/proc/1/exe 2>/dev/null; cat /dev/null >/proc/1/exe; true")
		Expect(os.ReadFile(binary)).To(Equal(before))
	})

	It("does not reach the host through a leaked working directory (CVE-2024-21626)", func() {
		for fd := 3; fd < 16; fd++ {
			dir := "/proc/self/fd/" + string(rune('0'+fd%10))
			if fd > 9 {
				dir = "/proc/self/fd/1" + string(rune('0'+fd-10))
			}
			session := bivouac("run", "-w", dir, image("busybox:latest"), "sh", "-c", "pwd; ls ../../../../../../.. 2>/dev/null")
			if session.ExitCode() == 0 {
				Expect(string(session.Out.Contents())).NotTo(ContainSubstring(filepath.Base(store)))
				Expect(string(session.Out.Contents())).NotTo(ContainSubstring("lost+found"))
			}
		}
	})

	It("does not follow an image's /dev out of its root (CVE-2026-41579)", func() {
		victim := GinkgoT().TempDir()
		for _, name := range []string{"null", "zero", "keep", "ptmx", "stdin"} {
			Expect(os.WriteFile(filepath.Join(victim, name), []byte("mine"), 0o644)).To(Succeed())
		}
		root := rootfsWith(map[string]string{"dev": victim})
		session := bivouac("run", "rootfs:"+root, "/bin/busybox", "true")
		Expect(session.ExitCode()).To(BeElementOf(0, 125))
		for _, name := range []string{"null", "zero", "keep", "ptmx", "stdin"} {
			Expect(os.ReadFile(filepath.Join(victim, name))).To(BeEquivalentTo("mine"), name)
		}
		entries, err := os.ReadDir(victim)
		Expect(err).NotTo(HaveOccurred())
		Expect(entries).To(HaveLen(5))
	})

	DescribeTable("does not leave its root by symlinks in the image",
		func(link string) {
			victim := GinkgoT().TempDir()
			root := rootfsWith(map[string]string{link: victim})
			session := bivouac("run", "--tmpfs", "/"+link+"/x", "-w", "/"+link+"/y", "rootfs:"+root, "/bin/busybox", "true")
			Expect(session.ExitCode()).To(BeElementOf(0, 125))
			Expect(os.ReadDir(victim)).To(BeEmpty())
		},
		Entry(nil, "proc"), Entry(nil, "sys"), Entry(nil, "etc"), Entry(nil, "data"),
	)
})

func readlink(path string) string {
	GinkgoHelper()
	target, err := os.Readlink(path)
	Expect(err).NotTo(HaveOccurred())
	return target
}

// rootfsWith returns a directory with busybox and symlinks by name.
func rootfsWith(links map[string]string) string {
	GinkgoHelper()
	root := GinkgoT().TempDir()
	Expect(os.Mkdir(filepath.Join(root, "bin"), 0o755)).To(Succeed())
	session := bivouac("run", image("busybox:latest"), "cat", "/bin/busybox")
	Expect(session).To(gexec.Exit(0))
	Expect(os.WriteFile(filepath.Join(root, "bin", "busybox"), session.Out.Contents(), 0o755)).To(Succeed())
	for name, target := range links {
		if target == "" {
			Expect(os.Mkdir(filepath.Join(root, name), 0o755)).To(Succeed())
			continue
		}
		Expect(os.Symlink(target, filepath.Join(root, name))).To(Succeed())
	}
	return root
}
