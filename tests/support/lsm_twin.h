/*
 * model_run.h - a tree and its model side by side, and the steps to take with both.
 *
 * Every choice comes from `rng`: of a seed (test_model.c), or of the bytes of a
 * fuzzer (tests/fuzz/test_ops.c). Who includes this sets a run up and calls steps,
 * each of which returns false once the two differ; `m.error` then says how.
 */
#ifndef TESTS_LSM_MODEL_RUN_H
#define TESTS_LSM_MODEL_RUN_H

#include <inttypes.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/lsm_model.h"

#define VIEWS_MAX 5

struct set {
	const char *name;
	size_t keys_count;
	struct lsm_options options;
	struct model_mix mix;
};

static inline void print_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR)
		printf("# %s\n", message);
}

/* A state that is held: by a snapshot, and perhaps an iterator in the middle of it. */
struct view {
	struct lsm_snapshot *snapshot; /* may be NULL when `it` is not */
	struct lsm_iter *it;
	struct mval *state;
	size_t at;
};

struct run {
	const struct set *set;
	uint64_t seed, op, ops_max;
	struct rng rng;
	struct storage *st;
	struct lsm *lsm;
	struct model m;
	struct model_batch batch;
	struct lsm_value value;
	struct view views[VIEWS_MAX];
	uint64_t synced; /* no power cut may take this batch back */
	unsigned reopens, cuts, batches_lost;
};

static inline bool wrong_error(struct run *r, const char *what, int err)
{
	return err ? model_wrong(&r->m, "%s: error %d", what, err) : true;
}

static inline void now_synced(struct run *r)
{
	r->synced = r->m.batch;
	model_forget(&r->m);
}

static inline void drop_view(struct run *r, struct view *v)
{
	lsm_iter_free(v->it);
	if (v->snapshot)
		lsm_snapshot_drop(r->lsm, v->snapshot);
	free(v->state);
	*v = (struct view){0};
}

static inline bool open_store(struct run *r)
{
	struct lsm_options options = r->set->options;

	options.storage = r->st;
	options.create = true;
	options.report = print_report;
	return wrong_error(r, "lsm_open", lsm_open(NULL, &options, &r->lsm));
}

static inline bool close_store(struct run *r)
{
	int err;

	for (int i = 0; i < VIEWS_MAX; i++)
		drop_view(r, &r->views[i]);
	model_batch_clear(&r->batch); /* it may pin what its slices share */
	err = lsm_close(r->lsm);
	r->lsm = NULL;
	return wrong_error(r, "lsm_close", err);
}

static inline bool do_write(struct run *r)
{
	unsigned flags = rng_chance(&r->rng, 60) ? LSM_SYNC : 0;
	int err = model_build(&r->m, &r->batch, &r->rng, r->lsm, &r->set->mix, r->m.batch + 1);

	if (err)
		return wrong_error(r, "making a batch", err);
	if (rng_chance(&r->rng, 8))
		flags |= LSM_FREES;
	err = lsm_write(r->lsm, r->batch.lsm_batch, flags);
	if (err)
		return wrong_error(r, "lsm_write", err);
	r->op += r->batch.ops_count;
	model_apply(&r->m, &r->batch);
	if (flags & LSM_SYNC)
		now_synced(r);
	return true;
}

/* What to read: now, or what a view holds. */
static inline const struct mval *pick_state(struct run *r, const struct lsm_snapshot **snapshot)
{
	const struct view *v = &r->views[rng_below(&r->rng, VIEWS_MAX)];

	*snapshot = NULL;
	if (rng_chance(&r->rng, 2) || !v->snapshot)
		return r->m.now;
	*snapshot = v->snapshot;
	return v->state;
}

static inline bool do_get(struct run *r)
{
	unsigned char bytes[LSM_KEY_BYTES_MAX + 1];
	const struct lsm_snapshot *snapshot;
	const struct mval *state = pick_state(r, &snapshot);
	struct lsm_slice key = model_any_key(&r->m, &r->rng, bytes);
	bool exact;
	size_t at = model_find(&r->m, key, &exact);

	return model_check_get(&r->m, state, r->lsm, snapshot, key, exact ? at : MODEL_NONE,
			       &r->value);
}

/* A part of the value under the iterator. */
static inline bool check_read(struct run *r, const struct mval *state, struct lsm_iter *it,
			      size_t at)
{
	uint32_t size = state[at].size, from = rng_below(&r->rng, size + 1), count;
	void *buf;
	int err;
	bool right;

	count = rng_below(&r->rng, size - from + 1);
	if (rng_chance(&r->rng, 3)) {
		from -= from % 4096;
		count = size - from < 4096 ? size - from : 4096;
	}
	buf = model_must(malloc(count + 1));
	err = lsm_iter_read(it, from, buf, count);
	if (err)
		right = wrong_error(r, "lsm_iter_read", err);
	else if (!mval_is_part(state[at], from, buf, count))
		right = model_wrong(&r->m, "lsm_iter_read: wrong bytes [%u, +%u) of %s", from,
				    count, model_name(r->m.keys[at]));
	else
		right = true;
	if (right && lsm_iter_read(it, from, buf, (size_t)size - from + 1) != -EINVAL)
		right = model_wrong(&r->m, "lsm_iter_read: beyond the end of %s",
				    model_name(r->m.keys[at]));
	free(buf);
	return right;
}

