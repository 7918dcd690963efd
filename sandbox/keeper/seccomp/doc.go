// Package seccomp turns seccomp profiles into programs for the kernel: [Default] and [Load] give a profile for a set
// of capabilities, [Compile] makes the program, and [Flags] says how to install it.
//
// It stands in for runc with libseccomp and decides as they do, with these rules worth knowing:
//
//   - The native architecture is always filtered; others only if the profile names them. Calls from an architecture
//     that is not filtered kill the thread (libseccomp's default action for a bad architecture).
//   - A syscall number above every one that the profile names was most likely added to Linux after the profile was
//     written. It fails with ENOSYS instead of the default action, so that C libraries fall back to an older call.
//     Profiles whose default action lets the call happen (ALLOW, LOG, TRACE) are exempt.
//   - Rules equal to the default action are left out. Of the others an unconditional rule for a syscall beats the
//     conditional ones, wherever it stands; among equals the first in the profile that matches wins.
//   - The conditions of one rule must all hold, unless two of them test the same argument: then any one is enough.
//   - Programs of 32-bit architectures compare the lower 32 bits of arguments and values.
//   - Names that the tables of this package do not know are skipped; [Unknown] lists them.
//
// It is stricter than they are in two places. Calls in the x32 mode of x86-64 always fail with ENOSYS, even if the
// profile names SCMP_ARCH_X32: that is the answer of all kernels that are not built for x32. And on 32-bit x86, where
// socket and System V IPC calls also exist as sub-calls of socketcall(2) and ipc(2) whose arguments a filter cannot
// read, a conditional rule governs the sub-call only if it is stricter than the default action, then regardless of
// its conditions.
//
// Programs use no instruction that defeats the kernel's bitmap of calls that are always allowed (Linux 5.11).
package seccomp

//go:generate go run gen.go
