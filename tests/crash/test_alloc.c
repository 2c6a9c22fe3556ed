/*
 * test_alloc.c - memory runs out, at one allocation or from one on.
 *
 * The allocator is wrapped by the linker (see the Makefile). A small workload on a storage
 * in memory is run again and again with the Nth allocation failing, once or all that
 * follow for a while, in whatever thread it is. Errors must come back: -ENOMEM, or
 * -EROFS once a logged write could not be applied. Nothing may crash, hang or leak (the
 * address sanitizer looks for that); with memory again the store opens, and holds what was
 * acknowledged, and no half of a batch.
 *
 * FAILS=n in the environment: about n points; FAILS=all: each; SEED=n: another workload.
 */
#include <inttypes.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/alloc.h"
#include "tests/support/lsm_model.h"

#define FAILS_DEFAULT 100
#define BATCHES 40

static const struct lsm_options tiny = {
	.memtable_bytes = 6 << 10,
	.block_bytes = 256,
	.table_bytes = 4 << 10,
	.level1_bytes = 8 << 10,
	.segment_bytes = 32 << 10,
	.separate_min = 400,
	.l0_compact = 2,
	.imm_max = 2,
	.memory_bytes = 4 << 20,
	.create = true,
};
static const struct model_mix mix = {6, 200, 3000, 8, 0, 20};

static _Thread_local bool exempt; /* the model's own are not the subject */

static bool alloc_exempt(void)
{
	return exempt;
}

/* ---- the workload ---- */

struct run {
	struct storage *st;
	struct lsm *lsm;
	struct model m;
	struct model_batch batch;
	struct rng rng;
	bool doubt; /* the last write failed, in a way that leaves open whether it is there */
};

static bool fits(struct run *r, const char *what, int err)
{
	if (!err || err == -ENOMEM || err == -EROFS || err == -EIO || err == -EAGAIN)
		return true;
	return model_wrong(&r->m, "%s: error %d", what, err);
}

static bool try_open(struct run *r)
{
	struct lsm_options options = tiny;

	options.storage = r->st;
	return fits(r, "lsm_open", lsm_open(NULL, &options, &r->lsm));
}

static bool step(struct run *r)
{
	static const struct lsm_slice all;
	struct lsm_value value = {0};
	size_t at = model_pick(&r->m, &r->rng);
	int err;

	exempt = true;
	err = model_build(&r->m, &r->batch, &r->rng, r->lsm, &mix, r->m.batch + 1);
	exempt = false;
	if (err) /* a slice of what is in doubt */
		return r->doubt || fits(r, "a batch", err);
	err = lsm_write(r->lsm, r->batch.lsm_batch, rng_chance(&r->rng, 6) ? LSM_SYNC : 0);
	if (!err && r->doubt)
		return model_wrong(&r->m, "a write worked after one was in doubt");
	if (!fits(r, "lsm_write", err))
		return false;
	exempt = true;
	if (!err) {
		model_apply(&r->m, &r->batch);
	} else if (!r->doubt) {
		struct lsm_stats stats;

		lsm_stats(r->lsm, &stats);
		if (stats.read_only) {
			r->doubt = true;
			model_apply(&r->m, &r->batch);
			model_go(&r->m, r->m.batch - 1);
		}
	}
	exempt = false;
	err = lsm_get(r->lsm, NULL, r->m.keys[at], &value);
	if (err >= 0 && !r->doubt &&
	    (err ? r->m.now[at].seed != 0 : !mval_is(r->m.now[at], value.data, value.size)))
		model_wrong(&r->m, "get %s: wrong", model_name(r->m.keys[at]));
	else if (err < 0)
		fits(r, "lsm_get", err);
	lsm_value_release(&value);
	switch (rng_below(&r->rng, 12)) {
	case 0:
		return fits(r, "lsm_flush", lsm_flush(r->lsm));
	case 1:
		return fits(r, "lsm_compact", lsm_compact(r->lsm, all, all, NULL, NULL));
	default:
		return !r->m.error[0];
	}
}

/* With memory again: everything. */
static void check_after(struct run *r)
{
	int64_t found;

	if (!try_open(r) || !r->lsm) {
		model_wrong(&r->m, "it does not open with memory again");
		return;
	}
	found = model_read_counter(&r->m, r->lsm);
	if (found == (int64_t)r->m.batch + 1 && r->doubt)
		model_go(&r->m, (uint64_t)found);
	if (found != (int64_t)r->m.batch)
		model_wrong(&r->m, "batch %" PRId64 " is the last, want %" PRIu64, found,
			    r->m.batch);
	else if (model_check_all(&r->m, r->m.now, r->lsm, NULL, false))
		model_check_verify(&r->m, r->lsm);
	fits(r, "lsm_close", lsm_close(r->lsm));
}

/* Returns how many allocations there were. */
static unsigned long long run(uint64_t nth, uint64_t times, uint64_t seed, char *error)
{
	struct run r = {.rng = {.state = seed}};
	unsigned long long total;

	r.st = model_must(storage_mem_new());
	model_init(&r.m, &r.rng, 50);
	r.batch.lsm_batch = model_must(lsm_batch_new());
	alloc_begin(nth, times);
	if (try_open(&r) && r.lsm) {
		for (unsigned i = 0; i < BATCHES && step(&r); i++)
			;
		exempt = true;
		model_batch_release(&r.batch);
		exempt = false;
		fits(&r, "lsm_close", lsm_close(r.lsm));
	}
	total = alloc_end();
	model_batch_release(&r.batch);
	if (!r.m.error[0])
		check_after(&r);
	memcpy(error, r.m.error, sizeof(r.m.error));
	model_release(&r.m);
	r.st->ops->free(r.st);
	return total;
}

int main(void)
{
	const char *env_fails = getenv("FAILS"), *env_seed = getenv("SEED");
	uint64_t points = env_fails ? strtoull(env_fails, NULL, 0) : FAILS_DEFAULT;
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : 1, done_points = 0;
	bool all = env_fails && !strcmp(env_fails, "all");
	char error[512];
	unsigned long long total = run(UINT64_MAX / 2, 1, seed, error);

	alarm(all ? 0 : 900);
	ok(!error[0] && total, "a workload of %llu allocations", total);
	if (all)
		points = 2 * total; /* each alone, and with those after it */
	for (uint64_t i = 0; !error[0] && i < points; i++) {
		/* The first ones, that is opening, one by one. */
		uint64_t nth = i < points / 4 ? i + 1 : i * total / points;
		uint64_t times = i % 3 == 2 ? 50 : 1;

		if (all) {
			nth = i / 2 + 1;
			times = i % 2 ? 50 : 1;
		}
		run(nth, times, seed, error);
		if (error[0])
			printf("#   seed %" PRIu64 ", allocation %" PRIu64 " and %" PRIu64
			       " in all fail: %s\n",
			       seed, nth, times, error);
		done_points++;
	}
	ok(!error[0], "%" PRIu64 " runs with failing allocations", done_points);
	return done();
}
