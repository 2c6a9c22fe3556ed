/*
 * gc.h - freeing the space of dead values in segments.
 */
#ifndef LSM_GC_H
#define LSM_GC_H

#include "lsm/tree.h"

/*
 * Take one step: seal a segment, punch holes into some, or move values out of one. `*did`:
 * something was done, and there may be more to do.
 * Returns 0 or an error. Damage is no error: it is reported, and what it concerns is left alone.
 */
int gc_step(struct lsm *lsm, bool *did) REQUIRES(lsm->compact_mu);

#endif
