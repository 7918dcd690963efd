/* Reading the id maps: the value of _BIVOUAC_ENTER, as Go's Mapping.String writes it. */

#include <stdint.h>

#include "enter.h"

/* Reads a decimal number of 32 bits and moves past it; without one, returns 0. */
static int parse_number(const char **at, uint32_t *number)
{
	const char *start = *at;
	uint64_t value = 0;

	for (; **at >= '0' && **at <= '9'; (*at)++) {
		value = value * 10 + (uint64_t)(**at - '0');
		if (value > UINT32_MAX)
			return 0;
	}
	*number = (uint32_t)value;
	return *at != start;
}

static int skip(const char **at, char expected)
{
	if (**at != expected)
		return 0;
	(*at)++;
	return 1;
}

/* Reads "inside,outside,size". Neither side may reach the id 2^32-1, which means "no id" to the kernel. */
static int parse_extent(const char **at, struct bivouac_extent *e)
{
	return parse_number(at, &e->inside) && skip(at, ',') && parse_number(at, &e->outside) && skip(at, ',') &&
	       parse_number(at, &e->size) && e->size > 0 && (uint64_t)e->inside + e->size <= UINT32_MAX &&
	       (uint64_t)e->outside + e->size <= UINT32_MAX;
}

/* Reads "k:" and one extent or more, separated by semicolons. */
static int parse_map(const char **at, char kind, struct bivouac_map *m)
{
	m->n = 0;
	if (!skip(at, kind) || !skip(at, ':'))
		return 0;
	do {
		if (m->n == BIVOUAC_EXTENTS || !parse_extent(at, &m->extents[m->n]))
			return 0;
		m->n++;
	} while (skip(at, ';'));
	return 1;
}

int bivouac_enter_parse(const char *text, struct bivouac_map *uids, struct bivouac_map *gids)
{
	return parse_map(&text, 'u', uids) && skip(&text, ' ') && parse_map(&text, 'g', gids) && *text == 0;
}
