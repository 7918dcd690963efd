#ifndef BIVOUAC_USERNS_ENTER_H
#define BIVOUAC_USERNS_ENTER_H

#include <stdint.h>

/* The most extents that the kernel takes in one map (Linux 4.15). */
#define BIVOUAC_EXTENTS 340

struct bivouac_extent {
	uint32_t inside, outside, size;
};

struct bivouac_map {
	int n;
	struct bivouac_extent extents[BIVOUAC_EXTENTS];
};

/* Reads "u:0,1500,1;1,231072,65536 g:0,1500,1"; returns 1 if all of text is that, 0 otherwise. */
int bivouac_enter_parse(const char *text, struct bivouac_map *uids, struct bivouac_map *gids);

/*
 * Does what the variable in the environment asks for, for a process that has not started Go yet. It returns in the new
 * process 1 alone.
 */
void bivouac_enter(const char *text);

#endif
