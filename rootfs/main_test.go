package rootfs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the main function of the processes that tests start: see child.
func TestMain(m *testing.M) {
	if task := os.Getenv("ROOTFS_TEST_CHILD"); task != "" {
		os.Exit(runChild(task))
	}
	os.Exit(isolated(func() int { return goleakCode(m) }))
}

func goleakCode(m *testing.M) int {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// isolated keeps the configuration of the machine and of its user out.
func isolated(run func() int) int {
	home, err := os.MkdirTemp("", "rootfs-test-home-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(home)
	for name, value := range map[string]string{"HOME": home, "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "", "XDG_RUNTIME_DIR": "",
		"DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": "", "CONTAINERS_REGISTRIES_CONF": os.DevNull, "BIVOUAC_HOME": "",
		"BIVOUAC_CA_FILE": "", "http_proxy": "", "HTTP_PROXY": "", "https_proxy": "", "HTTPS_PROXY": ""} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	firstPause = time.Millisecond
	return run()
}

// child is a pull in a process of its own.
type child struct {
	Dir, Ref  string
	Load      string // archive to load instead of pulling Ref
	KillAt    int64  // number of the step at which it kills itself; 0 for none
	Mount     string // file system of Dir, mounted in a user and mount namespace; empty for none
	MountData string
	Reply     string // file for the outcome
}

// reply is what a child says before it ends.
type reply struct {
	Steps  []string
	Code   Code
	Error  string
	Layers []string
}

func (c child) start(t *testing.T) *exec.Cmd {
	t.Helper()
	task, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "ROOTFS_TEST_CHILD="+string(task))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if c.Mount != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start child: %v", err)
	}
	return cmd
}

// run waits for the child and returns what it said.
func (c child) run(t *testing.T) reply {
	t.Helper()
	c.Reply = filepath.Join(t.TempDir(), "reply")
	if err := c.start(t).Wait(); err != nil {
		t.Fatalf("child %+v: %v", c, err)
	}
	var r reply
	content, err := os.ReadFile(c.Reply)
	if err == nil {
		err = json.Unmarshal(content, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func runChild(task string) int {
	var c child
	if err := json.Unmarshal([]byte(task), &c); err != nil {
		return 2
	}
	if c.Mount != "" {
		if err := syscall.Mount("none", c.Dir, c.Mount, 0, c.MountData); err != nil {
			fmt.Fprintln(os.Stderr, "mount:", err)
			return 3
		}
	}
	firstPause = time.Millisecond
	var r reply
	countSteps(c.KillAt)
	img, err := pullChild(c)
	if err != nil {
		r.Error = err.Error()
		if coded, ok := codeOf(err); ok {
			r.Code = coded.Code
		}
	} else {
		r.Layers = img.Layers
	}
	r.Steps = stepsSeen()
	return answer(c.Reply, r)
}

func pullChild(c child) (*Image, error) {
	s, err := Open(c.Dir, StoreOptions{IDs: singleIDs})
	if err != nil {
		return nil, err
	}
	if c.Load != "" {
		return loadChild(s, c.Load)
	}
	ref, err := ParseReference(c.Ref)
	if err != nil {
		return nil, err
	}
	return s.Pull(context.Background(), ref, PullOptions{Policy: Always})
}

func loadChild(s *Store, path string) (*Image, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	images, err := s.Load(context.Background(), file, LoadOptions{Name: path})
	if err != nil {
		return nil, err
	}
	return images[0], nil
}

func answer(path string, r reply) int {
	if path == "" {
		return 0
	}
	content, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	return 0
}

var (
	stepNames = make(chan string, 100000)
	stepCount atomic.Int64
)

// countSteps makes the process end itself, as kill -9 would, at one step.
func countSteps(killAt int64) {
	step = func(name string) {
		stepNames <- name
		if stepCount.Add(1) == killAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

func stepsSeen() (names []string) {
	close(stepNames)
	for name := range stepNames {
		names = append(names, name)
	}
	return names
}

var singleIDs = IDs{Key: "single", Single: true}

func openStore(t *testing.T) *Store {
	t.Helper()
	return openStoreIn(t, filepath.Join(t.TempDir(), "store"))
}

func openStoreIn(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, StoreOptions{IDs: singleIDs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustParse(t testing.TB, s string) Reference {
	t.Helper()
	ref, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func mustRead(t *testing.T, r io.Reader) []byte {
	t.Helper()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
