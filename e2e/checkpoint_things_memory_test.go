package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func sysvMemory() (func() error, error) {
	id, err := unix.SysvShmGet(0x4711, 1<<16, unix.IPC_CREAT|0o600)
	if err != nil {
		return nil, err
	}
	memory, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return nil, err
	}
	copy(memory[5000:], left)
	return func() error {
		id, err := unix.SysvShmGet(0x4711, 0, 0)
		if err != nil {
			return err
		}
		again, err := unix.SysvShmAttach(id, 0, 0)
		if err != nil {
			return err
		}
		memory[0]++
		same := differs(again[0], memory[0])
		return errors.Join(same, differs(string(again[5000:5000+len(left)]), left), unix.SysvShmDetach(again))
	}, nil
}

func sysvSemaphore() (func() error, error) {
	const setValue, getValue = 16, 12 // SETVAL, GETVAL of linux/sem.h
	id, err := sysValue(unix.SYS_SEMGET, 0x4712, 2, unix.IPC_CREAT|0o600)
	if err != nil {
		return nil, err
	}
	return func() error {
		id, err := sysValue(unix.SYS_SEMGET, 0x4712, 0, 0)
		if err != nil {
			return err
		}
		n, err := sysValue(unix.SYS_SEMCTL, uintptr(id), 1, getValue)
		return errors.Join(err, differs(n, 7))
	}, sys(unix.SYS_SEMCTL, uintptr(id), 1, setValue, 7)
}

func sysvMessage() (func() error, error) {
	id, err := sysValue(unix.SYS_MSGGET, 0x4713, unix.IPC_CREAT|0o600)
	if err != nil {
		return nil, err
	}
	message := struct {
		kind int64
		text [16]byte
	}{kind: 3}
	copy(message.text[:], left)
	send := func() error {
		return sys(unix.SYS_MSGSND, uintptr(id), pointer(&message), uintptr(len(left)), unix.IPC_NOWAIT)
	}
	return func() error {
		message.text = [16]byte{}
		if err := sys(unix.SYS_MSGRCV, uintptr(id), pointer(&message), 16, 3, unix.IPC_NOWAIT); err != nil {
			return err
		}
		return errors.Join(differs(string(message.text[:len(left)]), left), send())
	}, send()
}

func sharedFile(name string) (func() error, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return sharedDescriptor(f)
}

func memoryFile() (func() error, error) {
	fd, err := unix.MemfdCreate("area", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return sharedDescriptor(os.NewFile(uintptr(fd), "area"))
}

// sharedDescriptor is a file that is open and mapped: what is done by the one is seen by the other.
func sharedDescriptor(f *os.File) (func() error, error) {
	if err := f.Truncate(1 << 16); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	copy(memory[40000:], left)
	return func() error {
		memory[0]++
		text := make([]byte, 1<<16)
		if _, err := f.ReadAt(text, 0); err != nil {
			return err
		}
		if _, err := f.WriteAt([]byte{text[1] + 1}, 1); err != nil {
			return err
		}
		return errors.Join(differs(text[0], memory[0]), differs(memory[1], text[1]+1), differs(string(text[40000:40000+len(left)]), left))
	}, nil
}

// childMemory is shared with another process, without a descriptor of it.
func childMemory() (func() error, error) {
	fd, err := unix.MemfdCreate("counter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "counter")
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/program")
	cmd.Env, cmd.ExtraFiles = []string{programVariable + "=child"}, []*os.File{f}
	to, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	answers := bufio.NewReader(from)
	return func() error {
		before := memory[0]
		if _, err := fmt.Fprintln(to); err != nil {
			return err
		}
		_, err := answers.ReadString('\n')
		return errors.Join(err, differs(memory[0], before+1))
	}, cmd.Start()
}

func countForParent() error {
	memory, err := unix.Mmap(3, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	_ = unix.Close(3)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		memory[0]++
		fmt.Println(memory[0])
	}
	return nil
}
