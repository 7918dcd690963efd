package keeper

// #cgo LDFLAGS: -static
// #include "init.h"
import "C"

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plan is what a container's first process does once libcontainer has confined it. See init.h.
type plan struct {
	args, env []string
	stay      bool // as pid 1 above the program
	terminal  bool
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
	fd, err := unix.MemfdCreate("plan", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create plan: %w", err)
	}
	f := os.NewFile(uintptr(fd), "plan")
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, fmt.Errorf("write plan: %w", err)
	}
	return f, nil
}

func (p *plan) encode() ([]byte, error) {
	var text bytes.Buffer
	for _, list := range [][]string{p.args, p.env} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return nil, fmt.Errorf("encode plan: a zero byte in %q", s)
			}
			text.WriteString(s)
			text.WriteByte(0)
		}
	}
	text.Write(make([]byte, -text.Len()&7))
	h := C.struct_plan_header{
		magic: C.PLAN_MAGIC, flags: p.flags(),
		argc: C.uint32_t(len(p.args)), envc: C.uint32_t(len(p.env)), strings: C.uint32_t(text.Len()),
		notify: C.uint32_t(len(p.notify) / filterSize), notify_flags: C.uint32_t(p.notifyFlags),
		filter: C.uint32_t(len(p.filter) / filterSize), filter_flags: C.uint32_t(p.filterFlags),
	}
	header := unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))
	return bytes.Join([][]byte{header, text.Bytes(), p.notify, p.filter}, nil), nil
}

func (p *plan) flags() C.uint32_t {
	var flags C.uint32_t
	if p.stay {
		flags |= C.PLAN_INIT
	}
	if p.terminal {
		flags |= C.PLAN_TERMINAL
	}
	return flags
}

// report is why a first process could not execute the program.
type report struct {
	stage int
	errno syscall.Errno
}

func parseReport(b []byte) (report, bool) {
	if len(b) != int(unsafe.Sizeof(C.struct_init_report{})) {
		return report{}, false
	}
	return report{int(int32(binary.NativeEndian.Uint32(b))), syscall.Errno(binary.NativeEndian.Uint32(b[4:]))}, true
}

// atExec tells whether all was done but the program itself could not be executed.
func (r report) atExec() bool { return r.stage == C.STAGE_EXEC }

func (r report) String() string {
	what := map[int]string{
		C.STAGE_PLAN: "read the plan", C.STAGE_NOTIFY: "install the filter that emulates ownership",
		C.STAGE_FILTER: "install the seccomp filter", C.STAGE_FORK: "fork the program", C.STAGE_EXEC: "execute the program",
	}[r.stage]
	return fmt.Sprintf("%s: %v", what, r.errno)
}
