// The parts of stage.c. See there.
#ifndef BIVOUAC_STAGE_H
#define BIVOUAC_STAGE_H

#include "init.h"

void stage_mounts(const struct plan *p, int root);
void stage_restrictions(const struct plan *p);
void stage_user(const struct plan *p);

#endif
