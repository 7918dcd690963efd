package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// depot is a store of a spec's own, which is reset at its end: nothing may be left.
type depot struct{ store, runtime string }

func newDepot() *depot {
	GinkgoHelper()
	d := &depot{filepath.Join(scratchDir(), "store"), GinkgoT().TempDir()}
	Expect(os.Chmod(d.runtime, 0o700)).To(Succeed())
	DeferCleanup(func() {
		out, err := d.command("system", "reset", "-f").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		Expect(d.store).NotTo(BeAnExistingFile())
	})
	return d
}

func (d *depot) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+d.store, "XDG_RUNTIME_DIR="+d.runtime)
	return cmd
}

func (d *depot) try(args ...string) *gexec.Session {
	GinkgoHelper()
	return finish(d.command(args...))
}

func (d *depot) do(args ...string) string {
	GinkgoHelper()
	session := d.try(args...)
	Expect(session).To(gexec.Exit(0), "%s\n%s%s", strings.Join(args, " "), session.Out.Contents(), session.Err.Contents())
	return strings.TrimSuffix(string(session.Out.Contents()), "\n")
}

// find returns the one path below the store that fits a pattern.
func (d *depot) find(pattern string) string {
	GinkgoHelper()
	found, err := filepath.Glob(filepath.Join(d.store, pattern))
	Expect(err).NotTo(HaveOccurred())
	Expect(found).NotTo(BeEmpty(), pattern)
	return found[0]
}

// inside runs a line of the shell as root of the store's ids, with the store at /mnt.
func (d *depot) inside(line string) {
	GinkgoHelper()
	out, err := command("run", "-v", d.store+":/mnt", "host:", "sh", "-c", "cd /mnt && "+line).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
}

// layers counts the unpacked ones.
func (d *depot) layers() int {
	found, _ := filepath.Glob(filepath.Join(d.store, "layers", "*", "sha256", "*"))
	return len(found)
}

// healthy expects that the store is whole, and nothing in it belongs to nothing.
func (d *depot) healthy() {
	GinkgoHelper()
	session := d.try("system", "check")
	Expect(session).To(gexec.Exit(0), string(session.Out.Contents()))
}

