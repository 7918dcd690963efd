package e2e

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// `bivouac run` starts its keeper before Go boots, with the id map that the store remembers.
var _ = Describe("the head start", func() {
	var home, remembered string
	uidMap := func(env ...string) string {
		GinkgoHelper()
		cmd := command("run", image("busybox:latest"), "cat", "/proc/self/uid_map")
		cmd.Env = append(append(cmd.Env, "BIVOUAC_HOME="+home), env...)
		session := finish(cmd)
		Expect(session).To(gexec.Exit(0), string(session.Err.Contents()))
		return string(session.Out.Contents())
	}
	write := func(content string) {
		GinkgoHelper()
		Expect(os.WriteFile(remembered, []byte(content), 0o600)).To(Succeed())
	}
	read := func() string {
		GinkgoHelper()
		content, err := os.ReadFile(remembered)
		Expect(err).NotTo(HaveOccurred())
		return string(content)
	}
	BeforeEach(func() {
		home = filepath.Join(scratchDir(), "store")
		remembered = filepath.Join(home, "idmap")
		uidMap() // makes the store
		uidMap()
	})

	It("uses the map that the store remembers, and works it out again when anything differs", func() {
		right := read()
		key, _, _ := strings.Cut(right, "\n")
		mapped := uidMap()
		if single() {
			Expect(strings.Count(mapped, "\n")).To(Equal(1))
			return // there is no other map that would work
		}
		Expect(strings.Count(mapped, "\n")).To(Equal(2))
		// A map that is wrong on purpose shows that it is used.
		_, own, _ := strings.Cut(strings.TrimSpace(right), "\n")
		maps := strings.Fields(own)
		for i, m := range maps {
			maps[i], _, _ = strings.Cut(m, ";")
		}
		write(key + "\n" + strings.Join(maps, " ") + "\n")
		Expect(strings.Count(uidMap(), "\n")).To(Equal(1))
		Expect(strings.Count(uidMap("USER=somebody-else", "BIVOUAC_IDMAP=auto"), "\n")).To(Equal(2))
		Expect(uidMap()).To(Equal(mapped))
	})

	DescribeTable("does without a map that is none",
		func(content string) {
			right := read()
			write(content)
			uidMap()
			Expect(read()).To(Equal(right))
		},
		Entry("empty", ""),
		Entry("garbage", "\x00\xff\n\n\n"),
		Entry("long", strings.Repeat("1 ", 40_000)),
	)

	It("does without a file that is not one", func() {
		Expect(os.Remove(remembered)).To(Succeed())
		Expect(os.Symlink("/dev/zero", remembered)).To(Succeed())
		uidMap()
	})

	It("leaves no keeper of a command that is refused", func() {
		cmd := command("run", "--no-such-flag", image("busybox:latest"))
		cmd.Env = append(cmd.Env, "BIVOUAC_HOME="+home)
		oneLine(finish(cmd), 125)
	})
})
