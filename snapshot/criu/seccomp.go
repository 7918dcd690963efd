package criu

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/aperturerobotics/protobuf-go-lite/encoding/protowire"
	"golang.org/x/sys/unix"
)

const (
	filterSize  = 8    // of a struct sock_filter
	maxFilters  = 4096 // of them in a filter: BPF_MAXINSNS
	modeFilter  = 2    // SECCOMP_MODE_FILTER
	taskDead    = 2    // COMPEL_TASK_DEAD, a task_state
	fieldTC     = 3    // of core_entry (core.proto)
	fieldThread = 5
	fieldState  = 1 // of task_core_entry
	fieldMode   = 11
	fieldFilter = 12 // of thread_core_entry
)

// AddSeccomp has the directory's processes be restored with a seccomp filter, an array of struct sock_filter, and flags of
// seccomp(2). One thread of each process installs it for all of them, so that they share it as they did before. CRIU's
// restorer installs it, with the capabilities that it needs, before it gives the process the capabilities and no_new_privs
// that it had: the filter must allow the system calls of that, which every filter for containers does (capset, prctl,
// setresuid, setresgid, setgroups, futex, munmap, close, write, setitimer, timer_settime, rt_sigreturn).
//
// The restorer takes a refusal of the kernel to install the filter in all threads for a success: see [CheckConfined].
//
// Errors: no filter, a damaged image, processes that have a filter in their images.
func AddSeccomp(dir string, filter []byte, flags uint32) error {
	if n := len(filter) / filterSize; n == 0 || n > maxFilters || len(filter)%filterSize != 0 {
		return fmt.Errorf("add seccomp filter to images: %d bytes are no filter", len(filter))
	}
	root, all, err := openImages(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory
	if err := writeImage(root, "seccomp.img", seccompMagic, seccompEntry(filter, flags|unix.SECCOMP_FILTER_FLAG_TSYNC)); err != nil {
		return err
	}
	for _, p := range all {
		if err := addToCore(root, coreOf(p.PID)); err != nil {
			return err
		}
	}
	return nil
}

// VerifySeccomp tells whether the directory's images are as AddSeccomp has left them, and not edited since: the filter is
// this one, and every process has it.
//
// Errors: [ErrUnfiltered]; a damaged image.
func VerifySeccomp(dir string, filter []byte, flags uint32) error {
	root, all, err := openImages(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory
	entries, err := readImage(root, "seccomp.img", seccompMagic)
	if err != nil {
		return err
	}
	want := seccompEntry(filter, flags|unix.SECCOMP_FILTER_FLAG_TSYNC)
	if len(entries) != 1 || !bytes.Equal(entries[0], want) {
		return fmt.Errorf("verify seccomp.img: %w", ErrUnfiltered)
	}
	for _, p := range all {
		if err := verifyCore(root, coreOf(p.PID)); err != nil {
			return err
		}
	}
	return nil
}

// verifyCore wants a process to use the filter.
func verifyCore(root *os.Root, name string) error {
	entry, err := readCore(root, name)
	if err != nil {
		return err
	}
	switch again, err := filterCore(entry); {
	case errors.Is(err, errFiltered) || err == nil && again == nil: // or is a zombie
		return nil
	case err != nil:
		return fmt.Errorf("verify %s: %w", name, err)
	}
	return fmt.Errorf("verify %s: %w", name, ErrUnfiltered)
}

// ErrUnfiltered tells that images lack the seccomp filter that they should have, or have another one.
var ErrUnfiltered = errors.New("the seccomp filter is not the container's")

// seccompEntry is the message with one filter (seccomp.proto of CRIU).
func seccompEntry(filter []byte, flags uint32) []byte {
	one := protowire.AppendTag(nil, 1, protowire.BytesType)
	one = protowire.AppendBytes(one, filter)
	one = protowire.AppendTag(one, 3, protowire.VarintType)
	one = protowire.AppendVarint(one, uint64(flags))
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), one)
}

// addToCore has a process use the first filter of seccomp.img.
func addToCore(root *os.Root, name string) error { return editCore(root, name, filterCore) }

// editCore replaces the one entry of a process's or thread's image, unless edit returns nil.
func editCore(root *os.Root, name string, edit func(core []byte) ([]byte, error)) error {
	entry, err := readCore(root, name)
	if err != nil {
		return err
	}
	edited, err := edit(entry)
	if err != nil {
		return fmt.Errorf("edit %s: %w", name, err)
	}
	if edited == nil {
		return nil
	}
	return writeImage(root, name, coreMagic, edited)
}

// readCore reads the one entry of a process's or thread's image.
func readCore(root *os.Root, name string) ([]byte, error) {
	entries, err := readImage(root, name, coreMagic)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, fmt.Errorf("read %s: %w", name, errDamaged)
	}
	return entries[0], nil
}

var errFiltered = errors.New("the process has a seccomp filter already")

// filterCore returns a core_entry with the filter, nil for that of a zombie. All else in it stays, known or not.
func filterCore(core []byte) ([]byte, error) {
	var out []byte
	dead, found := false, false
	err := eachField(core, func(f field) error {
		switch f.number {
		case fieldTC:
			state, err := number(f.bytes, fieldState)
			dead = dead || state == taskDead
			out = append(out, f.raw...)
			return err
		case fieldThread:
			thread, err := filterThread(f.bytes)
			found = true
			out = protowire.AppendBytes(protowire.AppendTag(out, fieldThread, protowire.BytesType), thread)
			return err
		}
		out = append(out, f.raw...)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case dead:
		return nil, nil
	case !found:
		return nil, errDamaged
	}
	return out, nil
}

func filterThread(thread []byte) ([]byte, error) {
	var out []byte
	err := eachField(thread, func(f field) error {
		switch {
		case f.number == fieldMode && f.varint != 0:
			return errFiltered
		case f.number != fieldMode && f.number != fieldFilter:
			out = append(out, f.raw...)
		}
		return nil
	})
	out = protowire.AppendVarint(protowire.AppendTag(out, fieldMode, protowire.VarintType), modeFilter)
	return protowire.AppendVarint(protowire.AppendTag(out, fieldFilter, protowire.VarintType), 0), err
}

// number returns the last value of a number in a message, 0 if it is not in it.
func number(message []byte, which protowire.Number) (uint64, error) {
	var v uint64
	err := eachField(message, func(f field) error {
		if f.number == which {
			v = f.varint
		}
		return nil
	})
	return v, err
}
