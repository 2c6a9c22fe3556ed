/*
 * compact.h - carrying out compactions.
 */
#ifndef LSM_COMPACT_H
#define LSM_COMPACT_H

#include "lsm/tree.h"

/* Level 0 may have this many times l0_stop tables while damage keeps it from compaction. */
#define L0_STUCK_FACTOR 8u

/*
 * Mark a table that cannot be read whole, so that it is not compacted any more. The first
 * call for a table reports that. Threads: any.
 */
void compact_mark(struct lsm *lsm, struct table_meta *t);

/*
 * Carry out a pick of `v`, the current version. Values move out of the `relocate_count`
 * segments of `relocate`.
 * Returns 0; -EUCLEAN (reported): tables of the pick are marked as damaged, so that it is not
 * picked again; -ECANCELED: the tree is being closed; or another error. After an error the
 * tree has not changed.
 */
int compact_pick(struct lsm *lsm, struct version *v, struct pick *p, const uint64_t *relocate,
		 size_t relocate_count) REQUIRES(lsm->compact_mu);

#endif
