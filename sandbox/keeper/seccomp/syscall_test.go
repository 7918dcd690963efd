package seccomp

import (
	"slices"
	"strings"
	"testing"

	docker "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestTableIsSorted(t *testing.T) {
	if !slices.IsSortedFunc(syscallTable[:], func(a, b syscallRow) int { return strings.Compare(a.name, b.name) }) {
		t.Error("lookups need the table sorted by name")
	}
	for _, row := range syscallTable {
		if found, ok := lookup(row.name); !ok || found.name != row.name {
			t.Errorf("lookup of %s fails", row.name)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		name                 string
		x8664, x86, a64, arm int32
	}{
		{"read", 0, 3, 63, 3},
		{"_llseek", -1, 140, -1, 140},
		{"newfstatat", 262, -1, 79, -1},
		{"fstatat64", -1, 300, -1, 327},
		{"fadvise64", 221, 250, 223, -1},
		{"fadvise64_64", -1, 272, -1, -1},
		{"arm_fadvise64_64", -1, -1, -1, 270},
		{"umount", -1, 22, -1, -1},
		{"umount2", 166, 52, 39, 52},
		{"socketcall", -1, 102, -1, -1},
		{"set_tls", -1, -1, -1, 0xf0005},
		{"sync_file_range2", -1, -1, -1, 341},
		{"clone3", 435, 435, 435, 435},
	} {
		row, ok := lookup(c.name)
		if want := [architectures]int32{c.x8664, c.x86, c.a64, c.arm}; !ok || row.numbers != want {
			t.Errorf("%s: got %v, want %v", c.name, row, want)
		}
	}
}

// TestNumbersOfTheMachine compares with what x/sys has for the machine that the test runs on.
func TestNumbersOfTheMachine(t *testing.T) {
	family, err := host()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{
		"openat": unix.SYS_OPENAT, "mount": unix.SYS_MOUNT, "keyctl": unix.SYS_KEYCTL, "seccomp": unix.SYS_SECCOMP,
		"personality": unix.SYS_PERSONALITY, "execveat": unix.SYS_EXECVEAT, "mseal": unix.SYS_MSEAL,
	} {
		if row, ok := lookup(name); !ok || uint32(row.numbers[family[0].column]) != want {
			t.Errorf("%s: got %v, want %d", name, row, want)
		}
	}
}

// TestDockersNamesAreKnown fails when Docker's profile learns names that the table lacks.
func TestDockersNamesAreKnown(t *testing.T) {
	p := &specs.LinuxSeccomp{}
	for _, call := range docker.DefaultProfile().Syscalls {
		p.Syscalls = append(p.Syscalls, call.LinuxSyscall)
	}
	foreign := []string{
		"riscv_flush_icache", "riscv_hwprobe", "s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr", "swapcontext",
	}
	if got := Unknown(p); !slices.Equal(got, foreign) {
		t.Errorf("got %v, want those of other machines only, %v", got, foreign)
	}
}

// TestSubcalls compares with linux/net.h and linux/ipc.h.
func TestSubcalls(t *testing.T) {
	sockets := []string{
		1: "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv", "sendto",
		"recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
	}
	ipcs := []string{
		1: "semop", "semget", "semctl", "semtimedop", 11: "msgsnd", "msgrcv", "msgget", "msgctl", 21: "shmat", "shmdt", "shmget",
		"shmctl",
	}
	for through, names := range map[string][]string{"socketcall": sockets, "ipc": ipcs} {
		for number, name := range names {
			sub, ok := subcallOf(name)
			if name != "" && (!ok || sub.through != through || sub.number != uint64(number)) {
				t.Errorf("%s: got %v, want number %d of %s", name, sub, number, through)
			}
		}
	}
}
