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

struct lsm_slice table_text(const char *s);

struct lsm_slice table_pair_key(const struct table_pair *p);

struct lsm_slice table_pair_user(const struct table_pair *p);

void table_pairs_clear(void);

struct table_pair *table_pair_add(struct lsm_slice user, uint64_t sequence, enum ikey_type type);

void table_pairs_sort(void);

struct lsm_slice table_random_user(char *space);

void table_pairs_make(size_t count);

ssize_t table_pairs_seek(struct lsm_slice key);

ssize_t table_pairs_seek_prev(struct lsm_slice key);

#endif
