// The plan that the keeper hands to a container's first process, in a memory file. Go's side is plan.go and stage.go.
#ifndef BIVOUAC_INIT_H
#define BIVOUAC_INIT_H

#include <stddef.h>
#include <stdint.h>

#define PLAN_MAGIC 0x6269766f75616333ULL // "bivouac3"

enum {
	PLAN_FD = 3,
	REPORT_FD = 4,
	IPC_FD = 5,
};

enum {
	PLAN_INIT = 1,      // stay as pid 1 above the program
	PLAN_TERMINAL = 2,  // the program's stdin is its controlling terminal
	PLAN_STAGE = 4,     // this process makes the container itself: see stage.c
	PLAN_LOOPBACK = 8,  // raise lo
	PLAN_READONLY = 16, // make the root file system read-only
	PLAN_GROUPS = 32,   // setgroups(2) is allowed
	PLAN_TREE = 64,     // with PLAN_INIT: the program is the root of a tree of processes that CRIU can dump
	PLAN_ADOPT = 128,   // with PLAN_INIT: CRIU brings the program
	PLAN_IPC = 256,     // of a program that is executed in a running container: join the IPC namespace at IPC_FD
};

// After the header come, each padded to 8 bytes: the steps; the groups as uint32_t; the strings, each ended by a zero byte;
// the two filters as arrays of struct sock_filter. The strings are argv, envp, with PLAN_STAGE the root, the host name and
// the working directory, and three of each step.
struct plan_header {
	uint64_t magic;
	uint32_t flags;
	uint32_t argc, envc;
	uint32_t steps;
	uint32_t groups;
	uint32_t strings;      // bytes, with the padding
	uint32_t notify;       // instructions of the notifying filter; 0 means none
	uint32_t notify_flags; // of seccomp(2), NEW_LISTENER among them
	uint32_t filter;       // instructions of the confining filter; 0 means none
	uint32_t filter_flags;
	uint32_t uid, gid;
	uint32_t last_pid; // with PLAN_STAGE: the next process's number is above it; 0 leaves that to the kernel
	uint32_t adopt;    // with PLAN_ADOPT: the program's number
	uint64_t bounding, permitted; // capability sets; the effective set is the permitted one
};

// What a step does. Its three strings are source, target and options. Targets are paths in the container's root.
enum {
	STEP_MOUNT = 1, // the source is a file system type, the options are those of its superblock, separated by commas
	STEP_BIND,      // the source is a path of the keeper's
	STEP_LINK,      // a symbolic link to the source; one that is there stays
	STEP_READONLY,  // after the change of root: a target that is there becomes read-only
	STEP_MASK,      // after the change of root: a target that is there is hidden
};

enum {
	STEP_RECURSIVE = 1, // bind what is mounted below the source too
	STEP_PLAIN = 2,     // no symbolic link may be on the way to the target
	STEP_REPLACE = 4,   // replace what is at the place of the link
	STEP_LATE = 8,      // make it read-only after all other mounts, some of which may be inside
	STEP_OR_NEXT = 16,  // if it is not permitted do the next step, otherwise skip that
	STEP_DEEP = 32,     // the attributes are for all that is mounted below too
	STEP_TREE = 64,     // the propagation is for all that is mounted below too
};

struct plan_step {
	uint32_t kind, flags;
	uint64_t attributes;  // MOUNT_ATTR_
	uint64_t propagation; // MS_PRIVATE or MS_SLAVE; 0 leaves it as it is
};

// What the first process writes to its socket if it fails; if it succeeds the socket just ends.
struct init_report {
	int32_t stage, error; // error is an errno
	int32_t step;         // of STAGE_STEP: which
};

enum {
	STAGE_PLAN = 1,
	STAGE_NOTIFY,
	STAGE_FILTER,
	STAGE_FORK,
	STAGE_EXEC,
	// Of stage.c:
	STAGE_ROOT,
	STAGE_STEP,
	STAGE_PIVOT,
	STAGE_SYNC,
	STAGE_DIRECTORY,
	STAGE_USER,
	STAGE_CAPABILITIES,
	STAGE_CHECKPOINT,
	// Of join.c:
	STAGE_JOIN,
};

// A plan in memory.
struct plan {
	const struct plan_header *h;
	const struct plan_step *steps;
	const uint32_t *groups;
	char **argv, **env;
	char **stage; // root, host name, working directory, and three strings of each step
	char *filters;
};

_Noreturn void plan_fail(int stage, int status);
_Noreturn void plan_fail_step(int step);
// plan_send_file passes an open file through a socket. It returns -1 if that fails.
int plan_send_file(int socket, int fd);
void plan_load(struct plan *p);
_Noreturn void plan_execute(const struct plan *p);
void stage_run(const struct plan *p);

#endif
