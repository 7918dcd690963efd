package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// Each failure has an exit code of its own for every verb but run, which has Docker's 125.
var _ = Describe("bad input", func() {
	var own string
	codes := map[int]string{}

	pull := func(args ...string) *gexec.Session {
		GinkgoHelper()
		cmd := exec.Command(binary, append([]string{"pull", "--quiet"}, args...)...)
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
		return finish(cmd)
	}
	// refuse asserts one line with the words, a code that no other kind of failure has, and nothing half-made.
	refuse := func(kind, words string, args ...string) {
		GinkgoHelper()
		session := pull(args...)
		Expect(oneLine(session, session.ExitCode())).To(MatchRegexp(words))
		Expect(session.ExitCode()).To(BeNumerically(">", 2))
		if other, taken := codes[session.ExitCode()]; taken {
			Expect(other).To(Equal(kind), "exit code %d", session.ExitCode())
		}
		codes[session.ExitCode()] = kind
		left, err := filepath.Glob(filepath.Join(own, "layers", "*", "sha256", "*"))
		Expect(err).NotTo(HaveOccurred())
		for _, dir := range left {
			Expect(filepath.Base(dir)).To(MatchRegexp("^[0-9a-f]{64}$"))
		}
	}

	BeforeEach(func() { own = filepath.Join(scratchDir(), "store") })

	It("names an unknown image or tag", func() {
		refuse("not-found", "busybox:no-such-tag.*not found|no-such-tag", image("busybox:no-such-tag"))
		refuse("not-found", "no/such/image", image("no/such/image:latest"))
		refuse("not-found", "no/such/dir", "oci:/no/such/dir")
	})

	It("names a malformed reference", func() {
		refuse("bad-reference", "UPPER", "UPPER/Case")
	})

	It("names a registry that does not answer", func() {
		refuse("unreachable", "127.0.0.1:1", "127.0.0.1:1/busybox")
	})

	It("refuses content that differs from its digest", func() {
		dir := oddImage(entry("f", "hello"))
		blob := layerBlob(dir)
		text, err := os.ReadFile(blob)
		Expect(err).NotTo(HaveOccurred())
		text[600]++
		Expect(os.WriteFile(blob, text, 0o644)).To(Succeed())
		refuse("digest-mismatch", "digest", "oci:"+dir)
	})

	It("refuses a truncated layer", func() {
		dir := oddImage(entry("f", strings.Repeat("x", 5000)))
		Expect(os.Truncate(layerBlob(dir), 1024)).To(Succeed())
		refuse("truncated", "(?i)truncated|ends early|short|unexpected EOF|bytes", "oci:"+dir)
	})

	DescribeTable("refuses a layer that leaves its root",
		func(entries ...tar.Header) {
			victim := filepath.Join(own, "..", "victim")
			Expect(os.WriteFile(victim, []byte("mine"), 0o644)).To(Succeed())
			dir := oddImage(entries...)
			session := pull("oci:" + dir)
			if session.ExitCode() != 0 {
				Expect(oneLine(session, session.ExitCode())).To(MatchRegexp("leaves the root|hard link"))
			}
			Expect(os.ReadFile(victim)).To(BeEquivalentTo("mine"))
			Expect("/tmp/bivouac-escape").NotTo(BeAnExistingFile())
		},
		Entry("by ..", entry("../../../../victim", "x")),
		Entry("by an absolute name", entry("/tmp/bivouac-escape", "victim")),
		Entry("by a symlinked directory", symlink("d", "/tmp"), entry("d/bivouac-escape", "victim")),
		Entry("by a relative symlink", symlink("d", "../../../../../../tmp"), entry("d/bivouac-escape", "victim")),
		Entry("by a hard link", hardlink("l", "../../../../victim"), entry("l", "x")),
		Entry("by a hard link to a file of the host", hardlink("victim", "/etc/passwd")),
	)

	It("refuses to climb above the root", func() {
		refuse("bad-archive", `"\.\./x"`, "oci:"+oddImage(entry("../x", "")))
		refuse("bad-archive", "hard link|link", "oci:"+oddImage(hardlink("l", "../../x")))
	})

	It("refuses an image beyond the limit", func() {
		refuse("too-large", "(?i)max-unpacked-size", "--max-unpacked-size", "1m", "oci:"+oddImage(entry("big", strings.Repeat("\x00", 3<<20))))
	})

	It("names a file whose owner is not mapped, and can give it away", func() {
		h := entry("strange", "x")
		h.Uid = 3_000_000
		dir := oddImage(h)
		if single() {
			Expect(pull("oci:"+dir)).To(gexec.Exit(0), "with emulated ids every owner is possible")
			return
		}
		refuse("unmapped-id", `strange.*3000000.*--ignore-chown-errors`, "oci:"+dir)
		Expect(pull("--ignore-chown-errors", "oci:"+dir)).To(gexec.Exit(0))
	})

	It("leaves device nodes out with a note", func() {
		session := exec.Command(binary, "pull", "oci:"+oddImage(tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Mode: 0o660, Devmajor: 8}, entry("f", "x")))
		session.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
		done := finish(session)
		Expect(done).To(gexec.Exit(0))
		Expect(string(done.Err.Contents()) + string(done.Out.Contents())).To(ContainSubstring("dev/sda"))
	})

	It("unpacks 127 layers", func() {
		dir := oddLayers(127)
		cmd := exec.Command(binary, "run", "-v", filepath.Dir(binary)+":/b:ro", "--entrypoint", "/b/"+filepath.Base(binary), "oci:"+dir, "version", "--format", "{{.Version}}")
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own)
		session := finish(cmd)
		Expect(session).To(gexec.Exit(0), string(session.Err.Contents()))
	})

	It("says when the disk is full, and recovers", func() {
		small := storeOn("tmpfs", "size=8m", own, "pull", "--quiet", image("debian:slim"))
		Expect(oneLine(small, small.ExitCode())).To(MatchRegexp("(?i)space"))
		Expect(small.ExitCode()).To(BeNumerically(">", 2))
	})

	It("says when the store's file system lacks extended attributes", func() {
		// The outer namespace has a single id, so owners go into attributes; an image of root alone would need none.
		bare := storeOn("ramfs", "mode=700", own, "pull", "--quiet", image("debian:slim"))
		Expect(oneLine(bare, bare.ExitCode())).To(MatchRegexp("attributes.*BIVOUAC_HOME"))
		Expect(bare.ExitCode()).To(BeNumerically(">", 2))
	})
})

