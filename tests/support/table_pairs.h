/*
 * table_pairs.h - the entries that a table should hold, as a plain sorted list.
 */
#ifndef TESTS_SUPPORT_TABLE_PAIRS_H
#define TESTS_SUPPORT_TABLE_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lsm/base/buf.h"
#include "lsm/base/ikey.h"
#include "tests/support/rng.h"

/* A number by chance; each thread has a sequence of its own. */
uint64_t table_random(void);

/* Begin another sequence in the calling thread. */
void table_random_seed(uint64_t seed);

#define TABLE_PAIRS_MAX 3000

struct table_pair {
	struct ikey_buf key;
	struct buf value;
};

extern struct table_pair table_pairs[TABLE_PAIRS_MAX];

extern size_t table_pairs_count;

/* A string as a slice. */
struct lsm_slice table_text(const char *s);

/* The internal key of a pair. */
struct lsm_slice table_pair_key(const struct table_pair *p);

/* Its user key. */
struct lsm_slice table_pair_user(const struct table_pair *p);

void table_pairs_clear(void);

/* Add a pair without a value to the end of the list. */
struct table_pair *table_pair_add(struct lsm_slice user, uint64_t sequence, enum ikey_type type);

/* Sort the list. Of equal internal keys one stays. */
void table_pairs_sort(void);

/* A random user key of up to 11 bytes, in `space`; some are parts of others. */
struct lsm_slice table_random_user(char *space);

/* Replace the list by up to `count` random pairs, sorted. */
void table_pairs_make(size_t count);

/* The index of the first pair at or after `key`; table_pairs_count if there is none. */
ssize_t table_pairs_seek(struct lsm_slice key);

/* The index of the last pair at or before `key`; -1 if there is none. */
ssize_t table_pairs_seek_prev(struct lsm_slice key);

#endif