/* Position the iterator somehow within the keys [low, high) and say where it must be. */
static inline size_t position(struct run *r, const struct mval *state, struct lsm_iter *it,
			      size_t low, size_t high)
{
	unsigned char bytes[LSM_KEY_BYTES_MAX + 1];
	struct lsm_slice key = model_any_key(&r->m, &r->rng, bytes);
	bool exact;
	size_t at = model_find(&r->m, key, &exact);

	switch (rng_below(&r->rng, 6)) {
	case 0:
		lsm_iter_first(it);
		return model_next(state, low, high);
	case 1:
		lsm_iter_last(it);
		return model_prev(state, high - 1, low);
	case 2:
	case 3:
		lsm_iter_seek_prev(it, key);
		if (!exact)
			at--;
		if (at != MODEL_NONE && at >= high)
			at = high - 1;
		return model_prev(state, at, low);
	default:
		lsm_iter_seek(it, key);
		return model_next(state, at < low ? low : at, high);
	}
}

/* Move about and compare; returns where it ended in `*at`. */
static inline bool walk(struct run *r, const struct mval *state, struct lsm_iter *it, size_t low,
			size_t high, size_t *at)
{
	bool backwards = rng_chance(&r->rng, 2);
	uint32_t steps = rng_below(&r->rng, rng_chance(&r->rng, 20) ? 300 : 25);

	if (*at == MODEL_NONE)
		*at = position(r, state, it, low, high);
	for (;;) {
		if (!model_check_at(&r->m, state, it, *at, rng_chance(&r->rng, 4)))
			return false;
		if (*at == MODEL_NONE || steps-- == 0)
			return true;
		if (rng_chance(&r->rng, 8) && !check_read(r, state, it, *at))
			return false;
		if (rng_chance(&r->rng, 10))
			backwards = !backwards;
		if (backwards) {
			lsm_iter_prev(it);
			*at = model_prev(state, *at - 1, low);
		} else {
			lsm_iter_next(it);
			*at = model_next(state, *at + 1, high);
		}
		r->op++;
	}
}

static inline bool do_iterate(struct run *r)
{
	unsigned char lower[LSM_KEY_BYTES_MAX + 1], upper[LSM_KEY_BYTES_MAX + 1];
	struct lsm_iter_options options = {.no_cache = rng_chance(&r->rng, 4)};
	const struct mval *state = pick_state(r, &options.snapshot);
	size_t low = 0, high = r->m.keys_count, at = MODEL_NONE;
	struct lsm_iter *it;
	bool exact, right = true;

	if (rng_chance(&r->rng, 2))
		options.lower = model_any_key(&r->m, &r->rng, lower);
	if (rng_chance(&r->rng, 2))
		options.upper = model_any_key(&r->m, &r->rng, upper);
	if (options.lower.size && options.upper.size &&
	    model_compare(options.lower, options.upper) > 0) {
		struct lsm_slice swap = options.lower;

		options.lower = options.upper;
		options.upper = swap;
	}
	if (options.lower.size)
		low = model_find(&r->m, options.lower, &exact);
	if (options.upper.size)
		high = model_find(&r->m, options.upper, &exact);
	it = lsm_iter_new(r->lsm, &options);
	if (!it)
		return model_wrong(&r->m, "no iterator");
	for (uint32_t n = 1 + rng_below(&r->rng, 3); n && right; n--) {
		at = MODEL_NONE;
		right = walk(r, state, it, low, high, &at);
	}
	lsm_iter_free(it);
	return right;
}

/* Take a view, or look into the one that is there, or drop it. */
static inline bool do_view(struct run *r)
{
	struct view *v = &r->views[rng_below(&r->rng, VIEWS_MAX)];
	bool whole = rng_chance(&r->rng, 10);

	if (!v->state) {
		v->state = model_copy_state(&r->m);
		v->at = MODEL_NONE;
		if (rng_chance(&r->rng, 3))
			v->it = lsm_iter_new(r->lsm, NULL);
		else
			v->snapshot = lsm_snapshot_take(r->lsm);
		return v->it || v->snapshot || model_wrong(&r->m, "no snapshot or iterator");
	}
	if (v->it && !walk(r, v->state, v->it, 0, r->m.keys_count, &v->at))
		return false;
	if (v->snapshot && whole &&
	    !model_check_all(&r->m, v->state, r->lsm, v->snapshot, rng_chance(&r->rng, 2)))
		return false;
	if (rng_chance(&r->rng, 8))
		drop_view(r, v);
	return true;
}

