/*
 * lsm_bed.h - a test bed: a tree over a storage in memory, and short words for what tests do
 * with it. They bail when what cannot fail fails.
 */
#ifndef TESTS_SUPPORT_LSM_BED_H
#define TESTS_SUPPORT_LSM_BED_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "lsm/lsm.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/tap.h"

struct bed {
	struct storage *st;
	struct lsm_options options; /* of each open */
	struct lsm *lsm;
};

extern atomic_ulong bed_damaged_told; /* reports that a table is not compacted any more */

/* A tree in a new storage; or in that of `t`, which is not open. */
struct bed bed_new(struct lsm_options options);
void bed_open(struct bed *t);
void bed_reopen(struct bed *t);  /* close it and open it again */
void bed_release(struct bed *t); /* close it and free the storage */

/* ---- writing; a key is a string ---- */

struct lsm_slice bed_key(const char *key);
/* `size` bytes that are hard to compress, other ones for each `n`. */
void bed_fill(unsigned char *value, size_t size, unsigned n);
/* Put such bytes under the key. */
void bed_put(struct bed *t, const char *key, size_t size, unsigned n);
int bed_try_put(struct bed *t, const char *key, size_t size, unsigned n); /* as lsm_write() */
void bed_delete(struct bed *t, const char *key);
void bed_delete_range(struct bed *t, const char *start, const char *end);
/* Write `b` and free it; `err` is what building it returned. */
void bed_write(struct bed *t, struct lsm_batch *b, int err);
void bed_flush(struct bed *t);
int bed_compact(struct bed *t); /* all of it, as lsm_compact() */

/* ---- looking ---- */

/* Whether the key has what bed_put() gave it. */
bool bed_has(struct bed *t, const char *key, size_t size, unsigned n);
struct lsm_stats bed_stats(struct bed *t);

/* Whether the condition becomes true within ten seconds. */
#define bed_soon(condition)                                                                        \
	({                                                                                         \
		for (int bed_tries = 0; bed_tries < 1000 && !(condition); bed_tries++)             \
			usleep(10000);                                                             \
		(condition);                                                                       \
	})

#endif
