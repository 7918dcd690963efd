// Joining a container from outside, to execute CRIU in it. Go's side is join.go.
#ifndef BIVOUAC_JOIN_H
#define BIVOUAC_JOIN_H

// The descriptors of the process; those of CRIU follow.
enum {
	JOIN_REPORT_FD = 3, // a socket to the keeper, which sends a pidfd of the container's first process when there is one, and
	                    // gets a struct init_report on failure, and the listener of the filter
	JOIN_FILTER_FD = 4, // a memory file with the notifying filter, an array of struct sock_filter; empty for none
	JOIN_FILES_FD = 5,  // the first of CRIU's own
};

// The environment variable that has this done. Its value is two numbers: these flags, and the descriptor of what is
// executed.
#define JOIN_VARIABLE "_BIVOUAC_JOIN"

enum {
	JOIN_ON = 1,
	JOIN_TIME = 2, // the container has a time namespace of its own
};

#endif
