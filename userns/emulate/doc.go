// Package emulate lets a container whose user namespace maps one single id behave as if it had them all.
//
// A user without subordinate ids can map the container's root to itself and nothing else: chown, setuid, setgroups
// and mknod of the image's programs then fail. This package answers these system calls in the kernel's place, by
// seccomp user notification: Filter gives the filter that asks, Serve the answers.
//
// # What is emulated
//
// Owners of files: chown and its kin store the owner in the extended attribute user.rootlesscontainers (as umoci and
// PRoot do), stat and its kin show it. Files that cannot carry the attribute (symbolic links, sockets, fifos,
// devices, file systems without user attributes) have their owner in memory, for the life of the State. A file made
// by a process that is not root:root is made by the supervisor, labelled, and handed over: its maker
// never sees it with another owner.
//
// Credentials of processes: the set*id, get*id and group calls, KEEPCAPS, capset and capget follow credentials(7) and
// capabilities(7): who has left root gets EPERM. SO_PEERCRED tells the peer's emulated ids.
//
// Device nodes: mknod of a character or block device leaves an empty regular file in its place.
//
// # How a process keeps its credentials
//
// The emulated credentials of a process are an index into a table; the index is in the soft limit of RLIMIT_LOCKS,
// which Linux has not enforced since 2.4.25. So the kernel itself copies it at fork, keeps it at exec, shares it
// between threads and forgets it with the process: no fork is missed, whoever dies first, and no pid is mistaken for
// another. The container's own use of that limit is answered without effect.
//
// # Limits
//
// This is no security boundary between the container's users: permission bits, sticky directories and signals are
// those of the one real id, and a program may rewrite its arguments while they are read. Against the host nothing
// changes: the supervisor touches only what the asking process reaches through its own root and descriptors, with
// the rights of the same host user.
//
// Owners that are only in memory are not in the files: symbolic links are root:root in another run or snapshot.
// Threads share their credentials: the C libraries make it so, by the same call in each thread, but the kernel would
// allow otherwise; setuid(0) of a threaded program whose saved id alone is root makes its real id root too. A socket
// file made by bind belongs to root until somebody changes its owner. /proc shows the real ids and the odd limit. SCM_CREDENTIALS with an emulated id is refused by the kernel. The peer of SO_PEERCRED is seen
// as it is at the time of asking. 32-bit programs on a 64-bit kernel and io_uring are not intercepted: they see a
// container of one id. A container of this kind cannot hold another one: the kernel allows one listener per process.
//
// # Kernel
//
// Linux 5.9 (SECCOMP_IOCTL_NOTIF_ADDFD) is the least. From 5.19 on InstallFlags work, without which a signal may
// repeat a call that was already answered; from 6.6 on answers take half the time and tmpfs stores the attribute.
package emulate
