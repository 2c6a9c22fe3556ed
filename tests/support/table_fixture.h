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

extern int fixture_reports;

void fixture_start(size_t cache_bytes);

void fixture_stop(void);

extern const struct table_build_options fixture_plain;

struct table_range {
	uint64_t sequence;
	const char *start, *end;
};

uint64_t fixture_build(uint64_t number, const struct table_build_options *options,
		       const struct table_range *ranges, size_t ranges_count);

struct buf *fixture_bytes_of(uint64_t number);

struct table *fixture_acquire(uint64_t number, uint64_t bytes);

extern int fixture_damages;

extern struct lsm_damage fixture_last_damage;

extern char fixture_damage_reason[100];

void fixture_on_damage(void *ctx, const struct lsm_damage *damage);

/* `*ctx` is the pair expected next; entries in damaged blocks may be missing. */
int fixture_on_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value);

int fixture_verify_between(uint64_t number, uint64_t bytes, struct lsm_slice smallest,
			   struct lsm_slice largest);

int fixture_verify(uint64_t number, uint64_t bytes);

/* ---- comparing ---- */

/* 1: as it should be; 0: wrong; negative: the error. */
int fixture_get_agrees(struct table *t, struct lsm_slice user, uint64_t sequence);

bool fixture_stands_on(const struct iter *it, ssize_t i);

bool fixture_walk_agrees(struct table *t, int steps, bool fill_cache);

bool fixture_all_agree(struct table *t);

#endif
