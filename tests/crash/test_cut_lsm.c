/*
 * test_cut_lsm.c - the power goes under the tree, at every call that changes the disk.
 *
 * A workload under tiny limits, so that the rare is common: batches, flushes,
 * compactions, segments, manifests, reopens. How it is cut, and what has to hold, is in
 * cuts.h; here a state is that after a batch, all of it is compared and must verify.
 */
#include "tests/support/cuts.h"

#define CUTS_DEFAULT 5000

struct workload {
	const char *name;
	size_t keys_count;
	unsigned batches;
	unsigned reopen_every, sync_one_in, flush_one_in, compact_one_in;
	struct lsm_options options;
	struct model_mix mix;
};

static const struct workload workloads[] = {
	{
		"small values",
		80,
		500,
		150,
		9,
		40,
		60,
		{.memtable_bytes = 8 << 10,
		 .block_bytes = 256,
		 .table_bytes = 4 << 10,
		 .level1_bytes = 8 << 10,
		 .segment_bytes = 64 << 10,
		 .separate_min = LSM_VALUE_BYTES_MAX,
		 .l0_compact = 2,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20},
		{8, 120, 600, 10, 0, 20},
	},
	{
		"segments",
		40,
		250,
		100,
		12,
		30,
		25,
		{.memtable_bytes = 8 << 10,
		 .block_bytes = 256,
		 .table_bytes = 4 << 10,
		 .level1_bytes = 8 << 10,
		 .segment_bytes = 32 << 10,
		 .separate_min = 256,
		 .l0_compact = 2,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20},
		{5, 500, 6000, 4, 0, 15},
	},
	{
		"reopened all the time",
		60,
		200,
		12,
		20,
		15,
		100,
		{.memtable_bytes = 8 << 10,
		 .block_bytes = 512,
		 .table_bytes = 8 << 10,
		 .level1_bytes = 16 << 10,
		 .segment_bytes = 64 << 10,
		 .separate_min = 1000,
		 .l0_compact = 2,
		 .memory_bytes = 4 << 20},
		{10, 200, 3000, 12, 0, 30},
	},
};
#define WORKLOADS_COUNT (sizeof(workloads) / sizeof(workloads[0]))

struct record {
	const struct workload *w;
	struct history history;
	struct model m;
};

static int open_on(void *ctx, struct storage *st, void **db)
{
	const struct record *r = ctx;
	struct lsm_options options = r->w->options;
	struct lsm *lsm;
	int err;

	options.storage = st;
	options.create = true;
	options.report = cuts_print_report;
	err = lsm_open(NULL, &options, &lsm);
	*db = lsm;
	return err;
}

/* ---- the workload ---- */

static int run_step(struct record *r, struct rng *rng, struct model_batch *batch, void **db)
{
	const struct workload *w = r->w;
	struct lsm *lsm = *db;
	uint64_t number = r->m.batch + 1;
	unsigned flags = rng_chance(rng, w->sync_one_in) ? LSM_SYNC : 0;
	int err = model_build(&r->m, batch, rng, lsm, &w->mix, number);

	if (err)
		return err;
	history_begin(&r->history);
	err = lsm_write(lsm, batch->lsm_batch, flags);
	if (err)
		return err;
	history_done(&r->history);
	model_apply(&r->m, batch);
	if (flags)
		history_synced(&r->history);
	if (rng_chance(rng, w->sync_one_in * 2)) {
		err = lsm_sync(lsm);
		history_synced(&r->history);
	}
	if (!err && rng_chance(rng, w->flush_one_in))
		err = lsm_flush(lsm);
	if (!err && rng_chance(rng, w->compact_one_in))
		err = lsm_compact(lsm, (struct lsm_slice){NULL, 0}, (struct lsm_slice){NULL, 0},
				  NULL, NULL);
	if (err || number % w->reopen_every)
		return err;
	model_batch_clear(batch);
	err = lsm_close(lsm);
	*db = NULL;
	history_synced(&r->history);
	return err ? err : open_on(r, r->history.st, db);
}

