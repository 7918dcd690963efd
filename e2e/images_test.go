package e2e

import (
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

var _ = Describe("images", func() {
	DescribeTable("runs every kind of image",
		func(name string) { Expect(succeed("run", image(name), "echo", "hello")).To(Equal("hello")) },
		Entry("gzip layers", "busybox:latest"),
		Entry("zstd layers", "busybox:zstd"),
		Entry("uncompressed layers", "busybox:none"),
		Entry("Docker schema 2", "busybox:v2s2"),
		Entry("an index with several platforms", "busybox:multi"),
		Entry("Debian", "debian:slim"),
		Entry("several layers", "debian:tools"),
	)

	DescribeTable("runs images from elsewhere than a registry",
		func(reference func() string) { Expect(succeed("run", reference(), "echo", "hello")).To(Equal("hello")) },
		Entry("oci:", func() string { return "oci:" + layout("busybox") + ":latest" }),
		Entry("oci: with a single image", func() string { return "oci:" + layout("debian") + ":slim" }),
		Entry("oci-archive:", func() string { return "oci-archive:" + archive("busybox") + ":latest" }),
	)

	It("runs a root file system in a directory without writing to it", func() {
		root := rootfsWith(nil)
		Expect(succeed("run", "rootfs:"+root, "/bin/busybox", "sh", "-c", "/bin/busybox touch /new; /bin/busybox ls /")).To(ContainSubstring("new"))
		Expect(filepath.Join(root, "new")).NotTo(BeAnExistingFile())
	})

	It("chooses the platform", func() {
		Expect(succeed("run", image("busybox:multi"), "cat", "/etc/corpus-arch")).To(Equal("amd64"))
		session := bivouac("run", "--platform", "linux/arm64", image("busybox:multi"), "true")
		Expect(oneLine(quietPull(session), 126)).To(ContainSubstring("another architecture"))
		Expect(lastLine(bivouac("run", image("busybox:arm64only"), "true"), 125)).To(ContainSubstring("arm64"))
	})

	It("keeps setuid bits, file capabilities, whiteouts, opaque directories and owners", func() {
		Expect(succeed("run", image("debian:slim"), "stat", "-c", "%a %U", "/usr/bin/passwd")).To(Equal("4755 root"))
		tools := image("debian:tools")
		Expect(succeed("run", "-u", "0", tools, "getcap", "/usr/bin/ping")).To(ContainSubstring("cap_net_raw=ep"))
		Expect(succeed("run", tools, "sh", "-c", "ls /etc/debian_version 2>&1 | grep -c 'No such'; ls /etc/cron.daily; ls -A /etc/skel")).To(Equal("1\nonly-this\n.replaced"))
		Expect(succeed("run", tools, "sh", "-c", "id -u; cat /srv/app/f; stat -c '%u:%g %a' /srv/app")).To(Equal("1000\nhello\n1000:1000 700"))
	})

	It("lists and inspects what it has", func() {
		succeed("run", image("busybox:latest"))
		Expect(succeed("images")).To(MatchRegexp(`(?m)^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE$`))
		Expect(succeed("images", "--format", "{{.Repository}}:{{.Tag}}")).To(ContainSubstring("/busybox:latest"))
		Expect(succeed("images", "--format", "json")).To(ContainSubstring(`"Tag":"latest"`))
		Expect(succeed("inspect", "--format", "{{.Architecture}}", image("busybox:latest"))).To(Equal("amd64"))
		Expect(bivouac("inspect", "nothing-like-this").ExitCode()).NotTo(BeZero())
	})

	It("is a valid OCI layout for other tools", func() {
		tool, err := exec.LookPath("skopeo")
		if err != nil {
			Skip("skopeo is not installed")
		}
		succeed("pull", image("busybox:latest"))
		out, err := exec.Command(tool, "inspect", "--raw", "oci:"+store+":"+image("busybox:latest")).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		Expect(string(out)).To(ContainSubstring("schemaVersion"))
	})

	It("obeys the pull policy", func() {
		own := filepath.Join(scratchDir(), "store")
		with := func(args ...string) *gexec.Session {
			cmd := exec.Command(binary, args...)
			cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
			return finish(cmd)
		}
		Expect(oneLine(with("run", "--pull", "never", image("busybox:latest")), 125)).To(ContainSubstring("bivouac pull"))
		Expect(with("run", image("busybox:latest"))).To(gexec.Exit(0))
		Expect(with("run", "--pull", "never", image("busybox:latest"))).To(gexec.Exit(0))
		Expect(with("run", "--pull", "always", image("busybox:latest"))).To(gexec.Exit(0))
	})

	It("pulls once for several at a time", func() {
		own := filepath.Join(scratchDir(), "store")
		var sessions []*gexec.Session
		for range 4 {
			cmd := exec.Command(binary, "run", image("debian:slim"), "cat", "/etc/hostname")
			cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
			sessions = append(sessions, start(cmd))
		}
		for _, s := range sessions {
			Eventually(s).WithTimeout(2 * time.Minute).Should(gexec.Exit(0))
		}
		entries, err := filepath.Glob(filepath.Join(own, "layers", "*", "sha256", "*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(entries).To(HaveLen(1))
	})

	It("survives being killed in the middle of a pull", func() {
		own := filepath.Join(scratchDir(), "store")
		for delay := 5; delay < 400; delay += 45 {
			cmd := exec.Command(binary, "pull", image("debian:slim"))
			cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
			session := start(cmd)
			time.Sleep(time.Duration(delay) * time.Millisecond)
			session.Kill().Wait()
		}
		cmd := exec.Command(binary, "run", image("debian:slim"), "sh", "-c", "dpkg --verify >/dev/null && dpkg -l | wc -l")
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
		session := finish(cmd)
		Expect(session).To(gexec.Exit(0), string(session.Err.Contents()))
	})
})

var _ = Describe("services and package managers", func() {
	It("runs Postgres by the image's own entrypoint", func() {
		session := start(command("run", "-e", "POSTGRES_PASSWORD=x", image("postgres:15")))
		Eventually(session.Out).WithTimeout(2 * time.Minute).Should(gbytes.Say("init process complete"))
		Eventually(session.Err).Should(gbytes.Say("ready to accept connections"))
		session.Terminate()
		Eventually(session).WithTimeout(30 * time.Second).Should(gexec.Exit(0))
	})

	It("runs SQL in Postgres as its own user", func() {
		script := `docker-entrypoint.sh postgres >/tmp/log 2>&1 &
			for i in $(seq 300); do grep -q 'init process complete' /tmp/log && pg_isready -q -h 127.0.0.1 && break; sleep 0.2; done
			psql -h 127.0.0.1 -U postgres -Atc 'create table t(i int); insert into t values (41); select i+1 from t'
			stat -c %U /var/lib/postgresql/data/PG_VERSION`
		Expect(succeed("run", "--init", "-e", "POSTGRES_PASSWORD=x", "-e", "PGPASSWORD=x", "--entrypoint", "bash", image("postgres:15"), "-c", script)).
			To(HaveSuffix("42\npostgres"))
	})

	It("runs Redis, which steps down to its own user", func() {
		session := start(command("run", image("redis:7")))
		Eventually(session).WithTimeout(time.Minute).Should(gbytes.Say("Ready to accept connections"))
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))
	})

	It("runs nginx with workers of another user", func() {
		script := `nginx -g 'daemon off;' & for i in $(seq 100); do exec 3<>/dev/tcp/127.0.0.1/80 && break; sleep 0.1; done 2>/dev/null
			printf 'GET /1k HTTP/1.0\r\n\r\n' >&3; head -1 <&3`
		Expect(succeed("run", "--init", "--entrypoint", "bash", image("nginx:latest"), "-c", script)).To(ContainSubstring("200 OK"))
	})

	It("installs a package with apt, owners and all", func() {
		script := `set -e
			mkdir -p /p/DEBIAN /p/var/lib/camp /p/usr/bin
			printf '#!/bin/sh\nexec stat -c %%U:%%G /var/lib/camp\n' >/p/usr/bin/camp; chmod 755 /p/usr/bin/camp
			printf 'Package: camp\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n' >/p/DEBIAN/control
			printf '#!/bin/sh\nset -e\nuseradd --system camper\nchown camper:games /var/lib/camp\n' >/p/DEBIAN/postinst; chmod 755 /p/DEBIAN/postinst
			dpkg-deb --root-owner-group -b /p /camp.deb >/dev/null
			apt-get install -qq -y /camp.deb >/log 2>&1 || { cat /log; exit 1; }
			camp; setpriv --reuid=camper --regid=games --clear-groups id -un`
		Expect(succeed("run", image("debian:slim"), "sh", "-c", script)).To(Equal("camper:games\ncamper"))
	})

	It("changes and shows owners alike", func() {
		script := `touch /f; chown 7:8 /f; stat -c %u:%g /f; mkdir /d; chown 9 /d; stat -c %u:%g /d; ln -s f /l; chown -h 3 /l; stat -c %u /l
			su -s /bin/sh www-data -c 'id -u; touch /tmp/mine; stat -c %U /tmp/mine; chown root /tmp/mine 2>/dev/null || echo refused'`
		Expect(succeed("run", image("debian:slim"), "sh", "-c", script)).To(Equal("7:8\n9:0\n3\n33\nwww-data\nrefused"))
	})
})

// layout returns the OCI layout of a corpus image.
func layout(name string) string { return filepath.Join(corpus, "oci", name) }

// archive returns an OCI archive of a corpus image.
func archive(name string) string {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "image.tar")
	out, err := exec.Command("tar", "-C", layout(name), "-cf", file, ".").CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	return file
}

// quietPull passes on a session whose stderr has lines of a pull before its own.
func quietPull(s *gexec.Session) *gexec.Session {
	lines := strings.SplitAfter(string(s.Err.Contents()), "\n")
	if len(lines) < 2 {
		return s
	}
	s.Err = gbytes.BufferWithBytes([]byte(lines[len(lines)-2]))
	return s
}

func lastLine(s *gexec.Session, code int) string {
	GinkgoHelper()
	return oneLine(quietPull(s), code)
}
