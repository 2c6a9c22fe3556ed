#include "tests/support/lsm_twin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/must.h"
#include "tests/support/print.h"

bool lsm_twin_fits(struct lsm_twin *r, const char *what, int err)
{
	return err ? lsm_model_wrong(&r->m, "%s: error %d", what, err) : true;
}

static void lsm_twin_now_synced(struct lsm_twin *r)
{
	r->synced = r->m.batch;
	lsm_model_forget(&r->m);
}

static void lsm_twin_drop_view(struct lsm_twin *r, struct lsm_twin_view *v)
{
	lsm_iter_free(v->it);
	if (v->snapshot)
		lsm_snapshot_drop(r->lsm, v->snapshot);
	free(v->state);
	*v = (struct lsm_twin_view){0};
}

static bool lsm_twin_open(struct lsm_twin *r)
{
	struct lsm_options options = r->limits->options;

	options.storage = r->st;
	options.create = true;
	options.report = print_report;
	return lsm_twin_fits(r, "lsm_open", lsm_open(NULL, &options, &r->lsm));
}

static bool lsm_twin_close(struct lsm_twin *r)
{
	int err;

	for (int i = 0; i < LSM_TWIN_VIEWS; i++)
		lsm_twin_drop_view(r, &r->views[i]);
	lsm_model_batch_clear(&r->batch); /* its slices may pin values */
	err = lsm_close(r->lsm);
	r->lsm = NULL;
	return lsm_twin_fits(r, "lsm_close", err);
}

bool lsm_twin_write(struct lsm_twin *r)
{
	unsigned flags = rng_chance(&r->rng, 60) ? LSM_SYNC : 0;
	int err =
		lsm_model_build(&r->m, &r->batch, &r->rng, r->lsm, &r->limits->mix, r->m.batch + 1);

	if (err)
		return lsm_twin_fits(r, "making a batch", err);
	if (rng_chance(&r->rng, 8))
		flags |= LSM_FREES;
	err = lsm_write(r->lsm, r->batch.lsm_batch, flags);
	if (err)
		return lsm_twin_fits(r, "lsm_write", err);
	r->op += r->batch.ops_count;
	lsm_model_apply(&r->m, &r->batch);
	if (flags & LSM_SYNC)
		lsm_twin_now_synced(r);
	return true;
}

/* What to read: now, or what a view holds. */
static const struct mval *lsm_twin_pick_state(struct lsm_twin *r,
					      const struct lsm_snapshot **snapshot)
{
	const struct lsm_twin_view *v = &r->views[rng_below(&r->rng, LSM_TWIN_VIEWS)];

	*snapshot = NULL;
	if (rng_chance(&r->rng, 2) || !v->snapshot)
		return r->m.now;
	*snapshot = v->snapshot;
	return v->state;
}

bool lsm_twin_get(struct lsm_twin *r)
{
	unsigned char bytes[LSM_KEY_BYTES_MAX + 1];
	const struct lsm_snapshot *snapshot;
	const struct mval *state = lsm_twin_pick_state(r, &snapshot);
	struct lsm_slice key = lsm_model_any_key(&r->m, &r->rng, bytes);
	bool exact;
	size_t at = lsm_model_find(&r->m, key, &exact);

	return lsm_model_check_get(&r->m, state, r->lsm, snapshot, key, exact ? at : LSM_MODEL_NONE,
				   &r->value);
}

/* A part of the value under the iterator. */
static bool lsm_twin_check_read(struct lsm_twin *r, const struct mval *state, struct lsm_iter *it,
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
	buf = must_alloc(malloc(count + 1));
	err = lsm_iter_read(it, from, buf, count);
	if (err)
		right = lsm_twin_fits(r, "lsm_iter_read", err);
	else if (!mval_is_part(state[at], from, buf, count))
		right = lsm_model_wrong(&r->m, "lsm_iter_read: wrong bytes [%u, +%u) of %s", from,
					count, lsm_model_name(r->m.keys[at]));
	else
		right = true;
	if (right && lsm_iter_read(it, from, buf, (size_t)size - from + 1) != -EINVAL)
		right = lsm_model_wrong(&r->m, "lsm_iter_read: beyond the end of %s",
					lsm_model_name(r->m.keys[at]));
	free(buf);
	return right;
}

/* Position the iterator somehow within the keys [low, high) and say where it must be. */
static size_t lsm_twin_seek(struct lsm_twin *r, const struct mval *state, struct lsm_iter *it,
			    size_t low, size_t high)
{
	unsigned char bytes[LSM_KEY_BYTES_MAX + 1];
	struct lsm_slice key = lsm_model_any_key(&r->m, &r->rng, bytes);
	bool exact;
	size_t at = lsm_model_find(&r->m, key, &exact);

	switch (rng_below(&r->rng, 6)) {
	case 0:
		lsm_iter_first(it);
		return lsm_model_next(state, low, high);
	case 1:
		lsm_iter_last(it);
		return lsm_model_prev(state, high - 1, low);
	case 2:
	case 3:
		lsm_iter_seek_prev(it, key);
		if (!exact)
			at--;
		if (at != LSM_MODEL_NONE && at >= high)
			at = high - 1;
		return lsm_model_prev(state, at, low);
	default:
		lsm_iter_seek(it, key);
		return lsm_model_next(state, at < low ? low : at, high);
	}
}

