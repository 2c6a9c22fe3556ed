/*
 * rangedel.h - a set of range tombstones cut into fragments.
 *
 * Tombstones [start, end)@sequence may overlap in any way. rangedel_finish()
 * cuts them at each other's ends into disjoint fragments, each with the
 * sequences over it, newest first:
 *
 *     a-----------f @9             a--c        {9}
 *        c----------------m @4  => c--f        {9, 4}
 *                                  f------m    {4}
 *
 * so that a look-up is one binary search. Immutable once finished; any thread
 * may read it then.
 */
#ifndef LSM_RANGEDEL_H
#define LSM_RANGEDEL_H

#include "lsm/base/ikey.h"

struct rangedel {
	struct lsm_slice start, end; /* owned by the list */
	const uint64_t *sequences;   /* descending */
	size_t sequences_count;
};

struct rangedel_list;

struct rangedel_list *rangedel_new(void);    /* NULL: no memory */
void rangedel_free(struct rangedel_list *l); /* NULL is fine */

/* Bytes are copied. Not after finish. 0 or -ENOMEM. */
int rangedel_add(struct rangedel_list *l, uint64_t sequence, struct lsm_slice start,
		 struct lsm_slice end);
int rangedel_finish(struct rangedel_list *l);

size_t rangedel_count(const struct rangedel_list *l); /* fragments, once finished */
const struct rangedel *rangedel_at(const struct rangedel_list *l, size_t i); /* sorted */
size_t rangedel_memory(const struct rangedel_list *l);

/* The fragment over `key`, or NULL. */
const struct rangedel *rangedel_find(const struct rangedel_list *l, struct lsm_slice key);

/* The largest sequence <= `sequence` over `key`; 0 if none. */
uint64_t rangedel_covering(const struct rangedel_list *l, struct lsm_slice key, uint64_t sequence);

#endif
