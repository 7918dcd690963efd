package e2e

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// past is before anything in these tests.
var past = time.Unix(1_000_000_000, 0)

var _ = Describe("mounts of RUN", func() {
	var b *builder

	BeforeEach(func() {
		b = newBuilder()
		DeferCleanup(func() { b.tidy() })
	})

	It("keeps caches from build to build, and out of images", func() {
		const text = "FROM IMAGE\nARG N\nRUN --mount=type=cache,target=/cache,id=mine echo $N >> /cache/log; cat /cache/log > /seen\n"
		b.mustBuild(text, "-t", "c", "--build-arg", "N=1")
		b.mustBuild(text, "-t", "c", "--build-arg", "N=2")
		Expect(b.run("c", "sh", "-c", "cat /seen; ls /cache 2>&1; true")).To(SatisfyAll(HavePrefix("1\n2\n"), ContainSubstring("No such file")))
		b.mustBuild("FROM IMAGE\nRUN --mount=type=cache,target=/other,id=mine,ro ! touch /other/x && cat /other/log > /seen\n", "-t", "c")
		Expect(b.run("c", "cat", "/seen")).To(Equal("1\n2"))
		b.mustBuild("FROM IMAGE\nRUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0750,from=IMAGE,source=/bin stat -c '%u:%g %a' /c > /seen; ls /c >> /seen\n", "-t", "c")
		Expect(b.run("c", "cat", "/seen")).To(SatisfyAll(HavePrefix("7:8 750\n"), ContainSubstring("busybox")))
	})

	It("binds the context, stages and images, and discards what is written there", func() {
		b.files("src/f", "from the context\n")
		b.mustBuild(`FROM IMAGE AS made
RUN echo "from a stage" > /made
FROM IMAGE
RUN --mount=target=/ctx ! touch /ctx/x && cat /ctx/src/f > /seen
RUN --mount=type=bind,source=src,target=/src,rw echo more >> /src/f && cat /src/f >> /seen
RUN --mount=from=made,target=/stage cat /stage/made >> /seen
RUN --mount=type=bind,from=IMAGE,source=/bin/busybox,target=/one test -f /one
`, "-t", "bound")
		Expect(b.run("bound", "sh", "-c", "cat /seen; ls /one 2>/dev/null || true")).To(Equal("from the context\nfrom the context\nmore\nfrom a stage"))
		Expect(os.ReadFile(filepath.Join(b.dir, "src/f"))).To(BeEquivalentTo("from the context\n"))
	})

	It("mounts memory of a size", func() {
		b.mustBuild("FROM IMAGE\nRUN --mount=type=tmpfs,target=/m,size=1m df -k /m | tail -1 > /seen; ! dd if=/dev/zero of=/m/f bs=1k count=2000\n", "-t", "m")
		Expect(b.run("m", "cat", "/seen")).To(MatchRegexp(`tmpfs +1024 `))
	})

	It("keeps secrets out of all that stays", func() {
		const value = "correct-horse-battery-staple"
		b.files("token", value)
		shown := b.mustBuild(`FROM IMAGE
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token)" = correct-horse-$(echo battery)-staple
RUN --mount=type=secret,id=token,target=/t,uid=5,gid=6,mode=0440 stat -c '%u:%g %a' /t > /seen
RUN --mount=type=secret,id=token,env=TOKEN echo ${#TOKEN} >> /seen
RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing
`, "-t", "s", "--secret", "id=token,src=token")
		Expect(b.run("s", "sh", "-c", "cat /seen; ls -A /run/secrets /t 2>/dev/null || true")).To(Equal("5:6 440\n28"))
		Expect(shown).NotTo(ContainSubstring(value))
		expectNowhere(b.store, value)
		session := b.build("FROM IMAGE\nRUN --mount=type=secret,id=other,required true\n")
		Expect(session.ExitCode()).NotTo(BeZero())
		Expect(string(session.Err.Contents())).To(ContainSubstring("other"))
	})

	It("forwards an agent to the step that asks for it", func() {
		dir, err := os.MkdirTemp("", "agent") // a short path, as sockets need
		Expect(err).NotTo(HaveOccurred())
		defer os.RemoveAll(dir)
		agent, err := net.Listen("unix", filepath.Join(dir, "s"))
		Expect(err).NotTo(HaveOccurred())
		defer agent.Close()
		go func() {
			for {
				conn, err := agent.Accept()
				if err != nil {
					return
				}
				text := make([]byte, 5)
				_, _ = io.ReadFull(conn, text)
				_, _ = conn.Write([]byte("heard " + string(text)))
				_ = conn.Close()
			}
		}()
		b.files("ask.py", "import os, socket\ns = socket.socket(socket.AF_UNIX)\ns.connect(os.environ['SSH_AUTH_SOCK'])\ns.sendall(b'hello')\nprint(s.recv(100).decode())\n")
		const text = "FROM PYTHON\nRUN --mount=type=ssh --mount=target=/ctx python3 /ctx/ask.py\nRUN test -z \"$SSH_AUTH_SOCK\"\n"
		shown := b.mustBuild(strings.ReplaceAll(text, "PYTHON", image("python:3")), "--ssh", "default="+agent.Addr().String())
		Expect(shown).To(ContainSubstring("heard hello"))
	})
})

// expectNowhere looks for a text in all files of a store, and in the layers that are compressed there.
func expectNowhere(store, text string) {
	GinkgoHelper()
	script := `grep -rlF -- "$2" "$1" && exit 1
find "$1/blobs" -type f | while read -r f; do zcat "$f" 2>/dev/null | grep -qF -- "$2" && echo "$f"; done; true`
	cmd := exec.Command(binary, "run", "-v", store+":/mnt:ro", "host:", "sh", "-c", script, "sh", "/mnt", text)
	cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+filepath.Join(scratchDir(), "store"))
	session := finish(cmd)
	Expect(session).To(gexec.Exit(0), string(session.Out.Contents()))
	Expect(string(session.Out.Contents())).To(BeEmpty())
}
