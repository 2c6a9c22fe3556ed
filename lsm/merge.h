/*
 * merge.h - one iterator over several: merged by key, or one after the other
 * over the tables of a level.
 */
#ifndef LSM_MERGE_H
#define LSM_MERGE_H

#include "lsm/base/iter.h"
#include "lsm/table/table.h"
#include "lsm/version.h"

/*
 * An iterator that merges `count` children, the newest source first. It owns the children
 * from then on; the array is copied. NULL: no memory, and the children stay the caller's.
 */
struct iter *merge_iter(struct iter **children, size_t count);

/*
 * Seek every child older than `rank` (0: the newest child) that is before `ikey` to `ikey`. So
 * a reader skips the entries that a range tombstone of child `rank` hides. `it` is a merge
 * that goes forwards.
 */
void merge_skip(struct iter *it, size_t rank, struct lsm_slice ikey);

/*
 * An iterator over the tables [first, first + count) of a level > 0. `v` must outlive it.
 * NULL: no memory.
 */
struct iter *level_iter(struct table_env *env, const struct version *v, unsigned level,
			size_t first, size_t count, bool fill_cache);

/*
 * An iterator in the place of a table that cannot be opened. `err` is the error of
 * table_acquire(), which has reported it. A seek past the bounds of the table finds the end;
 * every other call leaves the iterator with `err`. `t` must outlive it. NULL: no memory.
 */
struct iter *lost_iter(const struct table_meta *t, int err);

#endif
