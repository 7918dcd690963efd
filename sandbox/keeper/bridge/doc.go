// Package bridge answers what the kernel denies to a CRIU without privileges while it dumps a container's processes.
//
// Opening or following a link below /proc/PID/map_files takes CAP_CHECKPOINT_RESTORE in the machine's first user namespace.
// Without, CRIU 4.2 does without what it finds there: it opens mapped files by their names, takes a memory file that is
// mapped and open for two unrelated things, and refuses System V shared memory. It cannot read or suspend seccomp filters
// either. So CRIU runs under a filter (Filter) that asks the keeper, who answers these calls in the kernel's place (Serve):
//
//	CRIU asks for                                             and is told
//	stat /proc/self/map_files/A-B                             the device and the inode of CRIU's own mapping
//	openat map_files, A-B: a deleted file or a memory file    the same file, opened anew from who still has it open
//	openat map_files, A-B: a ring of aio(7), a socket's ring  ENXIO; fstatat then tells which of them
//	openat /proc/PID, map_files/A-B: shared memory            a copy, with holes where it is zero
//	openat /proc/PID, status                                  a copy that has no seccomp filter, if all are the keeper's
//
// Everything else is the kernel's to answer, and so is what looks like one of these and is not found: CRIU has ways of its
// own for some. What would make a checkpoint wrong without a word fails.
//
// Never restore under this filter: what CRIU restores would inherit it.
//
// # Who is trusted
//
// Everything that is looked at belongs to programs that may be hostile, and CRIU's own memory and descriptors may be theirs.
// So a descriptor of CRIU is what the kernel says it is, never what its link reads; all else is opened relative to it, in the
// container's own /proc; and only about processes that are in CRIU's own pid and user namespace. Nothing is opened that is
// no regular file, and nothing handed out that the process has not mapped itself.
package bridge