/* Move about and compare; returns where it ended in `*at`. */
static bool lsm_twin_walk(struct lsm_twin *r, const struct mval *state, struct lsm_iter *it,
			  size_t low, size_t high, size_t *at)
{
	bool backwards = rng_chance(&r->rng, 2);
	uint32_t steps = rng_below(&r->rng, rng_chance(&r->rng, 20) ? 300 : 25);

	if (*at == LSM_MODEL_NONE)
		*at = lsm_twin_seek(r, state, it, low, high);
	for (;;) {
		if (!lsm_model_check_at(&r->m, state, it, *at, rng_chance(&r->rng, 4)))
			return false;
		if (*at == LSM_MODEL_NONE || steps-- == 0)
			return true;
		if (rng_chance(&r->rng, 8) && !lsm_twin_check_read(r, state, it, *at))
			return false;
		if (rng_chance(&r->rng, 10))
			backwards = !backwards;
		if (backwards) {
			lsm_iter_prev(it);
			*at = lsm_model_prev(state, *at - 1, low);
		} else {
			lsm_iter_next(it);
			*at = lsm_model_next(state, *at + 1, high);
		}
		r->op++;
	}
}

bool lsm_twin_iterate(struct lsm_twin *r)
{
	unsigned char lower[LSM_KEY_BYTES_MAX + 1], upper[LSM_KEY_BYTES_MAX + 1];
	struct lsm_iter_options options = {.no_cache = rng_chance(&r->rng, 4)};
	const struct mval *state = lsm_twin_pick_state(r, &options.snapshot);
	size_t low = 0, high = r->m.keys_count, at = LSM_MODEL_NONE;
	struct lsm_iter *it;
	bool exact, right = true;

	if (rng_chance(&r->rng, 2))
		options.lower = lsm_model_any_key(&r->m, &r->rng, lower);
	if (rng_chance(&r->rng, 2))
		options.upper = lsm_model_any_key(&r->m, &r->rng, upper);
	if (options.lower.size && options.upper.size &&
	    lsm_model_compare(options.lower, options.upper) > 0) {
		struct lsm_slice swap = options.lower;

		options.lower = options.upper;
		options.upper = swap;
	}
	if (options.lower.size)
		low = lsm_model_find(&r->m, options.lower, &exact);
	if (options.upper.size)
		high = lsm_model_find(&r->m, options.upper, &exact);
	it = lsm_iter_new(r->lsm, &options);
	if (!it)
		return lsm_model_wrong(&r->m, "no iterator");
	for (uint32_t n = 1 + rng_below(&r->rng, 3); n && right; n--) {
		at = LSM_MODEL_NONE;
		right = lsm_twin_walk(r, state, it, low, high, &at);
	}
	lsm_iter_free(it);
	return right;
}

bool lsm_twin_use_view(struct lsm_twin *r)
{
	struct lsm_twin_view *v = &r->views[rng_below(&r->rng, LSM_TWIN_VIEWS)];
	bool whole = rng_chance(&r->rng, 10);

	if (!v->state) {
		v->state = lsm_model_copy_state(&r->m);
		v->at = LSM_MODEL_NONE;
		if (rng_chance(&r->rng, 3))
			v->it = lsm_iter_new(r->lsm, NULL);
		else
			v->snapshot = lsm_snapshot_take(r->lsm);
		return v->it || v->snapshot || lsm_model_wrong(&r->m, "no snapshot or iterator");
	}
	if (v->it && !lsm_twin_walk(r, v->state, v->it, 0, r->m.keys_count, &v->at))
		return false;
	if (v->snapshot && whole &&
	    !lsm_model_check_all(&r->m, v->state, r->lsm, v->snapshot, rng_chance(&r->rng, 2)))
		return false;
	if (rng_chance(&r->rng, 8))
		lsm_twin_drop_view(r, v);
	return true;
}

static int lsm_twin_count_progress(void *ctx, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	++*(unsigned *)ctx;
	return 0;
}

