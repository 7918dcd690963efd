package keeper

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// again opens a second descriptor of a file, of which reading and writing end with ctx. Files that cannot be waited for,
// such as the null device and those on a disk, are read and written to without an end.
func again(ctx context.Context, file *os.File) (*os.File, error) {
	copied := -1
	err := handle.Control(file, func(fd int) (err error) {
		copied, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", file.Name(), err)
	}
	if err := unix.SetNonblock(copied, true); err != nil {
		unix.Close(copied)
		return nil, fmt.Errorf("prepare %s: %w", file.Name(), err)
	}
	f := os.NewFile(uintptr(copied), file.Name())
	context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	return f, nil
}

// readNow reads what is there, whatever deadline the file has.
func readNow(file *os.File, buf []byte) (n int, err error) {
	err = handle.Control(file, func(fd int) (err error) {
		n, err = unix.Read(fd, buf)
		return err
	})
	return n, err
}

// inputPipe makes a pipe for a program to read from. Our end does not hold a thread while the program does not read.
func inputPipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := unix.SetNonblock(fds[1], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("prepare a pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "input"), os.NewFile(uintptr(fds[1]), "input"), nil
}