var _ = Describe("the store", func() {
	var d *depot
	BeforeEach(func() {
		d = newDepot()
		d.do("pull", "-q", image("busybox:latest"))
	})

	It("removes an image with its last name, and what it had alone", func() {
		d.do("tag", image("busybox:latest"), "mine")
		Expect(d.do("rmi", "mine")).To(Equal("Untagged: mine:latest"))
		id := d.do("images", "-q", "--no-trunc")
		out := d.do("rmi", image("busybox:latest"))
		Expect(out).To(HavePrefix("Untagged: " + image("busybox:latest") + "\n"))
		Expect(out).To(ContainSubstring("Deleted: " + id))
		Expect(d.layers()).To(BeZero())
		Expect(filepath.Glob(filepath.Join(d.store, "blobs", "sha256", "*"))).To(BeEmpty())
		Expect(oneLine(d.try("rmi", image("busybox:latest")), 21)).To(ContainSubstring("there is none"))
	})

	It("does not remove an image of a container", func() {
		d.do("run", "-d", "--name", "kept", image("busybox:latest"), "sleep", "1000")
		Expect(oneLine(d.try("rmi", image("busybox:latest")), 58)).To(ContainSubstring("container kept is running"))
		Expect(oneLine(d.try("rmi", "-f", image("busybox:latest")), 58)).To(ContainSubstring("container kept is running"))
		d.do("stop", "-t", "0", "kept")
		Expect(oneLine(d.try("rmi", image("busybox:latest")), 58)).To(ContainSubstring("container kept is made from it"))
		Expect(d.do("rmi", "-f", image("busybox:latest"))).To(Equal("Untagged: " + image("busybox:latest")))
		d.do("image", "prune", "-a", "-f")
		d.do("start", "kept")
		Expect(d.do("exec", "kept", "echo", "whole")).To(Equal("whole"))
		d.do("rm", "-f", "kept")
		Expect(d.do("image", "prune", "-f")).To(ContainSubstring("deleted: sha256:"))
		Expect(d.layers()).To(BeZero())
	})

	It("does not remove an image of a container that is not kept", func() {
		session := start(d.command("run", image("busybox:latest"), "sh", "-c", "echo up; sleep 1000"))
		Eventually(session.Out.Contents).Should(BeEquivalentTo("up\n"))
		Expect(oneLine(d.try("rmi", "-f", image("busybox:latest")), 58)).To(ContainSubstring("is running"))
		d.do("system", "prune", "-a", "-f")
		Expect(d.layers()).To(Equal(1))
		session.Kill().Wait()
		Eventually(func() int { return d.try("rmi", image("busybox:latest")).ExitCode() }).Should(BeZero())
	})

	It("prunes what nothing needs, after a question", func() {
		d.do("tag", image("busybox:latest"), "mine")
		d.do("run", "--name", "done", image("busybox:latest"), "true")
		session := d.try("system", "prune", "-a")
		Expect(session.Out.Contents()).To(ContainSubstring("Are you sure you want to continue? [y/N]"))
		Expect(d.do("ps", "-aq")).NotTo(BeEmpty())
		yes := d.command("system", "prune", "-a")
		yes.Stdin = strings.NewReader("y\n")
		out := string(finish(yes).Out.Contents())
		Expect(out).To(MatchRegexp(`(?s)Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Images:\nuntagged: .*deleted: sha256:.*Total reclaimed space: \d`))
		Expect(d.do("ps", "-aq")).To(BeEmpty())
		Expect(d.do("images", "-q")).To(BeEmpty())
	})

	It("spares what filters spare", func() {
		d.do("run", "--name", "done", "--label", "keep=me", image("busybox:latest"), "true")
		d.do("system", "prune", "-f", "--filter", "label!=keep")
		Expect(d.do("ps", "-aq")).NotTo(BeEmpty())
		d.do("system", "prune", "-f", "--filter", "until=1h")
		Expect(d.do("ps", "-aq")).NotTo(BeEmpty())
		Expect(oneLine(d.try("system", "prune", "-f", "--filter", "color=red"), 2)).To(ContainSubstring("there is no such filter"))
		d.do("system", "prune", "-f", "--filter", "label=keep=me")
		Expect(d.do("ps", "-aq")).To(BeEmpty())
		Expect(d.do("images", "-q")).NotTo(BeEmpty())
	})

	It("tells what takes how much of the disk", func() {
		d.do("run", "--name", "big", image("busybox:latest"), "dd", "if=/dev/zero", "of=/x", "bs=1M", "count=5")
		d.do("commit", "big", "big:1")
		var u struct {
			Images                     []struct{ Shared, Unique, Containers int64 }
			Containers                 []struct{ Size int64 }
			ImagesSize                 int64 `json:"images_size"`
			ImagesSpare                int64 `json:"images_spare"`
			Other                      int64
			Volumes, Snapshots, Layers []any
		}
		Expect(json.Unmarshal([]byte(d.do("system", "df", "-v", "--format", "json")), &u)).To(Succeed())
		Expect(u.Images).To(HaveLen(2))
		Expect(u.Layers).To(HaveLen(2))
		Expect(u.Other).To(BeZero())
		Expect(u.Containers[0].Size).To(BeNumerically("~", 5<<20, 200<<10))
		Expect(u.ImagesSpare).To(BeNumerically("~", 5<<20, 200<<10))
		total := u.ImagesSize + u.Containers[0].Size
		out, err := exec.Command("du", "-s", "-B1", d.store).Output()
		_ = err // directories of subordinate ids cannot be read from outside: those of images can
		du, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
		Expect(err).NotTo(HaveOccurred())
		Expect(du).To(BeNumerically("~", total, 300<<10))
		Expect(d.do("system", "df")).To(MatchRegexp(`(?m)^Images +2 +1 +\S+ +\S+ \(\d+%\)$`))
		Expect(d.do("system", "df", "--format", "{{.Type}} {{.TotalCount}}")).To(ContainSubstring("Local Volumes 0"))
		Expect(d.do("system", "df", "-v")).To(ContainSubstring("UNIQUE SIZE"))
	})

	It("resets everything, also what belongs to subordinate ids", func() {
		d.do("run", "-d", "--name", "up", "-v", "data:/data", image("busybox:latest"), "sh", "-c", "chown 7:7 /data; mkdir /own; chown 7 /own; chmod 0 /own; sleep 1000")
		d.do("system", "reset") // nobody answers the question
		yes := d.command("system", "reset")
		yes.Stdin = strings.NewReader("y\n")
		Expect(oneLine(finish(yes), 58)).To(ContainSubstring("container up is running"))
		d.do("system", "reset", "-f")
		Expect(d.store).NotTo(BeAnExistingFile())
		Expect(d.do("run", image("busybox:latest"), "echo", "again")).To(Equal("again"))
	})

	DescribeTable("finds and repairs",
		func(kind string, spoil func(d *depot)) {
			d.do("run", "--name", "done", image("busybox:latest"), "touch", "/x")
			d.healthy()
			spoil(d)
			session := d.try("system", "check")
			Expect(session).To(gexec.Exit(1), string(session.Out.Contents()))
			Expect(string(session.Out.Contents())).To(HavePrefix(kind + " "))
			repaired := d.try("system", "check", "--repair")
			Expect(string(repaired.Out.Contents())).To(ContainSubstring("(repaired)"))
			d.do("run", image("busybox:latest"), "true")
			d.do("pull", "-q", image("busybox:latest"))
			d.healthy()
		},
		Entry("a flipped byte in a blob", "blob", func(d *depot) {
			var largest string
			var size int64
			Expect(filepath.WalkDir(filepath.Join(d.store, "blobs"), func(path string, e fs.DirEntry, err error) error {
				if st, _ := e.Info(); !e.IsDir() && st.Size() > size {
					largest, size = path, st.Size()
				}
				return err
			})).To(Succeed())
			Expect(flip(largest)).To(Succeed())
		}),
		Entry("a missing file of a layer", "layer", func(d *depot) { d.inside("rm layers/*/sha256/*/diff/bin/busybox") }),
		Entry("a changed owner", "layer", func(d *depot) {
			if single() {
				d.inside("chmod 0700 layers/*/sha256/*/diff/bin/busybox")
			} else {
				d.inside("chown 5 layers/*/sha256/*/diff/bin/busybox")
			}
		}),
		Entry("a missing layer", "image", func(d *depot) { d.inside("rm -r layers/*/sha256/*") }),
		Entry("a garbage record", "container", func(d *depot) {
			Expect(os.WriteFile(d.find("containers/*/container.json"), []byte("{"), 0o600)).To(Succeed())
		}),
		Entry("a dangling name", "leftover", func(d *depot) {
			Expect(os.Symlink("../"+strings.Repeat("0", 64), filepath.Join(d.store, "containers", "names", "ghost"))).To(Succeed())
		}),
		Entry("leftovers", "leftover", func(d *depot) {
			Expect(os.MkdirAll(filepath.Join(filepath.Dir(filepath.Dir(d.find("layers/*/sha256/*"))), "tmp", "new-x", "diff"), 0o755)).To(Succeed())
		}),
		Entry("the rest of a container", "leftover", func(d *depot) {
			Expect(os.MkdirAll(filepath.Join(d.store, "containers", strings.Repeat("1", 64), "upper"), 0o700)).To(Succeed())
		}),
	)

	It("stays whole among commands that run, pull, commit, remove and prune at once", func() {
		var all sync.WaitGroup
		end := time.Now().Add(8 * time.Second)
		for seed := range uint64(4) {
			all.Go(func() {
				defer GinkgoRecover()
				random := rand.New(rand.NewPCG(seed, uint64(GinkgoRandomSeed())))
				for n := 0; time.Now().Before(end); n++ {
					name := fmt.Sprintf("c%d-%d", seed, n)
					switch random.IntN(6) {
					case 0:
						Expect(d.try("rmi", "-f", image("busybox:latest")).ExitCode()).To(BeElementOf(0, 21, 58))
					case 1:
						d.do("image", "prune", "-a", "-f")
					case 2:
						d.do("run", "--name", name, image("busybox:latest"), "touch", "/"+name)
						d.do("commit", name, name)
						d.do("rm", name)
					default:
						Expect(d.do("run", "--rm", image("busybox:latest"), "echo", name)).To(Equal(name))
					}
				}
			})
		}
		all.Wait()
		d.healthy()
	})

	DescribeTable("survives kill -9 of",
		func(verb []string, prepare func(d *depot)) {
			for range 20 {
				d.do("pull", "-q", image("busybox:latest"))
				prepare(d)
				cmd := d.command(verb...)
				Expect(cmd.Start()).To(Succeed())
				time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
			d.do("run", image("busybox:latest"), "true")
			d.do("system", "prune", "-f")
			d.healthy()
		},
		Entry("commit", []string{"commit", "job", "made"}, func(d *depot) {
			if d.do("ps", "-aq") == "" {
				d.do("run", "--name", "job", image("busybox:latest"), "dd", "if=/dev/urandom", "of=/x", "bs=1M", "count=8")
			}
		}),
		Entry("rmi", []string{"rmi", "-f", "busybox:latest"}, func(d *depot) { d.do("tag", image("busybox:latest"), "busybox:latest") }),
		Entry("system prune", []string{"system", "prune", "-a", "-f"}, func(d *depot) { d.do("run", "--name", "x"+strconv.Itoa(rand.Int()), image("busybox:latest"), "true") }),
	)
})
