package keeper

// #cgo LDFLAGS: -static
// #include "init.h"
import "C"

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/bivouac-run/bivouac/sandbox"
)

// plan is what a container's first process does once libcontainer has confined it. See init.h.
type plan struct {
	args, env []string
	stay      bool // as pid 1 above the program
	tree      bool // the program is the root of a tree that CRIU can dump
	lastPID   int  // what the kernel takes for the number of the last process; 0 leaves that to it
	ipc       bool // join an IPC namespace whose file is behind the report's socket
	adopt     int  // the number of a program that CRIU brings; 0 means to execute args
	terminal  bool
	// stage is nil where libcontainer's own init makes the container.
	stage *stage
	// notify and filter are arrays of struct sock_filter; empty means none.
	notify, filter           []byte
	notifyFlags, filterFlags uint
}

// filterSize is the size of a struct sock_filter.
const filterSize = 8

// file returns the plan in a memory file that the container cannot change.
func (p *plan) file() (*os.File, error) {
	text, err := p.encode()
	if err != nil {
		return nil, err
	}
	return memoryFile("plan", text)
}

func (p *plan) encode() ([]byte, error) {
	text, err := p.text()
	if err != nil {
		return nil, err
	}
	h := C.struct_plan_header{
		magic: C.PLAN_MAGIC, flags: p.flags(),
		last_pid: C.uint32_t(p.lastPID), adopt: C.uint32_t(p.adopt),
		argc: C.uint32_t(len(p.args)), envc: C.uint32_t(len(p.env)), strings: C.uint32_t(len(text)),
		notify: C.uint32_t(len(p.notify) / filterSize), notify_flags: C.uint32_t(p.notifyFlags),
		filter: C.uint32_t(len(p.filter) / filterSize), filter_flags: C.uint32_t(p.filterFlags),
	}
	var staged []byte
	if p.stage != nil {
		staged = p.stage.describe(&h)
	}
	header := unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))
	return bytes.Join([][]byte{header, staged, text, p.notify, p.filter}, nil), nil
}

// text is every string of the plan, each ended by a zero byte.
func (p *plan) text() ([]byte, error) {
	lists := [][]string{p.args, p.env}
	if p.stage != nil {
		lists = append(lists, p.stage.strings())
	}
	var text bytes.Buffer
	for _, s := range slices.Concat(lists...) {
		if strings.ContainsRune(s, 0) {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "start container: there is a zero byte in %.100q", s).
				WithRemedy("give another value, or use another image: no program can be given that")
		}
		text.WriteString(s)
		text.WriteByte(0)
	}
	text.Write(make([]byte, -text.Len()&7))
	return text.Bytes(), nil
}

func (p *plan) flags() C.uint32_t {
	var flags C.uint32_t
	for flag, set := range map[C.uint32_t]bool{
		C.PLAN_INIT: p.stay, C.PLAN_TERMINAL: p.terminal, C.PLAN_TREE: p.tree, C.PLAN_ADOPT: p.adopt != 0, C.PLAN_IPC: p.ipc,
	} {
		if set {
			flags |= flag
		}
	}
	return flags
}

// report is why a first process could not execute the program.
type report struct {
	stage int
	errno syscall.Errno
	step  int
}

func parseReport(b []byte) (report, bool) {
	if len(b) != int(unsafe.Sizeof(C.struct_init_report{})) {
		return report{}, false
	}
	word := func(i int) int { return int(int32(binary.NativeEndian.Uint32(b[4*i:]))) }
	return report{stage: word(0), errno: syscall.Errno(word(1)), step: word(2)}, true
}

// atStep tells whether a step of the plan failed.
func (r report) atStep() bool { return r.stage == C.STAGE_STEP }

// atExec tells whether all was done but the program itself could not be executed.
func (r report) atExec() bool { return r.stage == C.STAGE_EXEC }

var stageNames = map[int]string{
	C.STAGE_PLAN: "read the plan", C.STAGE_NOTIFY: "install the filter that emulates ownership",
	C.STAGE_FILTER: "install the seccomp filter", C.STAGE_FORK: "fork the program", C.STAGE_EXEC: "execute the program",
	C.STAGE_ROOT: "open the root", C.STAGE_STEP: "mount", C.STAGE_PIVOT: "change the root", C.STAGE_SYNC: "talk to libcontainer",
	C.STAGE_DIRECTORY: "enter the working directory", C.STAGE_USER: "become the user", C.STAGE_CAPABILITIES: "drop capabilities",
	C.STAGE_CHECKPOINT: "prepare for checkpoints", C.STAGE_JOIN: "enter the container's namespaces",
}

func (r report) String() string {
	what := stageNames[r.stage]
	if r.stage == C.STAGE_STEP {
		what += fmt.Sprintf(" (step %d)", r.step)
	}
	return fmt.Sprintf("%s: %v", what, r.errno)
}