// storeOn runs bivouac as root of an outer user namespace in which the store lies on a file system of its own.
func storeOn(kind, options, store string, args ...string) *gexec.Session {
	GinkgoHelper()
	Expect(os.MkdirAll(store, 0o700)).To(Succeed())
	script := `mount -t "$1" -o "$2" none "$3" && shift 3 && exec "$@"`
	cmd := exec.Command("unshare", append([]string{"-Urm", "sh", "-c", script, "-", kind, options, store, binary}, args...)...)
	cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+store)
	return finish(cmd)
}

func entry(name, content string) tar.Header {
	// The content travels in a field that a regular file does not use.
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), Linkname: content}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}
}

func hardlink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Mode: 0o644, Linkname: target}
}

// oddImage writes an OCI layout of one layer.
func oddImage(entries ...tar.Header) string {
	GinkgoHelper()
	return writeLayout([][]byte{layer(entries...)})
}

// oddLayers writes an OCI layout of many small layers.
func oddLayers(n int) string {
	GinkgoHelper()
	layers := make([][]byte, n)
	for i := range layers {
		layers[i] = layer(entry(fmt.Sprintf("f%d", i), fmt.Sprint(i)))
	}
	return writeLayout(layers)
}

func layer(entries ...tar.Header) []byte {
	GinkgoHelper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
		}
		Expect(w.WriteHeader(&h)).To(Succeed())
		_, err := w.Write([]byte(content))
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(w.Close()).To(Succeed())
	return b.Bytes()
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func writeLayout(layers [][]byte) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	blob := func(mediaType string, text []byte) descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(text))
		Expect(os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, "blobs", "sha256", sum), text, 0o644)).To(Succeed())
		return descriptor{mediaType, "sha256:" + sum, len(text)}
	}
	object := func(mediaType string, v any) descriptor {
		text, err := json.Marshal(v)
		Expect(err).NotTo(HaveOccurred())
		return blob(mediaType, text)
	}
	var list []descriptor
	var ids []string
	for _, l := range layers {
		d := blob("application/vnd.oci.image.layer.v1.tar", l)
		list, ids = append(list, d), append(ids, d.Digest)
	}
	config := object("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	manifest := object("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": list,
	})
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}})
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644)).To(Succeed())
	Expect(os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)).To(Succeed())
	return dir
}

// layerBlob returns the file of a layout's only layer.
func layerBlob(dir string) string {
	GinkgoHelper()
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	Expect(err).NotTo(HaveOccurred())
	for _, b := range blobs {
		text, err := os.ReadFile(b)
		Expect(err).NotTo(HaveOccurred())
		if text[0] != '{' {
			return b
		}
	}
	Fail("the layout has no layer")
	return ""
}
