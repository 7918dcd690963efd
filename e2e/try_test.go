package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// tryHome is a directory of files that a command is tried on, below the user's home: host: shows that.
type tryHome struct{ dir string }

func newTryHome(files map[string]string) *tryHome {
	GinkgoHelper()
	home, err := os.UserHomeDir()
	Expect(err).NotTo(HaveOccurred())
	dir, err := os.MkdirTemp(home, "bivouac-try-test-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return os.RemoveAll(dir) })
	h := &tryHome{dir}
	for name, text := range files {
		h.write(name, text)
	}
	return h
}

func (h *tryHome) path(name string) string { return filepath.Join(h.dir, name) }

func (h *tryHome) write(name, text string) {
	GinkgoHelper()
	Expect(os.MkdirAll(filepath.Dir(h.path(name)), 0o755)).To(Succeed())
	Expect(os.WriteFile(h.path(name), []byte(text), 0o644)).To(Succeed())
}

func (h *tryHome) read(name string) string {
	text, err := os.ReadFile(h.path(name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (h *tryHome) command(args ...string) *exec.Cmd {
	cmd := command(append([]string{"try"}, args...)...)
	cmd.Dir = h.dir
	cmd.Env = append(cmd.Env, "HOME="+h.dir, "PWD="+h.dir)
	return cmd
}

// try runs a line of the shell, with flags before it.
func (h *tryHome) try(line string, flags ...string) *gexec.Session {
	GinkgoHelper()
	return finish(h.command(append(flags, "sh", "-c", line)...))
}

// listed are the lines on standard error, with paths below the directory.
func (h *tryHome) listed(s *gexec.Session) []string {
	text := strings.ReplaceAll(string(s.Err.Contents()), h.dir+"/", "")
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// tree lists what there is: names with modes, and contents.
func (h *tryHome) tree() string {
	GinkgoHelper()
	out, err := exec.Command("sh", "-c", `cd "$1" && find . -printf '%p %y %m %l\n' | sort && find . -type f | sort | xargs -r cat`, "sh", h.dir).Output()
	Expect(err).NotTo(HaveOccurred())
	return string(out)
}

var _ = Describe("try", func() {
	It("lists what the command would change, and writes nothing", func() {
		h := newTryHome(map[string]string{".config/theme": "color=blue\n", "gone/1": "", "gone/sub/2": "", "same": "x"})
		Expect(os.Symlink("same", h.path("link"))).To(Succeed())
		before := h.tree()
		s := h.try("sed -i s/blue/green/ .config/theme; mkdir -p .local/bin; echo x > .local/bin/tool; rm -rf gone; ln -sfn .config link; cat same; pwd; touch new")
		Expect(s).To(gexec.Exit(0))
		Expect(string(s.Out.Contents())).To(Equal("x" + h.dir + "\n"))
		Expect(h.listed(s)).To(ConsistOf("C "+h.dir, "C .config/theme", "A .local", "A .local/bin", "A .local/bin/tool", "D gone", "C link", "A new"))
		Expect(h.tree()).To(Equal(before))
	})

	It("lists nothing for a command that changes nothing, has the user's own environment and exit code", func() {
		h := newTryHome(nil)
		cmd := h.command("sh", "-c", `cat; echo "$MINE $HOME"; exit 7`)
		cmd.Env = append(cmd.Env, "MINE=own value")
		cmd.Stdin = strings.NewReader("typed\n")
		s := finish(cmd)
		Expect(s).To(gexec.Exit(7))
		Expect(string(s.Out.Contents())).To(Equal("typed\nown value " + h.dir + "\n"))
		Expect(s.Err.Contents()).To(BeEmpty())
		Expect(oneLine(finish(h.command("/no/such/program")), 127)).To(ContainSubstring("not found on this machine"))
		Expect(oneLine(finish(h.command("--commit")), 125)).To(ContainSubstring("bivouac try --commit COMMAND"))
		Expect(oneLine(finish(h.command()), 125)).NotTo(BeEmpty())
	})

	It("shows what has changed in files", func() {
		h := newTryHome(map[string]string{"text": "one\ntwo\n", "dir/a": "", "dir/b": ""})
		line := `echo three >> text; printf 'a\0b' > bin; rm -r dir; chmod 600 text; printf '\033[31mred\n' > esc`
		s := h.try(line, "--diff")
		Expect(string(s.Err.Contents())).To(And(ContainSubstring(" two\n+three\n"), ContainSubstring("bin: 0 -> 3 bytes"),
			ContainSubstring("changed mode of"), ContainSubstring("deleted directory "+h.path("dir")+" with 2 files")))
		s = h.try(line, "--stat", "--path", "text", "--path", "[bd]i*")
		Expect(h.listed(s)).To(Equal([]string{" bin  | Bin 0 -> 3 bytes", " dir  | directory deleted with 2 files", " text |     1 +", " 3 paths changed, 1 insertion(+), 0 deletions(-)"}))
		out := h.path("report")
		Expect(h.try(line, "--stat", "--format", "json", "--path", "text", "-o", out)).To(gexec.Exit(0))
		var row map[string]any
		Expect(json.Unmarshal([]byte(h.read("report")), &row)).To(Succeed())
		Expect(row).To(And(HaveKeyWithValue("path", h.path("text")), HaveKeyWithValue("insertions", 1.0), HaveKeyWithValue("oldMode", "0644"), HaveKeyWithValue("mode", "0600")))
		Expect(h.try(line, "-q").Err.Contents()).To(BeEmpty())
	})

	It("makes the changes with --commit", func() {
		h := newTryHome(map[string]string{"theme": "blue\n", "gone/1": "", "gone/sub/2": "", "becomes-dir": "x", "becomes-file/x": "", "Makefile": "install:\n\tmkdir -p $(HOME)/.local/bin\n\tinstall -m 755 theme $(HOME)/.local/bin/tool\n"})
		Expect(os.Symlink("theme", h.path("link"))).To(Succeed())
		s := h.try(`mkdir -p .local/bin && install -m 755 theme .local/bin/tool && sed -i s/blue/green/ theme && rm -rf gone &&
			rm becomes-dir && mkdir becomes-dir && echo in > becomes-dir/in && rm -r becomes-file && echo file > becomes-file &&
			ln -sfn gone link && touch -d 2001-02-03T04:05:06Z .local/bin/tool && mkfifo fifo && chmod 700 .local && chmod u+s becomes-file`, "--commit")
		Expect(s).To(gexec.Exit(0), string(s.Err.Contents()))
		Expect(s.Err.Contents()).To(ContainSubstring("bivouac: applied 10 changes"))
		Expect(h.tree()).To(Equal(strings.Join([]string{
			". d 700 ", "./.local d 700 ", "./.local/bin d 755 ", "./.local/bin/tool f 755 ", "./Makefile f 644 ", "./becomes-dir d 755 ",
			"./becomes-dir/in f 644 ", "./becomes-file f 644 ", "./fifo p 644 ", "./link l 777 gone", "./theme f 644 ",
			"blue", "install:", "\tmkdir -p $(HOME)/.local/bin", "\tinstall -m 755 theme $(HOME)/.local/bin/tool", "in", "file", "green", "",
		}, "\n")))
		st, err := os.Stat(h.path(".local/bin/tool"))
		Expect(err).NotTo(HaveOccurred())
		Expect(st.ModTime()).To(BeTemporally("==", time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)))
		Expect(ownerOf(st)).To(BeEquivalentTo(os.Getuid()))
	})

	It("makes the chosen changes alone, with the directories that lead to them", func() {
		h := newTryHome(map[string]string{"a": "a\n", "b": "b\n"})
		s := h.try("echo x >> a; echo x >> b; mkdir -p d/e/f; touch d/e/f/g d/other", "--commit", "--path", "a", "--path", "d/e/f/g")
		Expect(s).To(gexec.Exit(0), string(s.Err.Contents()))
		Expect(h.listed(s)).To(Equal([]string{"C a", "A d", "A d/e", "A d/e/f", "A d/e/f/g", "bivouac: applied 5 changes"}))
		Expect(h.tree()).To(HavePrefix(". d 700 \n./a f 644 \n./b f 644 \n./d d 755 \n./d/e d 755 \n./d/e/f d 755 \n./d/e/f/g f 644 \na\nx\nb\n"))
		Expect(h.try("echo x >> a", "--commit", "--path", "nothing")).To(gexec.Exit(125))
	})

	It("makes no change when the command fails", func() {
		h := newTryHome(map[string]string{"a": "a\n"})
		s := h.try("echo x >> a; exit 3", "--commit")
		Expect(s).To(gexec.Exit(3))
		Expect(string(s.Err.Contents())).To(ContainSubstring("nothing was applied, because the command failed"))
		Expect(h.read("a")).To(Equal("a\n"))
	})

	// meanwhile changes the machine's files while the command runs.
	meanwhile := func(h *tryHome, first, then string, change func()) *gexec.Session {
		GinkgoHelper()
		cmd := h.command("--commit", "sh", "-c", first+"; echo up; read go; "+then)
		in, err := cmd.StdinPipe()
		Expect(err).NotTo(HaveOccurred())
		s := start(cmd)
		Eventually(s.Out.Contents).Should(ContainSubstring("up"))
		change()
		_, err = in.Write([]byte("go\n"))
		Expect(err).NotTo(HaveOccurred())
		Eventually(s).Should(gexec.Exit())
		return s
	}
	DescribeTable("applies nothing where something was changed meanwhile",
		func(first, then, name, why string) {
			h := newTryHome(map[string]string{"file": "old\n", "dir/in": "old\n", "other": "old\n"})
			var before string
			s := meanwhile(h, first, then+"; echo new > other", func() {
				h.write(name, "mine\n")
				before = h.tree()
			})
			Expect(s).To(gexec.Exit(125))
			Expect(string(s.Err.Contents())).To(And(ContainSubstring("nothing was applied"), ContainSubstring(why)))
			Expect(h.tree()).To(Equal(before))
		},
		Entry("a file that is changed before", "echo new > file", ":", "file", "file was changed meanwhile"),
		Entry("a file that is changed after", ":", "echo new > file", "file", "file was changed meanwhile"),
		Entry("a file that is removed", "rm file", ":", "file", "file was changed meanwhile"),
		Entry("a file in a directory that is removed", ":", "rm -r dir", "dir/in", "dir was changed meanwhile: in in it"),
		Entry("a file that comes into a directory that is removed", "rm -r dir", ":", "dir/more", "dir was changed meanwhile"),
		Entry("a file that is added", "echo new > added", ":", "added", "added was changed meanwhile"),
	)

	It("applies nothing where a file that it changed is removed meanwhile, or its directory", func() {
		h := newTryHome(map[string]string{"d/file": "old\n", "e/file": "old\n"})
		s := meanwhile(h, "echo new > d/file", ":", func() { Expect(os.Remove(h.path("d/file"))).To(Succeed()) })
		Expect(s).To(gexec.Exit(125))
		Expect(h.path("d/file")).NotTo(BeAnExistingFile())
		s = meanwhile(h, "echo new > e/file", ":", func() { Expect(os.RemoveAll(h.path("e"))).To(Succeed()) })
		Expect(s).To(gexec.Exit(125))
		Expect(h.path("e")).NotTo(BeAnExistingFile())
	})

	It("applies nothing where a directory has become a symlink meanwhile", func() {
		h := newTryHome(map[string]string{"dir/file": "old\n", "victim/file": "victim\n"})
		s := meanwhile(h, "echo new > dir/file", ":", func() {
			Expect(os.Rename(h.path("dir"), h.path("moved"))).To(Succeed())
			Expect(os.Symlink("victim", h.path("dir"))).To(Succeed())
		})
		Expect(s).To(gexec.Exit(125))
		Expect(h.read("victim/file") + h.read("moved/file")).To(Equal("victim\nold\n"))
	})

	It("applies nothing where the user has no right", func() {
		h := newTryHome(map[string]string{"a": "a\n", "closed/file": "x"})
		Expect(os.Chmod(h.path("closed"), 0o555)).To(Succeed())
		DeferCleanup(func() { _ = os.Chmod(h.path("closed"), 0o755) })
		s := h.try("echo x >> a; echo y > closed/file; echo z > closed/new", "--commit")
		Expect(s).To(gexec.Exit(125))
		Expect(string(s.Err.Contents())).To(ContainSubstring("where you may not write"))
		Expect(h.read("a")).To(Equal("a\n"))
		s = h.try("echo x >> a; mkdir -p /usr/local/bivouac-try-test", "--commit")
		Expect(s).To(gexec.Exit(125))
		Expect(string(s.Err.Contents())).To(ContainSubstring("A /usr/local/bivouac-try-test"))
		Expect(h.read("a")).To(Equal("a\n"))
		s = h.try("echo x >> a; : > /run/bivouac-try-test", "--commit", "--path", "a", "--path", "/run/bivouac-try-test")
		Expect(s).To(gexec.Exit(125))
		Expect(string(s.Err.Contents())).To(ContainSubstring("file system in memory or of the kernel"))
		Expect(h.read("a")).To(Equal("a\n"))
	})

	It("says which temporary files go, and removes nothing that may be one of them", func() {
		h := newTryHome(map[string]string{"precious": "data\n"})
		s := h.try("echo text > /run/left; touch new", "--commit")
		Expect(s).To(gexec.Exit(0), string(s.Err.Contents()))
		Expect(h.listed(s)).To(And(ContainElement("A new"), ContainElement("bivouac: applied 1 change"), Not(ContainElement("A /run/left")),
			ContainElement(HavePrefix("bivouac: not kept: /run/left, "))))
		Expect(h.path("new")).To(BeAnExistingFile())
		Expect(string(h.try("echo text > /run/left", "--diff", "--path", "/run").Err.Contents())).To(ContainSubstring("+text"))
		s = h.try("mv precious /run/", "--commit")
		Expect(s).To(gexec.Exit(125))
		Expect(string(s.Err.Contents())).To(ContainSubstring("the command left /run/precious, which is not kept and may hold what was there"))
		Expect(h.read("precious")).To(Equal("data\n"))
		s = h.try("mkdir /dev/shm/dir; mv precious /dev/shm/dir", "--commit")
		Expect(s).To(gexec.Exit(125))
		Expect(string(s.Err.Contents())).To(ContainSubstring("the command left /dev/shm/dir/precious, which is not kept and may hold what was there"))
		Expect(h.read("precious")).To(Equal("data\n"))
		s = h.try("mv precious /run/", "--commit", "--path", "precious")
		Expect(s).To(gexec.Exit(0), string(s.Err.Contents()))
		Expect(h.path("precious")).NotTo(BeAnExistingFile())
	})

	It("applies what was done to all names of a file, and to directories that changed places", func() {
		h := newTryHome(map[string]string{"src/a": "a\n", "deep/b/c": "c\n"})
		Expect(os.Link(h.path("src/a"), h.path("src/hard"))).To(Succeed())
		Expect(os.Link(h.path("src/a"), h.path("other"))).To(Succeed())
		s := h.try("mv src t && mv deep src && mv t deep", "--commit")
		Expect(s).To(gexec.Exit(0), string(s.Err.Contents()))
		Expect(h.tree()).To(HavePrefix(". d 700 \n./deep d 755 \n./deep/a f 644 \n./deep/hard f 644 \n./other f 644 \n./src d 755 \n./src/b d 755 \n./src/b/c f 644 \n"))
		one, err := os.Stat(h.path("deep/a"))
		Expect(err).NotTo(HaveOccurred())
		two, err := os.Stat(h.path("deep/hard"))
		Expect(err).NotTo(HaveOccurred())
		Expect(os.SameFile(one, two)).To(BeTrue())
	})

	It("leaves the store alone, though the command removes the directory that holds it", func() {
		h := newTryHome(map[string]string{"data/file": "x"})
		cmd := h.command("--commit", "rm", "-rf", "data")
		cmd.Env = append(cmd.Env, "BIVOUAC_HOME="+h.path("data/store"))
		Expect(os.MkdirAll(h.path("data/store"), 0o700)).To(Succeed())
		s := finish(cmd)
		Expect(s).To(gexec.Exit(125))
		Expect(string(s.Err.Contents())).To(ContainSubstring("holds a directory of bivouac's own"))
		Expect(h.path("data/file")).To(BeAnExistingFile())
	})

	It("lets a hostile command lead no write elsewhere", func() {
		outside := newTryHome(map[string]string{"victim": "safe\n"})
		h := newTryHome(map[string]string{"dir/file": "x\n", "a": "a\n"})
		before := outside.tree()
		s := h.try(`rm -r dir; ln -s `+outside.dir+` dir; ln -s `+outside.path("victim")+` planted; rm a; ln -s dir/victim a
			mkdir mine; ln -s .. mine/up; echo ok > mine/ok
			for p in /proc/1/root /proc/self/root /proc/1/cwd; do echo hacked > $p`+outside.path("victim")+`; done 2>/dev/null
			mount -o remount,rw / 2>/dev/null; umount `+outside.dir+` 2>/dev/null; rm -f `+h.path("mine")+`/../.bivouac*; true`, "--commit", "--path", h.dir)
		Expect(s).To(gexec.Exit(0), string(s.Err.Contents()))
		Expect(outside.tree()).To(Equal(before))
		Expect(os.Readlink(h.path("dir"))).To(Equal(outside.dir))
		Expect(os.Readlink(h.path("a"))).To(Equal("dir/victim"))
		Expect(h.read("mine/ok")).To(Equal("ok\n"))
		h.try("mknod device c 1 3", "--commit")
		if st, err := os.Lstat(h.path("device")); err == nil { // with a single id it is an empty file
			Expect(st.Mode().IsRegular()).To(BeTrue(), "no device is ever made")
		}
	})

	It("leaves each file old or new when it is killed", func() {
		files := map[string]string{}
		for i := range 40 {
			files["d/"+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = "old\n"
		}
		for _, delay := range []time.Duration{0, 5, 10, 20, 40} {
			h := newTryHome(files)
			cmd := h.command("--commit", "sh", "-c", "for f in d/*; do echo new > $f; done; echo done")
			s := start(cmd)
			Eventually(s.Out.Contents).Should(ContainSubstring("done"))
			time.Sleep(delay * time.Millisecond)
			s.Signal(syscall.SIGKILL)
			Eventually(s).Should(gexec.Exit())
			for name := range files {
				Expect(h.read(name)).To(Or(Equal("old\n"), Equal("new\n")))
			}
		}
	})

	It("gives the command the terminal", func() {
		h := newTryHome(nil)
		terminal, err := pty.Start(h.command("sh", "-c", "tty; touch made; echo over"))
		Expect(err).NotTo(HaveOccurred())
		defer terminal.Close()
		var text strings.Builder
		b := make([]byte, 4096)
		for {
			n, err := terminal.Read(b)
			text.Write(b[:n])
			if err != nil {
				break
			}
		}
		Expect(text.String()).To(And(ContainSubstring("/dev/pts/"), ContainSubstring("over"), ContainSubstring("A "+h.path("made"))))
	})
})