static inline int count_progress(void *ctx, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	++*(unsigned *)ctx;
	return 0;
}

static inline bool do_compact(struct run *r)
{
	unsigned char start_bytes[LSM_KEY_BYTES_MAX + 1], end_bytes[LSM_KEY_BYTES_MAX + 1];
	struct lsm_slice start = {NULL, 0}, end = {NULL, 0};
	unsigned calls = 0;

	if (!rng_chance(&r->rng, 4))
		start = model_any_key(&r->m, &r->rng, start_bytes);
	if (!rng_chance(&r->rng, 4))
		end = model_any_key(&r->m, &r->rng, end_bytes);
	if (start.size && end.size && model_compare(start, end) >= 0)
		end.size = 0;
	return wrong_error(r, "lsm_compact",
			   lsm_compact(r->lsm, start, end, count_progress, &calls));
}

static inline bool do_stats(struct run *r)
{
	struct lsm_stats stats;
	uint64_t free_bytes, total_bytes;
	int err;

	lsm_stats(r->lsm, &stats);
	if (stats.read_only)
		return model_wrong(&r->m, "lsm_stats: read-only");
	if (stats.sequence_synced > stats.sequence)
		return model_wrong(&r->m, "lsm_stats: synced %" PRIu64 " above written %" PRIu64,
				   stats.sequence_synced, stats.sequence);
	if (stats.cache_bytes > stats.cache_bytes_max)
		return model_wrong(&r->m, "lsm_stats: the cache holds %" PRIu64 ", may %" PRIu64,
				   stats.cache_bytes, stats.cache_bytes_max);
	err = lsm_space(r->lsm, &free_bytes, &total_bytes);
	if (err || free_bytes > total_bytes)
		return wrong_error(r, "lsm_space", err ? err : -ERANGE);
	return true;
}

static inline bool do_sync(struct run *r)
{
	if (!wrong_error(r, "lsm_sync", lsm_sync(r->lsm)))
		return false;
	now_synced(r);
	return true;
}

static inline bool do_reopen(struct run *r)
{
	if (!close_store(r) || !open_store(r))
		return false;
	now_synced(r);
	r->reopens++;
	return model_check_all(&r->m, r->m.now, r->lsm, NULL, false);
}

/* Go on from what a power cut (KEEP_ALL: the death of the process) leaves at this moment. */
static inline bool do_cut(struct run *r)
{
	enum storage_mem_keep keep =
		(enum storage_mem_keep[]){STORAGE_MEM_KEEP_NONE, STORAGE_MEM_KEEP_ALL,
					  STORAGE_MEM_KEEP_RANDOM}[rng_below(&r->rng, 3)];
	uint64_t seed = rng_next(&r->rng), written = r->m.batch;
	struct storage *st = storage_mem_crash(r->st, keep, seed);
	int64_t found;

	if (!st)
		return model_wrong(&r->m, "storage_mem_crash: no memory");
	if (!close_store(r)) {
		st->ops->free(st);
		return false;
	}
	r->st->ops->free(r->st);
	r->st = st;
	if (!open_store(r))
		return false;
	found = model_read_counter(&r->m, r->lsm);
	if (found < 0)
		return wrong_error(r, "the counter after a cut", (int)found);
	if ((uint64_t)found > written || (uint64_t)found < r->synced)
		return model_wrong(&r->m,
				   "a cut (keep %d) left batch %" PRId64 "; synced %" PRIu64
				   ", written %" PRIu64,
				   (int)keep, found, r->synced, written);
	if (keep == STORAGE_MEM_KEEP_ALL && (uint64_t)found != written)
		return model_wrong(&r->m, "a kill left batch %" PRId64 " of %" PRIu64, found,
				   written);
	r->cuts++;
	r->batches_lost += (unsigned)(written - (uint64_t)found);
	model_go(&r->m, (uint64_t)found);
	model_truncate(&r->m);
	now_synced(r);
	return model_check_all(&r->m, r->m.now, r->lsm, NULL, false) &&
	       (!rng_chance(&r->rng, 3) || model_check_verify(&r->m, r->lsm));
}

static inline bool do_whole(struct run *r)
{
	const struct lsm_snapshot *snapshot;
	const struct mval *state = pick_state(r, &snapshot);

	return model_check_all(&r->m, state, r->lsm, snapshot, rng_chance(&r->rng, 2));
}

/* Begin on an empty store; the model's keys are made up by `keys`. */
static inline bool run_begin(struct run *r, struct rng *keys)
{
	model_init(&r->m, keys, r->set->keys_count);
	r->st = model_must(storage_mem_new());
	return open_store(r);
}

/* Free all but the model, which knows what was wrong. */
static inline bool run_end(struct run *r)
{
	bool right = !r->lsm || close_store(r);

	model_batch_release(&r->batch);
	lsm_value_release(&r->value);
	r->st->ops->free(r->st);
	return right;
}

#endif
