/*
 * iter.h - the internal iterator: one interface over memtables, blocks,
 * tables, levels and merges of them. Keys are internal keys (ikey.h).
 *
 * After every call that moves the iterator there are two cases. `valid` is true: `key` and
 * `value` are set, until the next call on the iterator. `valid` is false: `err` is 0 at the
 * end, or the error. next() and prev() may only be called on a valid iterator. After an error
 * the iterator stays invalid until it is positioned again.
 */
#ifndef LSM_ITER_H
#define LSM_ITER_H

#include "lsm/base/ikey.h"

struct iter;

struct iter_ops {
	void (*seek)(struct iter *it, struct lsm_slice ikey);      /* first >= ikey */
	void (*seek_prev)(struct iter *it, struct lsm_slice ikey); /* last <= ikey */
	void (*first)(struct iter *it);
	void (*last)(struct iter *it);
	void (*next)(struct iter *it);
	void (*prev)(struct iter *it);
	void (*free)(struct iter *it); /* frees `it` itself too */
};

struct iter {
	const struct iter_ops *ops;
	struct lsm_slice key;
	struct lsm_slice value;
	int err;
	bool valid;
};

static inline void iter_free(struct iter *it)
{
	if (it)
		it->ops->free(it);
}

#endif
