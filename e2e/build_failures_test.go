package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
)

var _ = Describe("builds that fail", func() {
	var b *builder

	BeforeEach(func() { b = newBuilder() })

	It("shows the line and the end of the output of a failed step", func() {
		session := b.build("FROM IMAGE\n\nRUN echo before; \\\n  echo oops >&2; exit 7\n")
		text := string(session.Err.Contents())
		Expect(session).To(gexec.Exit(59), text)
		Expect(text).To(MatchRegexp(`(?m)^ > \[.*\] RUN echo before`))
		Expect(text).To(MatchRegexp(`(?m)^[0-9.]+ oops$`))
		Expect(text).To(MatchRegexp(`(?m)3 \| +>>> RUN echo before`))
		Expect(text).To(MatchRegexp(`(?m)^bivouac: Dockerfile:3: .*exit code: 7$`))
		b.tidy()
	})

	DescribeTable("names the line of a broken Dockerfile",
		func(dockerfile, words string, line int) {
			session := b.build(dockerfile)
			text := string(session.Err.Contents())
			Expect(session).To(gexec.Exit(11), text)
			Expect(text).To(MatchRegexp(words))
			if line > 0 {
				Expect(text).To(MatchRegexp(fmt.Sprintf(`(?m)^bivouac: Dockerfile:%d: `, line)))
				Expect(text).To(MatchRegexp(fmt.Sprintf(`(?m)^ *%d \| +>>> `, line)))
			}
		},
		Entry("an unknown instruction", "FROM IMAGE\nRUNN x\n", `(?i)unknown instruction`, 2),
		Entry("an instruction before FROM", "RUN x\n", `(?i)no build stage|FROM`, 1),
		Entry("an unknown flag", "FROM IMAGE\nCOPY --form=x a b\n", `(?i)form`, 2),
		Entry("an unknown mount type", "FROM IMAGE\nRUN --mount=type=magic x\n", `magic`, 2),
		Entry("an unfinished heredoc", "FROM IMAGE\nRUN <<EOT\nx\n", `(?i)heredoc|EOT`, 2),
		Entry("an empty file", "\n", `(?i)empty`, 0),
	)

	It("says what is missing", func() {
		Expect(string(b.build("FROM IMAGE\nCOPY nothing-here /\n").Err.Contents())).To(MatchRegexp(`Dockerfile:2: .*nothing-here`))
		Expect(string(b.build("FROM " + image("no-such-image:1") + "\n").Err.Contents())).To(MatchRegexp(`Dockerfile:1: .*no-such-image`))
		Expect(string(b.build("FROM IMAGE\nUSER nobody-knows\nRUN true\n").Err.Contents())).To(ContainSubstring("nobody-knows"))
		Expect(string(b.build("FROM IMAGE\nRUN [\"/no/program\"]\n").Err.Contents())).To(ContainSubstring("/no/program"))
		session := finish(b.command("build", "-f", "Nothing", "."))
		Expect(session.ExitCode()).NotTo(BeZero())
		Expect(string(session.Err.Contents())).To(ContainSubstring("Nothing"))
		b.tidy()
	})

	It("follows no symlink out of context or image", func() {
		outside := filepath.Join(GinkgoT().TempDir(), "outside")
		Expect(os.MkdirAll(outside, 0o755)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o644)).To(Succeed())
		Expect(os.Symlink(outside, filepath.Join(b.dir, "link"))).To(Succeed())
		Expect(os.Symlink("../../../../../../.."+outside, filepath.Join(b.dir, "dots"))).To(Succeed())
		Expect(b.build("FROM IMAGE\nCOPY link/f /f\n").ExitCode()).NotTo(BeZero())
		Expect(b.build("FROM IMAGE\nCOPY dots/f /f\n").ExitCode()).NotTo(BeZero())
		b.files("g", "mine")
		b.mustBuild("FROM IMAGE\nRUN ln -s "+outside+" /d && ln -s ../../../../../.."+outside+" /e\nCOPY g /d/g\nCOPY g /e/h\nWORKDIR /d/deep\nRUN --mount=type=tmpfs,target=/d/m true\n", "-t", "x")
		Expect(filepath.Glob(filepath.Join(outside, "*"))).To(Equal([]string{filepath.Join(outside, "f")}))
		Expect(b.run("x", "cat", outside+"/g")).To(Equal("mine"))
		b.tidy()
	})

	It("ends with all it started when it is interrupted", func() {
		b.files("Dockerfile", b.dockerfile("FROM IMAGE\nRUN echo kept > /k\nRUN echo under way; sleep 1000\n"))
		session := start(b.command("build", "--progress", "plain", "."))
		Eventually(session.Err).WithTimeout(time.Minute).Should(gbytes.Say(" under way\n"))
		session.Interrupt()
		Eventually(session).Should(gexec.Exit(130))
		Expect(string(session.Err.Contents())).To(ContainSubstring("interrupted"))
		Eventually(func() []string {
			Expect(cachedSteps(b.mustBuild("FROM IMAGE\nRUN echo kept > /k\n"))).To(ContainElement("RUN"))
			left, _ := filepath.Glob(filepath.Join(b.store, "build", "tmp", "*"))
			return left
		}).Should(BeEmpty())
	})

	It("leaves nothing that the next build does not clean up when it is killed at any time", func() {
		const text = "FROM IMAGE\nCOPY f /f\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo $i > /f$i; done\nRUN dd if=/dev/zero of=/big bs=1M count=8\nRUN cat /big /f1 > /sum\n"
		b.files("Dockerfile", b.dockerfile(text), "f", "x")
		for i := range 12 {
			session := start(b.command("build", "--progress", "plain", "-t", "k", "."))
			time.Sleep(time.Duration(20+15*i) * time.Millisecond)
			session.Signal(syscall.SIGKILL)
			Eventually(session).Should(gexec.Exit())
		}
		Eventually(func() []string { // the last of them may be still ending
			b.mustBuild(text, "-t", "k")
			left, _ := filepath.Glob(filepath.Join(b.store, "build", "tmp", "*"))
			return left
		}).Should(BeEmpty())
		Expect(b.run("k", "sh", "-c", "cat /f9; wc -c < /sum")).To(Equal("9\n8388610"))
	})

	It("is not disturbed by others that build the same", func() {
		b.files("Dockerfile", b.dockerfile("FROM IMAGE\nRUN --mount=type=cache,target=/c,sharing=locked echo x >> /c/log; sleep 0.2; cat /proc/sys/kernel/random/uuid > /when\nRUN cat /when > /copy\n"))
		var sessions []*gexec.Session
		for range 4 {
			sessions = append(sessions, start(b.command("build", "-q", "-t", "same", ".")))
		}
		ids := map[string]bool{}
		for _, s := range sessions {
			Eventually(s).WithTimeout(time.Minute).Should(gexec.Exit(0))
			ids[string(s.Out.Contents())] = true
		}
		Expect(b.run("same", "sh", "-c", "cmp /when /copy && echo equal")).To(Equal("equal"))
		Expect(len(ids)).To(BeNumerically("<=", 4))
		b.tidy()
	})

	It("says when the disk is full, and works again with room", func() {
		b.files("Dockerfile.big", b.dockerfile("FROM IMAGE\nRUN dd if=/dev/zero of=/big bs=1M count=200\n"),
			"Dockerfile.context", b.dockerfile("FROM IMAGE\nCOPY big /\n"), "big", strings.Repeat("x", 60<<20),
			"Dockerfile.small", b.dockerfile("FROM IMAGE\nRUN touch /small\n"))
		Expect(os.MkdirAll(b.store, 0o700)).To(Succeed())
		const script = `mount -t tmpfs -o size=40m,mode=700 none "$1" || exit 99
for f in big context small; do "$2" build --progress plain -f Dockerfile.$f .; echo "$f $?"; done; ls -A "$1/build/tmp"`
		cmd := b.command()
		cmd.Path, cmd.Args = "/usr/bin/unshare", []string{"unshare", "-Urm", "sh", "-c", script, "sh", b.store, binary}
		session := finish(cmd)
		text := string(session.Err.Contents())
		Expect(string(session.Out.Contents())).To(Equal("big 59\ncontext 40\nsmall 0\n"), text)
		Expect(text).To(MatchRegexp("(?i)no space left"))
	})
})
