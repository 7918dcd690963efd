// The plan that the keeper hands to a container's first process, in a memory file. Go's side is plan.go.
#ifndef BIVOUAC_INIT_H
#define BIVOUAC_INIT_H

#include <stdint.h>

#define PLAN_MAGIC 0x6269766f75616331ULL // "bivouac1"

enum {
	PLAN_INIT = 1,     // stay as pid 1 above the program
	PLAN_TERMINAL = 2, // the program's stdin is its controlling terminal
};

// After the header come argc + envc strings, each ended by a zero byte, padding to 8 bytes, then the two filters as arrays
// of struct sock_filter.
struct plan_header {
	uint64_t magic;
	uint32_t flags;
	uint32_t argc, envc;
	uint32_t strings;   // bytes, with the padding
	uint32_t notify;    // instructions of the notifying filter; 0 means none
	uint32_t notify_flags; // of seccomp(2), NEW_LISTENER among them
	uint32_t filter;    // instructions of the confining filter; 0 means none
	uint32_t filter_flags;
};

// What the first process writes to its socket if it fails; if it succeeds the socket just ends.
struct init_report {
	int32_t stage, error; // error is an errno
};

enum { STAGE_PLAN = 1, STAGE_NOTIFY, STAGE_FILTER, STAGE_FORK, STAGE_EXEC };

#endif
