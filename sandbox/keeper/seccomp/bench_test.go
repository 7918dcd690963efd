package seccomp

import "testing"

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		if _, err := Default(ordinaryCaps); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	p, err := Default(ordinaryCaps)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}

// everydayCalls are what programs make most.
var everydayCalls = []string{
	"read", "write", "openat", "close", "fstat", "mmap", "munmap", "mprotect", "brk", "rt_sigaction", "ioctl", "futex",
	"newfstatat", "statx", "getdents64", "execve", "exit_group", "wait4", "epoll_pwait", "sendto", "recvfrom", "getrandom",
}

// BenchmarkProgram reports the size of the default program and how many instructions an everyday call takes.
func BenchmarkProgram(b *testing.B) {
	p, err := Default(ordinaryCaps)
	if err != nil {
		b.Fatal(err)
	}
	code, err := Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	m, err := newMachine(code)
	if err != nil {
		b.Fatal(err)
	}
	family, err := host()
	if err != nil {
		b.Fatal(err)
	}
	total := 0
	for b.Loop() {
		total = 0
		for _, name := range everydayCalls {
			number, _ := numberOf(family[0], name)
			_, steps := m.run(data{number: number, audit: family[0].audit})
			total += steps
		}
	}
	b.ReportMetric(float64(len(m)), "instructions")
	b.ReportMetric(float64(total)/float64(len(everydayCalls)), "instructions/call")
}
