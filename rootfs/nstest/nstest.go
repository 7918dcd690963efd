// Package nstest runs tests as user 0 of a user namespace, once for each kind
// of user: one with subordinate ids and one without.
package nstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Mode is a way to map ids.
type Mode string

const (
	// Single maps id 0 alone, to the user who runs the tests.
	Single Mode = "single"
	// Mapped also maps the ids from 1 on, to subordinate ids.
	Mapped Mode = "mapped"
)

const (
	modeEnv = "_NSTEST_MODE" // set inside: the Mode
	waitEnv = "_NSTEST_WAIT" // set while ids are not mapped yet
)

// Run calls test in a fresh user and mount namespace for every mode given, in
// a subtest named after it. The namespaces are those of another process, the
// same test binary: what the test did before Run is done there again. A mode
// that the user cannot have is skipped, with the reason.
func Run(t *testing.T, test func(t *testing.T, mode Mode), modes ...Mode) {
	t.Helper()
	inside := Mode(os.Getenv(modeEnv))
	for _, mode := range modes {
		if inside != "" && inside != mode {
			continue
		}
		t.Run(string(mode), func(t *testing.T) {
			if inside == "" {
				enter(t, mode)
			} else {
				test(t, mode)
			}
		})
	}
}

// Both runs a test in either mode.
func Both(t *testing.T, test func(t *testing.T, mode Mode)) {
	t.Helper()
	Run(t, test, Single, Mapped)
}

// MaxID is the highest id that is mapped inside.
func MaxID(t testing.TB) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	highest := 0
	for line := range strings.Lines(string(data)) {
		var first, host, size int
		if _, err := fmt.Sscan(line, &first, &host, &size); err != nil {
			t.Fatal(err)
		}
		highest = max(highest, first+size-1)
	}
	return highest
}

// enter runs the current test in the namespaces, with its output as a log.
func enter(t *testing.T, mode Mode) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run="+exactly(t.Name()), "-test.v=true", "-test.count=1")
	cmd.Env = append(os.Environ(), modeEnv+"="+string(mode))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var err error
	if mode == Single {
		err = runSingle(cmd)
	} else {
		err = runMapped(t, cmd)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Fatalf("in a user namespace: %v\n%s", err, out.String())
	case err != nil:
		t.Fatalf("enter a user namespace: %v", err)
	case strings.Contains(out.String(), "--- SKIP: "+t.Name()+" "):
		t.Skip(out.String())
	case !strings.Contains(out.String(), "--- PASS: "+t.Name()+" "):
		t.Fatalf("the test did not run in the user namespace\n%s", out.String())
	}
	t.Log(out.String())
}

func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

func runSingle(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

// runMapped starts the process, maps its ids, and lets it go on.
func runMapped(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	uids, gids := subordinate(t, "/etc/subuid"), subordinate(t, "/etc/subgid")
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	cmd.ExtraFiles = []*os.File{r}
	cmd.Env = append(cmd.Env, waitEnv+"=1")
	err = cmd.Start()
	r.Close()
	if err != nil {
		return err
	}
	err = errors.Join(
		writeMap("newuidmap", cmd.Process.Pid, os.Getuid(), uids),
		writeMap("newgidmap", cmd.Process.Pid, os.Getgid(), gids))
	if err == nil {
		_, err = w.Write([]byte{1})
	}
	w.Close()
	return errors.Join(err, cmd.Wait())
}

// ids are the first subordinate ids of a user.
type ids struct{ first, size string }

func subordinate(t *testing.T, file string) ids {
	t.Helper()
	if _, err := exec.LookPath("newuidmap"); err != nil {
		t.Skipf("no newuidmap: %v", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("no subordinate ids: %v", err)
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && (f[0] == u.Username || f[0] == u.Uid) {
			return ids{f[1], f[2]}
		}
	}
	t.Skipf("user %s has no subordinate ids in %s", u.Username, file)
	return ids{}
}

func writeMap(tool string, pid, id int, sub ids) error {
	out, err := exec.Command(tool, strconv.Itoa(pid), "0", strconv.Itoa(id), "1", "1", sub.first, sub.size).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, out)
	}
	return nil
}

// A process without mapped ids loses its capabilities in execve(2): it waits
// until they are mapped and executes itself once more.
func init() {
	if os.Getenv(waitEnv) == "" {
		return
	}
	if err := os.Unsetenv(waitEnv); err != nil {
		fmt.Fprintln(os.Stderr, "nstest:", err)
		os.Exit(1)
	}
	ready := os.NewFile(3, "ready")
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		fmt.Fprintln(os.Stderr, "nstest: wait for ids:", err)
		os.Exit(1)
	}
	ready.Close()
	err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	fmt.Fprintln(os.Stderr, "nstest: execute again:", err)
	os.Exit(1)
}
