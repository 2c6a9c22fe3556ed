/*
 * filter.h - a bloom filter of the whole user keys of a table, in cache-line
 * blocks: one line is touched per query. Format and formula at the top of filter.c.
 */
#ifndef LSM_FILTER_H
#define LSM_FILTER_H

#include "lsm/base/buf.h"

uint64_t filter_hash(struct lsm_slice user_key);

/* Append to `out` a filter of `count` hashes (of filter_hash()). 0; -ENOMEM, nothing changed. */
int filter_build(const uint64_t *hashes, size_t count, unsigned bits_per_key, struct buf *out);

/* False if the hash is surely not among those of the filter. True for a malformed filter. */
bool filter_may_match(struct lsm_slice filter, uint64_t hash);

#endif
