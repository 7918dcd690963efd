#ifndef BIVOUAC_HEADSTART_H
#define BIVOUAC_HEADSTART_H

#include <stddef.h>

// The keeper that was started before Go; the process is -1 if there is none.
struct headstart {
	int pid, socket, errors;
};

extern struct headstart headstart;

// headstart_key writes what the id map was worked out from. It returns 0 if that does not fit.
int headstart_key(char *text, size_t size);

// headstart_file writes where the map is remembered. It returns 0 if there is no place for it.
int headstart_file(char *path, size_t size);

#endif
