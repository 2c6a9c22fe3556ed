/*
 * lsm_twin.h - a tree and its model side by side, and the steps to take with both.
 *
 * Every choice comes from `rng`: from a seed (lsm/test_model.c), or from the bytes of a fuzzer
 * (fuzz/test_ops.c). A test begins a twin and calls steps. Each step returns false once the tree
 * and the model differ; `m.error` then says how.
 */
#ifndef TESTS_SUPPORT_LSM_TWIN_H
#define TESTS_SUPPORT_LSM_TWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lsm/lsm.h"
#include "tests/support/lsm_model.h"

#define LSM_TWIN_VIEWS 5

struct lsm_twin_limits {
	const char *name;
	size_t keys_count;
	struct lsm_options options;
	struct lsm_model_mix mix;
};

/* A state that is held: by a snapshot, and perhaps an iterator in the middle of it. */
struct lsm_twin_view {
	struct lsm_snapshot *snapshot; /* may be NULL when `it` is not */
	struct lsm_iter *it;
	struct mval *state;
	size_t at;
};

struct lsm_twin {
	const struct lsm_twin_limits *limits;
	uint64_t seed, op, ops_max;
	struct rng rng;
	struct storage *st;
	struct lsm *lsm;
	struct lsm_model m;
	struct lsm_model_batch batch;
	struct lsm_value value;
	struct lsm_twin_view views[LSM_TWIN_VIEWS];
	uint64_t synced; /* no power cut may take this batch back */
	unsigned reopens, cuts, batches_lost;
};

/* Whether `err` is 0. All these functions return false after noting in `r->m` what is wrong. */
bool lsm_twin_fits(struct lsm_twin *r, const char *what, int err);

/* Make up a batch, write it, and change the model. */
bool lsm_twin_write(struct lsm_twin *r);

/* Get one key, of the present or of a view. */
bool lsm_twin_get(struct lsm_twin *r);

/* Walk about with a new iterator, which may have bounds. */
bool lsm_twin_iterate(struct lsm_twin *r);

/* Take a view, or compare the one that is there, or drop it. */
bool lsm_twin_use_view(struct lsm_twin *r);

/* Compact everything or a part of it. */
bool lsm_twin_compact(struct lsm_twin *r);

/* Check that lsm_stats() and lsm_space() do not contradict themselves. */
bool lsm_twin_stats(struct lsm_twin *r);

/* Sync: from now on no power cut may take back what was written. */
bool lsm_twin_sync(struct lsm_twin *r);

/* Close the store, open it again, and compare everything. */
bool lsm_twin_reopen(struct lsm_twin *r);

/* Go on from what a power cut, or the death of the process, leaves at this moment. */
bool lsm_twin_cut(struct lsm_twin *r);

/* Compare everything, of the present or of a view. */
bool lsm_twin_check_all(struct lsm_twin *r);

/* Begin on an empty store. The keys of the model are made up by `keys`. */
bool lsm_twin_begin(struct lsm_twin *r, struct rng *keys);

/* Close the store and free all but the model. The caller releases the model. */
bool lsm_twin_end(struct lsm_twin *r);

#endif
