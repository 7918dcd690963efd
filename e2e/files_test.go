package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/sandbox"
)

var _ = Describe("the files of a container", func() {
	var client *sandbox.Client

	BeforeEach(func(ctx SpecContext) {
		var err error
		client, err = sandbox.Start(ctx, sandbox.Options{Keeper: binary, Env: []string{"BIVOUAC_HOME=" + store}})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(client.Close()).To(Succeed()) })
	})

	create := func(ctx SpecContext, spec sandbox.Spec) *sandbox.Container {
		GinkgoHelper()
		if spec.Image == "" {
			spec.Image = image("busybox:latest")
		}
		spec.Get.PlainHTTP = true
		c, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		return c
	}
	shell := func(script string) sandbox.Spec { return sandbox.Spec{Args: []string{"sh", "-c", script}} }
	// started waits until the script has made /ready.
	started := func(ctx SpecContext, c *sandbox.Container) {
		GinkgoHelper()
		Expect(c.Start(ctx, sandbox.Streams{Stdout: os.Stderr, Stderr: os.Stderr})).To(Succeed())
		Eventually(func() error { _, err := fs.Stat(c.FS(ctx), "ready"); return err }).Should(Succeed())
	}
	ended := func(ctx SpecContext, c *sandbox.Container) {
		GinkgoHelper()
		Expect(c.Start(ctx, sandbox.Streams{Stdout: os.Stderr, Stderr: os.Stderr})).To(Succeed())
		exit, err := c.Wait(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(exit.Code).To(BeZero())
	}

	Describe("as an fs.FS", func() {
		It("are those of the image before the start, and the program's after its end", func(ctx SpecContext) {
			c := create(ctx, shell("echo changed > /etc/motd; rm /etc/group"))
			Expect(fs.ReadFile(c.FS(ctx), "etc/passwd")).To(ContainSubstring("root:x:0:0"))
			_, err := fs.ReadFile(c.FS(ctx), "etc/motd")
			Expect(err).To(MatchError(fs.ErrNotExist))
			ended(ctx, c)
			Expect(fs.ReadFile(c.FS(ctx), "etc/motd")).To(BeEquivalentTo("changed\n"))
			_, err = fs.Stat(c.FS(ctx), "etc/group")
			Expect(err).To(MatchError(fs.ErrNotExist))
		})

		It("keep the rules of fs.FS", func(ctx SpecContext) {
			c := create(ctx, shell("mkdir -p /t/d; echo x > /t/f; ln -s f /t/l; ln -s d /t/ld; echo y > /t/d/g; : > /t/empty"))
			ended(ctx, c)
			t, err := fs.Sub(c.FS(ctx), "t")
			Expect(err).NotTo(HaveOccurred())
			Expect(fstest.TestFS(t, "f", "d/g", "l", "ld", "empty")).To(Succeed())
			etc, err := fs.Sub(c.FS(ctx), "etc")
			Expect(err).NotTo(HaveOccurred())
			Expect(fstest.TestFS(etc, "passwd")).To(Succeed())
		})

		It("have its mounts while the program runs", func(ctx SpecContext) {
			host := GinkgoT().TempDir()
			Expect(os.WriteFile(filepath.Join(host, "f"), []byte("host's"), 0o644)).To(Succeed())
			s := shell("echo tmp > /mem/f; echo $$ > /pid; : > /ready; exec sleep 1000")
			s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/mem"}, {Type: sandbox.MountBind, Source: host, Target: "/bound"}}
			s.Hostname = "somebody"
			c := create(ctx, s)
			started(ctx, c)
			Expect(fs.ReadFile(c.FS(ctx), "mem/f")).To(BeEquivalentTo("tmp\n"))
			Expect(fs.ReadFile(c.FS(ctx), "bound/f")).To(BeEquivalentTo("host's"))
			Expect(fs.ReadFile(c.FS(ctx), "etc/hostname")).To(BeEquivalentTo("somebody\n"))
			Expect(fs.ReadFile(c.FS(ctx), "proc/1/cmdline")).To(ContainSubstring("sleep"))
			Expect(c.Discard(ctx)).To(Succeed())
			_, err := fs.Stat(c.FS(ctx), ".")
			Expect(err).To(MatchError(&sandbox.Error{Code: sandbox.CodeAlreadyFinished}))
		})

		It("do not lead out of the container", func(ctx SpecContext) {
			outside := GinkgoT().TempDir()
			Expect(os.WriteFile(filepath.Join(outside, "secret"), []byte("LEAKED"), 0o644)).To(Succeed())
			c := create(ctx, shell("ln -s "+outside+" /abs; ln -s ../../../../../../../../../.. /rel; ln -s /proc/1/root /magic; ln -s /proc/self/cwd /cwd; : > /ready; exec sleep 1000"))
			started(ctx, c)
			for _, name := range []string{"abs/secret", "rel" + outside + "/secret", "magic" + outside + "/secret", "cwd" + outside + "/secret", "proc/1/root/etc/passwd"} {
				_, err := fs.ReadFile(c.FS(ctx), name)
				Expect(err).To(HaveOccurred(), name)
			}
			Expect(fs.ReadFile(c.FS(ctx), "rel/etc/hostname")).NotTo(BeEmpty())
		})

		It("say owners as the container sees them, and what cannot be opened", func(ctx SpecContext) {
			c := create(ctx, shell("mkfifo /pipe; : > /owned; chown 70:71 /owned; chmod 4750 /owned; : > /ready; exec sleep 1000"))
			started(ctx, c)
			info, err := fs.Stat(c.FS(ctx), "owned")
			Expect(err).NotTo(HaveOccurred())
			Expect(info.Mode()).To(Equal(fs.ModeSetuid | 0o750))
			Expect(info.Sys()).To(HaveValue(And(HaveField("UID", BeEquivalentTo(70)), HaveField("GID", BeEquivalentTo(71)))))
			for name, kind := range map[string]string{"pipe": "named pipe", "dev/null": "device"} {
				_, err := fs.Stat(c.FS(ctx), name)
				Expect(err).NotTo(HaveOccurred())
				_, err = c.FS(ctx).Open(name)
				Expect(err).To(MatchError(ContainSubstring(kind)))
				Expect(errors.Is(err, errors.ErrUnsupported)).To(BeTrue())
			}
		})
	})

	Describe("copied", func() {
		archive := func(headers ...tar.Header) io.Reader {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range headers {
				text := h.Linkname
				if h.Typeflag == tar.TypeReg {
					h.Size, h.Linkname = int64(len(text)), ""
				}
				h.ModTime = time.Unix(1_600_000_000, 0)
				Expect(w.WriteHeader(&h)).To(Succeed())
				if h.Typeflag == tar.TypeReg {
					_, err := io.WriteString(w, text)
					Expect(err).NotTo(HaveOccurred())
				}
			}
			Expect(w.Close()).To(Succeed())
			return &b
		}
		file := func(name, text string, uid int) tar.Header {
			return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: text, Mode: 0o640, Uid: uid, Gid: uid}
		}

		It("get in before the start, while it runs, and after the end", func(ctx SpecContext) {
			s := shell(`test "$(stat -c %u:%g:%a:%Y /in/first)" = 70:70:640:1600000000 || exit 1
				: > /ready; until test -e /mem/second; do sleep 0.02; done; cp /mem/second /seen`)
			s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/mem"}}
			c := create(ctx, s)
			Expect(c.CopyTo(ctx, "/in", archive(file("first", "1", 70)))).To(Succeed())
			started(ctx, c)
			Expect(c.CopyTo(ctx, "/mem", archive(file("second", "2", 0)))).To(Succeed())
			exit, err := c.Wait(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(exit.Code).To(BeZero())
			Expect(fs.ReadFile(c.FS(ctx), "seen")).To(BeEquivalentTo("2"))
			Expect(c.CopyTo(ctx, "/", archive(file("seen", "3", 0)))).To(Succeed())
			Expect(fs.ReadFile(c.FS(ctx), "seen")).To(BeEquivalentTo("3"))
		})

		It("come out as they are inside", func(ctx SpecContext) {
			c := create(ctx, shell("mkdir -p /d/e; echo x > /d/f; chown 70:71 /d/f; ln /d/f /d/z; ln -s /etc/passwd /d/l; mkfifo /d/p; ln -s d /s"))
			ended(ctx, c)
			stream, err := c.CopyFrom(ctx, "/d")
			Expect(err).NotTo(HaveOccurred())
			found := map[string]*tar.Header{}
			for r := tar.NewReader(stream); ; {
				h, err := r.Next()
				if err == io.EOF {
					break
				}
				Expect(err).NotTo(HaveOccurred())
				found[h.Name] = h
			}
			Expect(stream.Close()).To(Succeed())
			Expect(found).To(HaveLen(6))
			Expect(found["d/f"]).To(And(HaveField("Uid", 70), HaveField("Gid", 71), HaveField("Size", BeEquivalentTo(2))))
			Expect(found["d/z"]).To(And(HaveField("Typeflag", byte(tar.TypeLink)), HaveField("Linkname", "d/f")))
			Expect(found["d/l"].Linkname).To(Equal("/etc/passwd"))
			Expect(found["d/p"].Typeflag).To(BeEquivalentTo(tar.TypeFifo))

			_, err = c.CopyFrom(ctx, "/none")
			Expect(err).To(MatchError(&sandbox.Error{Code: sandbox.CodeNotFound}))
		})

		It("may be left half read, and all of a running container can be read", func(ctx SpecContext) {
			c := create(ctx, shell(": > /ready; exec sleep 1000"))
			started(ctx, c)
			stream, err := c.CopyFrom(ctx, "/")
			Expect(err).NotTo(HaveOccurred())
			_, err = io.ReadFull(stream, make([]byte, 1000))
			Expect(err).NotTo(HaveOccurred())
			Expect(stream.Close()).To(Succeed())
			stream, err = c.CopyFrom(ctx, "/")
			Expect(err).NotTo(HaveOccurred())
			n, err := io.Copy(io.Discard, stream)
			Expect(err).NotTo(HaveOccurred())
			Expect(n).To(BeNumerically(">", 1<<20))
			Expect(stream.Close()).To(Succeed())
		})

		It("tell what is wrong with an archive or a place", func(ctx SpecContext) {
			s := shell(": > /ready; exec sleep 1000")
			s.Mounts = []sandbox.Mount{{Type: sandbox.MountBind, Source: GinkgoT().TempDir(), Target: "/bound", ReadOnly: true}}
			c := create(ctx, s)
			started(ctx, c)
			for _, test := range []struct {
				dir  string
				tar  io.Reader
				code sandbox.Code
			}{
				{"/x", strings.NewReader(strings.Repeat("no archive", 200)), sandbox.CodeBadArchive},
				{"/x", archive(file("../y", "1", 0)), sandbox.CodeBadArchive},
				{"/etc/passwd", archive(file("y", "1", 0)), sandbox.CodeInvalid},
				{"/bound", archive(file("y", "1", 0)), sandbox.CodeInvalid},
				{"/etc", archive(file("hosts", "1", 0)), sandbox.CodeInvalid},
			} {
				Expect(sandbox.CodeOf(c.CopyTo(ctx, test.dir, test.tar))).To(Equal(test.code), test.dir)
			}
			Expect(c.CopyTo(ctx, "/x", io.MultiReader(archive(file("y", "1", 0)), failing{}))).To(MatchError("the source failed"))
			Expect(fs.ReadFile(c.FS(ctx), "etc/hosts")).To(ContainSubstring("localhost"))
		})

		It("stay inside while a hostile program swaps directories against symlinks", func(ctx SpecContext) {
			outside := GinkgoT().TempDir()
			Expect(os.WriteFile(filepath.Join(outside, "f"), []byte("LEAKED"), 0o666)).To(Succeed())
			Expect(os.Chmod(outside, 0o777)).To(Succeed())
			c := create(ctx, shell("mkdir -p /d/real; echo mine > /d/real/f; : > /ready; while :; do mv /d/real /d/aside; ln -s "+outside+" /d/real; rm /d/real; mv /d/aside /d/real; done 2>/dev/null"))
			started(ctx, c)
			copied := 0
			for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
				if c.CopyTo(ctx, "/d", archive(file("real/f", "mine", 0), file("real/g", "mine", 0))) == nil {
					copied++
				}
				if stream, err := c.CopyFrom(ctx, "/d"); err == nil {
					content, _ := io.ReadAll(stream)
					Expect(string(content)).NotTo(ContainSubstring("LEAKED"))
					Expect(stream.Close()).To(Succeed())
				}
				content, _ := fs.ReadFile(c.FS(ctx), "d/real/f")
				Expect(string(content)).NotTo(ContainSubstring("LEAKED"))
			}
			Expect(copied).NotTo(BeZero())
			entries, err := os.ReadDir(outside)
			Expect(err).NotTo(HaveOccurred())
			Expect(entries).To(HaveLen(1))
			Expect(os.ReadFile(filepath.Join(outside, "f"))).To(BeEquivalentTo("LEAKED"))
		})
	})

	Describe("that changed", func() {
		changes := func(ctx SpecContext, c *sandbox.Container) (lines []string) {
			GinkgoHelper()
			list, err := c.Changes(ctx)
			Expect(err).NotTo(HaveOccurred())
			for _, change := range list {
				lines = append(lines, change.String())
			}
			return lines
		}

		It("are listed like docker diff, without what was made for the container", func(ctx SpecContext) {
			s := shell("echo x > /new; mkdir /d; : > /d/f; rm /etc/group; echo x >> /etc/passwd; echo x >> /etc/hosts; : > /deep/mount/x; : > /here/y; chown 70 /root; : > /ready; exec sleep 1000")
			s.WorkingDir = "/here"
			s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/deep/mount"}}
			c := create(ctx, s)
			Expect(changes(ctx, c)).To(BeEmpty())
			started(ctx, c)
			want := []string{"A /d", "A /d/f", "C /etc", "D /etc/group", "C /etc/passwd", "A /here/y", "A /new", "A /ready", "C /root"}
			Expect(changes(ctx, c)).To(Equal(want))
			Expect(c.Signal(ctx, 9)).To(Succeed())
			_, err := c.Wait(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(changes(ctx, c)).To(Equal(want))
		})

		It("are none of a program that changes nothing", func(ctx SpecContext) {
			c := create(ctx, shell("true"))
			ended(ctx, c)
			Expect(changes(ctx, c)).To(BeEmpty())
		})

		It("are listed over the machine's own root", func(ctx SpecContext) {
			s := shell("mkdir /bvc-a && : > /bvc-a/x && : > /etc/bvc-b && echo '# c' >> /etc/passwd && : > /usr/bvc-c && : > /run/bvc-d")
			s.Image = "host:"
			c := create(ctx, s)
			before := changes(ctx, c)
			Expect(before).To(BeEmpty())
			ended(ctx, c)
			Expect(changes(ctx, c)).To(Equal([]string{
				"A /bvc-a", "A /bvc-a/x", "C /etc", "A /etc/bvc-b", "C /etc/passwd", "C /run", "A /run/bvc-d", "C /usr", "A /usr/bvc-c",
			}))
		})
	})
})

// failing is a source that ends in an error.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the source failed") }
