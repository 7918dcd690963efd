package bridge

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify"
)

// data is struct seccomp_data as the virtual machine wants it, whose loads are big endian.
func data(number uintptr, args ...int) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b, uint32(number))
	binary.BigEndian.PutUint32(b[4:], notify.AuditArch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[16+8*i:], uint32(a))
	}
	return b
}

func TestFilterAsksAbout(t *testing.T) {
	var traps []notify.Trap
	for _, r := range rules {
		traps = append(traps, r.trap)
	}
	vm, err := bpf.NewVM(notify.Program(traps))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		number uintptr
		args   []int
		asks   bool
	}{
		{"a mapping, to find out", unix.SYS_OPENAT, []int{5, 0, unix.O_PATH}, true},
		{"a mapping, to read", unix.SYS_OPENAT, []int{5, 0, unix.O_RDONLY}, true},
		{"a library", unix.SYS_OPENAT, []int{unix.AT_FDCWD, 0, unix.O_RDONLY | unix.O_CLOEXEC}, false},
		{"an image to write", unix.SYS_OPENAT, []int{5, 0, unix.O_CREAT | unix.O_WRONLY}, false},
		{"a file to read and write", unix.SYS_OPENAT, []int{5, 0, unix.O_RDWR}, false},
		{"what a link is to", sysFstatat, []int{unix.AT_FDCWD, 0, 0, 0}, true},
		{"the link itself", sysFstatat, []int{5, 0, 0, unix.AT_SYMLINK_NOFOLLOW}, false},
		{"a descriptor", sysFstatat, []int{5, 0, 0, unix.AT_EMPTY_PATH}, false},
		{"read", unix.SYS_READ, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := unix.SECCOMP_RET_ALLOW
			if tt.asks {
				want = unix.SECCOMP_RET_USER_NOTIF
			}
			if got, err := vm.Run(data(tt.number, tt.args...)); err != nil || got != want {
				t.Errorf("got %#x, %v, want %#x", got, err, want)
			}
		})
	}
	if len(answers) != len(rules) {
		t.Errorf("%d numbers for %d rules", len(answers), len(rules))
	}
}