bool lsm_twin_compact(struct lsm_twin *r)
{
	unsigned char start_bytes[LSM_KEY_BYTES_MAX + 1], end_bytes[LSM_KEY_BYTES_MAX + 1];
	struct lsm_slice start = {NULL, 0}, end = {NULL, 0};
	unsigned calls = 0;

	if (!rng_chance(&r->rng, 4))
		start = lsm_model_any_key(&r->m, &r->rng, start_bytes);
	if (!rng_chance(&r->rng, 4))
		end = lsm_model_any_key(&r->m, &r->rng, end_bytes);
	if (start.size && end.size && lsm_model_compare(start, end) >= 0)
		end.size = 0;
	return lsm_twin_fits(r, "lsm_compact",
			     lsm_compact(r->lsm, start, end, lsm_twin_count_progress, &calls));
}

bool lsm_twin_stats(struct lsm_twin *r)
{
	struct lsm_stats stats;
	uint64_t free_bytes, total_bytes;
	int err;

	lsm_stats(r->lsm, &stats);
	if (stats.read_only)
		return lsm_model_wrong(&r->m, "lsm_stats: read-only");
	if (stats.sequence_synced > stats.sequence)
		return lsm_model_wrong(&r->m,
				       "lsm_stats: synced %" PRIu64 " above written %" PRIu64,
				       stats.sequence_synced, stats.sequence);
	if (stats.cache_bytes > stats.cache_bytes_max)
		return lsm_model_wrong(&r->m,
				       "lsm_stats: the cache holds %" PRIu64 ", may %" PRIu64,
				       stats.cache_bytes, stats.cache_bytes_max);
	err = lsm_space(r->lsm, &free_bytes, &total_bytes);
	if (err || free_bytes > total_bytes)
		return lsm_twin_fits(r, "lsm_space", err ? err : -ERANGE);
	return true;
}

bool lsm_twin_sync(struct lsm_twin *r)
{
	if (!lsm_twin_fits(r, "lsm_sync", lsm_sync(r->lsm)))
		return false;
	lsm_twin_now_synced(r);
	return true;
}

bool lsm_twin_reopen(struct lsm_twin *r)
{
	if (!lsm_twin_close(r) || !lsm_twin_open(r))
		return false;
	lsm_twin_now_synced(r);
	r->reopens++;
	return lsm_model_check_all(&r->m, r->m.now, r->lsm, NULL, false);
}

bool lsm_twin_cut(struct lsm_twin *r)
{
	enum storage_mem_keep keep =
		(enum storage_mem_keep[]){STORAGE_MEM_KEEP_NONE, STORAGE_MEM_KEEP_ALL,
					  STORAGE_MEM_KEEP_RANDOM}[rng_below(&r->rng, 3)];
	uint64_t seed = rng_next(&r->rng), written = r->m.batch;
	struct storage *st = storage_mem_crash(r->st, keep, seed);
	int64_t found;

	if (!st)
		return lsm_model_wrong(&r->m, "storage_mem_crash: no memory");
	if (!lsm_twin_close(r)) {
		st->ops->free(st);
		return false;
	}
	r->st->ops->free(r->st);
	r->st = st;
	if (!lsm_twin_open(r))
		return false;
	found = lsm_model_read_counter(&r->m, r->lsm);
	if (found < 0)
		return lsm_twin_fits(r, "the counter after a cut", (int)found);
	if ((uint64_t)found > written || (uint64_t)found < r->synced)
		return lsm_model_wrong(&r->m,
				       "a cut (keep %d) left batch %" PRId64 "; synced %" PRIu64
				       ", written %" PRIu64,
				       (int)keep, found, r->synced, written);
	if (keep == STORAGE_MEM_KEEP_ALL && (uint64_t)found != written)
		return lsm_model_wrong(&r->m, "a kill left batch %" PRId64 " of %" PRIu64, found,
				       written);
	r->cuts++;
	r->batches_lost += (unsigned)(written - (uint64_t)found);
	lsm_model_go(&r->m, (uint64_t)found);
	lsm_model_truncate(&r->m);
	lsm_twin_now_synced(r);
	return lsm_model_check_all(&r->m, r->m.now, r->lsm, NULL, false) &&
	       (!rng_chance(&r->rng, 3) || lsm_model_check_verify(&r->m, r->lsm));
}

bool lsm_twin_check_all(struct lsm_twin *r)
{
	const struct lsm_snapshot *snapshot;
	const struct mval *state = lsm_twin_pick_state(r, &snapshot);

	return lsm_model_check_all(&r->m, state, r->lsm, snapshot, rng_chance(&r->rng, 2));
}

bool lsm_twin_begin(struct lsm_twin *r, struct rng *keys)
{
	lsm_model_init(&r->m, keys, r->limits->keys_count);
	r->st = must_alloc(storage_mem_new());
	return lsm_twin_open(r);
}

bool lsm_twin_end(struct lsm_twin *r)
{
	bool right = !r->lsm || lsm_twin_close(r);

	lsm_model_batch_release(&r->batch);
	lsm_value_release(&r->value);
	r->st->ops->free(r->st);
	return right;
}
