/*
 * table_fixture.h - tables built from the entries of table_pairs.h in the storage of
 * table_files.h. Everything that a table answers is compared with these entries.
 */
#ifndef TESTS_SUPPORT_TABLE_FIXTURE_H
#define TESTS_SUPPORT_TABLE_FIXTURE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "lsm/table/block.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"
#include "tests/support/table_files.h"
#include "tests/support/table_pairs.h"
#include "tests/support/tap.h"

/* ---- building and opening ---- */

extern struct table_env fixture_env;

/* Errors reported about tables so far. */
extern int fixture_reports;

/* Make the environment that tables are opened in, with a cache of `cache_bytes`. */
void fixture_start(size_t cache_bytes);

void fixture_stop(void);

extern const struct table_build_options fixture_plain;

struct table_range {
	uint64_t sequence;
	const char *start, *end;
};

/* Build table `number` of all pairs and of these range tombstones. Returns its size in bytes. */
uint64_t fixture_build(uint64_t number, const struct table_build_options *options,
		       const struct table_range *ranges, size_t ranges_count);

/* The bytes of a table, to be changed. */
struct buf *fixture_bytes_of(uint64_t number);

/* Open a table that must open. */
struct table *fixture_acquire(uint64_t number, uint64_t bytes);

/* What fixture_on_damage() was called with: how often, and the last time. */
extern int fixture_damages;

extern struct lsm_damage fixture_last_damage;

extern char fixture_damage_reason[100];

void fixture_on_damage(void *ctx, const struct lsm_damage *damage);

/* `*ctx` is the pair expected next; entries in damaged blocks may be missing. */
int fixture_on_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value);

/*
 * Verify a table against the pairs. 0, -EUCLEAN with at least one call of fixture_on_damage(),
 * another error, or -1000 if error and calls contradict each other.
 */
int fixture_verify_between(uint64_t number, uint64_t bytes, struct lsm_slice smallest,
			   struct lsm_slice largest);

/* The same, with the bounds of the pairs. */
int fixture_verify(uint64_t number, uint64_t bytes);

/* ---- comparing ---- */

/* 1: a get finds what the pairs say; 0: something else; negative: its error. */
int fixture_get_agrees(struct table *t, struct lsm_slice user, uint64_t sequence);

/* Whether the iterator is on pair `i`; for an index outside the list: at its end. */
bool fixture_stands_on(const struct iter *it, ssize_t i);

/* Whether an iterator that walks at random agrees with the pairs for `steps` steps. */
bool fixture_walk_agrees(struct table *t, int steps, bool fill_cache);

/* Whether two full walks and a get of every pair agree with the pairs. */
bool fixture_all_agree(struct table *t);

#endif
