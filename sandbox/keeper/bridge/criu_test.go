package bridge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/snapshot/criu"
	"github.com/bivouac-run/bivouac/userns/notify/notifytest"
)

// TestDumpAndRestore has the real CRIU checkpoint processes that it could not, or not rightly, without the bridge.
func TestDumpAndRestore(t *testing.T) {
	found, err := criu.Find(t.Context())
	if err != nil {
		t.Skip(err)
	}
	s := spec{Run: "checkpoint", Args: []string{found.Path}}
	if found.Loader != "" {
		s.Args = []string{found.Loader, "--library-path", strings.Join(found.Libraries, ":"), found.Path}
	}
	s.Options.Filters = 1
	if out, err := s.run(t); err != nil || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
}

// checkpoint dumps the target, which ends it, restores it, and has it look at itself.
func checkpoint(s spec) error {
	c := s.stage("target", unix.CLONE_NEWIPC, 0, 0)
	c.SysProcAttr.Setsid, c.SysProcAttr.Pdeathsig = true, 0
	if err := errors.Join(os.Mkdir("images", 0o700), c.Start()); err != nil {
		return err
	}
	if err := await("ready"); err != nil {
		return err
	}
	program := s.Args
	s.Args = criuArgs(program, "dump", "--tree", fmt.Sprint(c.Process.Pid))
	err := s.underFilter()
	if err != nil {
		return failure("dump", err)
	}
	_ = c.Wait() // killed
	reap()
	args := criuArgs(program, "restore", "--restore-detached")
	if err := exec.Command(args[0], args[1:]...).Run(); err != nil {
		return failure("restore", err)
	}
	if err := os.WriteFile("check", nil, 0o600); err != nil {
		return err
	}
	return errors.Join(report("target"), report("child"))
}

// failure does not wrap: the exit status alone would tell nothing.
func failure(verb string, err error) error {
	return errors.New(verb + ": " + err.Error() + "\n" + errorsIn("images/"+verb+".log"))
}

// reap lets the numbers of those go who were orphaned.
func reap() {
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func criuArgs(program []string, verb string, more ...string) []string {
	args := append(program[:len(program):len(program)], verb, "--no-default-config", "-v2", "--log-file", verb+".log",
		"--images-dir", "images", "--work-dir", "images", "--unprivileged", "--manage-cgroups=ignore", "--ghost-limit", "1M")
	return append(args, more...)
}

func report(who string) error {
	if err := await(who); err != nil {
		return err
	}
	b, err := os.ReadFile(who)
	return errors.Join(err, expect(who, string(b), "well"))
}

func await(name string) error {
	for range 2000 {
		if _, err := os.Stat(name); err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("no file %s came", name)
}

// tell leaves what report reads, all at once.
func tell(who string, err error) error {
	text := "well"
	if err != nil {
		text = err.Error()
	}
	return errors.Join(os.WriteFile(who+".new", []byte(text), 0o600), os.Rename(who+".new", who))
}

const (
	systemVPage = 3
	sharedEvery = 300 // pages of the System V segment
)

// target is checkpointed. Its child has its memory file mapped only, and its own child shares nothing else.
func target(s spec) error {
	if s.Probe == "child" {
		return child(s)
	}
	o, err := makeObjects(func() error { return nil })
	if err != nil {
		return err
	}
	if err := closeUnmapped(&o); err != nil {
		return err
	}
	segment, err := systemV()
	if err != nil {
		return err
	}
	if _, err := notifytest.Load(allowAll(), unix.SECCOMP_FILTER_FLAG_TSYNC); err != nil {
		return err
	}
	if err := startChild(s, o); err != nil {
		return err
	}
	if err := errors.Join(await("mapped"), tell("ready", nil), await("check")); err != nil {
		return err
	}
	return tell("target", errors.Join(checkFiles(o), checkPieces(o), checkSystemV(segment)))
}

// closeUnmapped gives up what no checkpoint can have.
func closeUnmapped(o *objects) error {
	_, _, e := unix.Syscall(unix.SYS_MUNMAP, uintptr(o.Lost.Start), uintptr(o.Lost.End-o.Lost.Start), 0)
	if e != 0 {
		return os.NewSyscallError("munmap", e)
	}
	return nil
}

func systemV() ([]byte, error) {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, sharedEvery*pageSize, unix.IPC_CREAT|0o600)
	if err != nil {
		return nil, err
	}
	b, err := unix.SysvShmAttach(id, 0, 0)
	if err == nil {
		copy(b[systemVPage*pageSize:], hello)
	}
	return b, err
}

func startChild(s spec, o objects) error {
	s.Probe = "child"
	c := s.stage("target", 0, 0, 0)
	c.SysProcAttr.Pdeathsig = 0
	c.ExtraFiles = []*os.File{os.NewFile(uintptr(o.Memory.FD), "memory")}
	if err := c.Start(); err != nil {
		return err
	}
	unix.CloseOnExec(o.Memory.FD)
	keep = append(keep, c.ExtraFiles[0])
	return nil
}

var keep []*os.File // from being closed when they are garbage

// child has no descriptor of what it shares with its parent.
func child(spec) error {
	b, err := unix.Mmap(3, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err := errors.Join(err, unix.Close(3), tell("mapped", nil), await("written")); err != nil {
		return err
	}
	return tell("child", expect("memory file", string(b[:5]), "after"))
}

func (r region) bytes() []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&r.Start))), r.End-r.Start)
}

// checkFiles wants a mapping and its descriptor to be of one file still.
func checkFiles(o objects) error {
	var errs []error
	for name, r := range map[string]region{"memory file": o.Memory, "deleted file": o.Gone, "file": o.Named} {
		errs = append(errs, expect(name, string(r.bytes()[:len(hello)]), hello))
		copy(r.bytes(), "after")
		b := make([]byte, len("after"))
		_, err := unix.Pread(r.FD, b, 0)
		errs = append(errs, err, expect(name+", by its descriptor", string(b), "after"))
	}
	return errors.Join(append(errs, tell("written", nil))...)
}

// checkPieces wants what was written to one mapping to be seen in another.
func checkPieces(o objects) error {
	page := func(piece, n int) []byte { return o.Pieces[piece].bytes()[n*pageSize:][:len("page xx")] }
	first, last, again := page(0, 20-16), page(1, 50-32), page(2, 20-8)
	err := errors.Join(expect("first piece", string(first), "page 20"), expect("last piece", string(last), "page 50"),
		expect("part of the given up", string(page(2, 10-8)), "page 10"), expect("again", string(again), "page 20"))
	copy(again, "changed")
	return errors.Join(err, expect("the same memory", string(first), "changed"))
}

func checkSystemV(b []byte) error {
	page := b[systemVPage*pageSize:]
	return errors.Join(expect("System V", string(page[:len(hello)]), hello), expect("size", len(b), sharedEvery*pageSize))
}
