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
 * so that a look-up is one binary search. A list is built by one thread; once finished it
 * never changes, and any thread may read it.
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

/* Add [start, end), before the list is finished; bytes are copied. 0; -ENOMEM, nothing changed. */
int rangedel_add(struct rangedel_list *l, uint64_t sequence, struct lsm_slice start,
		 struct lsm_slice end);
/* Cut the tombstones into fragments, once. 0; -ENOMEM, and the list is as before. */
int rangedel_finish(struct rangedel_list *l);

/* ---- of a finished list ---- */

size_t rangedel_count(const struct rangedel_list *l);                        /* fragments */
const struct rangedel *rangedel_at(const struct rangedel_list *l, size_t i); /* sorted */
size_t rangedel_memory(const struct rangedel_list *l);                       /* bytes */

/* The fragment over `key`, or NULL. */
const struct rangedel *rangedel_find(const struct rangedel_list *l, struct lsm_slice key);

/* The largest sequence <= `sequence` of a tombstone over `key`; 0 if there is none. */
uint64_t rangedel_covering(const struct rangedel_list *l, struct lsm_slice key, uint64_t sequence);

#endif