static int run_workload(struct record *r, struct rng *rng)
{
	struct model_batch batch = {0};
	void *db = NULL;
	int err;

	storage_mem_record(r->history.st, true);
	err = open_on(r, r->history.st, &db);
	while (!err && r->m.batch < r->w->batches)
		err = run_step(r, rng, &batch, &db);
	model_batch_release(&batch);
	if (db) {
		int close_err = lsm_close(db);

		err = err ? err : close_err;
		history_synced(&r->history);
	}
	return err;
}

/* ---- what has to hold ---- */

static const struct lsm_slice after_key = {"after the cut", 13}, after_value = {"goes on", 7};

static int close_db(void *db)
{
	return lsm_close(db);
}

static void check(void *ctx, void *db, uint64_t least, uint64_t most)
{
	struct record *r = ctx;
	int64_t found = model_read_counter(&r->m, db);

	if (found < 0)
		model_wrong(&r->m, "reading the counter: error %" PRId64, found);
	else if ((uint64_t)found < least || (uint64_t)found > most)
		model_wrong(&r->m, "batch %" PRId64 " is the last, want %" PRIu64 " .. %" PRIu64,
			    found, least, most);
	if (r->m.error[0])
		return;
	model_go(&r->m, (uint64_t)found);
	if (model_check_all(&r->m, r->m.now, db, NULL, least % 2))
		model_check_verify(&r->m, db);
}

static void check_same(void *ctx, void *db)
{
	struct record *r = ctx;
	int64_t found = model_read_counter(&r->m, db);

	if (found != (int64_t)r->m.batch)
		model_wrong(&r->m, "it is at batch %" PRId64 ", no longer at %" PRIu64, found,
			    r->m.batch);
	else
		model_check_all(&r->m, r->m.now, db, NULL, false);
}

static int write_on(void *ctx, void *db)
{
	struct lsm_batch *batch = model_must(lsm_batch_new());
	int err = lsm_batch_put(batch, after_key, after_value);

	(void)ctx;
	if (!err)
		err = lsm_write(db, batch, LSM_SYNC);
	lsm_batch_free(batch);
	return err;
}

static bool is_written(void *ctx, void *db)
{
	struct record *r = ctx;
	struct lsm_value value = {0};
	bool right = !lsm_get(db, NULL, after_key, &value) && value.size == after_value.size &&
		     !memcmp(value.data, after_value.data, value.size);

	lsm_value_release(&value);
	return right && (uint64_t)model_read_counter(&r->m, db) == r->m.batch;
}

static const struct cuts_subject subject = {open_on,    close_db, check,
					    check_same, write_on, is_written};

static void test_workload(const struct workload *w, const struct cuts_options *options)
{
	struct record r = {.w = w, .history = {.st = model_must(storage_mem_new())}};
	struct cuts cuts = {.subject = &subject, .ctx = &r, .history = &r.history};
	struct rng rng = {.state = options->seed + (uint64_t)(w - workloads)};
	int err;

	model_init(&r.m, &rng, w->keys_count);
	cuts.error = r.m.error;
	err = run_workload(&r, &rng);
	is_int(err, 0, "%s: a workload of %u batches, %" PRIu64 " calls", w->name, w->batches,
	       storage_mem_calls(r.history.st));
	cuts_count_events(r.history.st);
	if (!err)
		cuts_run(&cuts, options, options->cuts / WORKLOADS_COUNT + 1);
	ok(!err && !r.m.error[0], "%s: %" PRIu64 " power cuts", w->name, cuts.done);
	model_release(&r.m);
	history_release(&r.history);
	r.history.st->ops->free(r.history.st);
}

int main(void)
{
	struct cuts_options options = cuts_options(CUTS_DEFAULT);

	for (size_t i = 0; i < WORKLOADS_COUNT; i++)
		test_workload(&workloads[i], &options);
	cuts_check_events();
	return done();
}
