// Package e2e drives the built binary as its users do: as an ordinary user, on real images from a real registry.
//
// The environment says where things are; `make test` sets it:
//
//	BIVOUAC_E2E_BINARY        the bivouac executable
//	BIVOUAC_E2E_REGISTRY      host:port of the corpus's registry, plain HTTP
//	BIVOUAC_E2E_REGISTRY_TLS  host:port of the same with TLS and basic auth (tester, secret)
//	BIVOUAC_E2E_CA            the CA certificate of that one
//	BIVOUAC_CORPUS            directory with the same images as OCI layouts below oci/
//	BIVOUAC_E2E_USER_KIND     mapped or single: whether the user has subordinate ids
//	BIVOUAC_CRIU              a CRIU that is new enough, not set if there is none
//	BIVOUAC_E2E_NO_CRIU       why there is none: the reason for which tests of process checkpoints are skipped
package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

var (
	binary   = os.Getenv("BIVOUAC_E2E_BINARY")
	registry = os.Getenv("BIVOUAC_E2E_REGISTRY")
	corpus   = os.Getenv("BIVOUAC_CORPUS")
	// store is shared by the specs that do not say otherwise, so that each image is pulled once.
	store string
)

func TestE2E(t *testing.T) {
	if binary == "" {
		t.Skip("BIVOUAC_E2E_BINARY is not set; run make test")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	RunSpecs(t, "bivouac, "+os.Getenv("BIVOUAC_E2E_USER_KIND"))
}

var _ = BeforeSuite(func() {
	Expect(os.Geteuid()).NotTo(BeZero(), "the product is for ordinary users, and so are its tests")
	store = filepath.Join(scratchDir(), "store")
})

// Nothing may be left of a spec: no process, no container, and no file in the store's scratch.
var _ = BeforeEach(func() {
	before := ownProcesses()
	DeferCleanup(func() {
		Eventually(func() []string { return newProcesses(before) }).WithTimeout(15*time.Second).Should(BeEmpty(), "processes left behind")
		Eventually(func() ([]string, error) { return filepath.Glob(filepath.Join(store, "containers", "[0-9a-f]*")) }).Should(BeEmpty(), "containers left behind")
		Eventually(func() ([]string, error) { return filepath.Glob(filepath.Join(store, "scratch", "*")) }).Should(BeEmpty(), "scratch files left behind")
	})
})

// scratchDir returns a directory that is removed after the suite by who can: its files belong to subordinate ids.
func scratchDir() string {
	dir, err := os.MkdirTemp("", "bivouac-e2e-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		_ = os.RemoveAll(dir)
		if _, err := os.Stat(dir); err == nil {
			remove(dir)
		}
	})
	return dir
}

// remove deletes what belongs to subordinate ids, as root of a container that has them.
func remove(dir string) {
	aside, err := os.MkdirTemp("", "bivouac-e2e-")
	Expect(err).NotTo(HaveOccurred())
	defer os.RemoveAll(aside)
	cmd := exec.Command(binary, "run", "-v", filepath.Dir(dir)+":/mnt", "host:", "rm", "-rf", "/mnt/"+filepath.Base(dir))
	cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+filepath.Join(aside, "store"))
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
}

// command prepares bivouac with the shared store and an environment of its own.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+store)
	return cmd
}

// start runs bivouac in the background; Eventually(session).Should(gexec.Exit()) waits for it.
func start(cmd *exec.Cmd) *gexec.Session {
	GinkgoHelper()
	session, err := gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { session.Kill().Wait() })
	return session
}

// bivouac runs a command to its end.
func bivouac(args ...string) *gexec.Session {
	GinkgoHelper()
	return finish(command(args...))
}

func finish(cmd *exec.Cmd) *gexec.Session {
	GinkgoHelper()
	session := start(cmd)
	Eventually(session).WithTimeout(3 * time.Minute).Should(gexec.Exit())
	return session
}

// succeed runs a command and returns what it printed, without the last line's end.
func succeed(args ...string) string {
	GinkgoHelper()
	session := bivouac(args...)
	Expect(session).To(gexec.Exit(0), "%s\n%s", strings.Join(args, " "), session.Err.Contents())
	return strings.TrimSuffix(string(session.Out.Contents()), "\n")
}

// oneLine asserts that a command failed with a code and exactly one line on stderr, and returns the line.
func oneLine(session *gexec.Session, code int) string {
	GinkgoHelper()
	text := string(session.Err.Contents())
	Expect(session).To(gexec.Exit(code), text)
	Expect(strings.Count(text, "\n")).To(Equal(1), "one line was expected: %q", text)
	return text
}

// image returns the reference of a corpus image in its registry.
func image(name string) string { return registry + "/" + name }

func single() bool { return os.Getenv("BIVOUAC_E2E_USER_KIND") == "single" }

// ownProcesses lists this user's processes that bivouac may have started, as "pid start-time", which is unique: those that
// execute it, and those in another process namespace than ours.
func ownProcesses() map[string]string {
	found := map[string]string{}
	ours, _ := os.Readlink("/proc/self/ns/pid")
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range entries {
		info, err := os.Stat(dir)
		if err != nil || ownerOf(info) != uint32(os.Getuid()) {
			continue
		}
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		namespace, _ := os.Readlink(filepath.Join(dir, "ns/pid"))
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil || exe != binary && (namespace == "" || namespace == ours) {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		found[filepath.Base(dir)+" "+fields[19]] = exe + " " + string(stat)
	}
	return found
}

// threads tells where in the kernel a process's threads are, to see why it is still there.
func threads(pid string) string {
	var out strings.Builder
	tasks, _ := filepath.Glob("/proc/" + pid + "/task/*")
	for _, task := range tasks {
		for _, name := range []string{"wchan", "syscall"} {
			text, _ := os.ReadFile(filepath.Join(task, name))
			out.WriteString(" " + strings.TrimSpace(string(text)))
		}
	}
	return out.String()
}

func newProcesses(before map[string]string) []string {
	var left []string
	for id, stat := range ownProcesses() {
		if _, ok := before[id]; !ok && !strings.Contains(stat, ") Z ") {
			left = append(left, stat+" threads:"+threads(strings.Fields(id)[0]))
		}
	}
	return left
}
