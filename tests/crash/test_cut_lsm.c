/*
 * test_cut_lsm.c - the power goes at every call that changes the disk.
 *
 * A workload is run once on a storage in memory that records what is done to
 * it: batches, flushes, compactions, segments, manifests, reopens, under tiny
 * limits. Then, for points all over the record, and each way in which a disk may
 * keep what was not synced, a store is opened on what the disk could hold. It
 * must open, be equal to the state after some batch, none acknowledged as synced
 * (after a mere kill: none at all) may be missing, all of it must verify, and it
 * must go on working.
 *
 * CUTS=n in the environment makes about n cuts, SEED=n another workload.
 */
#include <inttypes.h>

#include "lsm/storage_mem.h"
#include "tests/lsm/model.h"

#define CUTS_DEFAULT 5000
#define WATCHDOG_SECONDS 600

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

/* What had been promised when: each at the number of recorded calls. */
struct batch_times {
	uint64_t begun, written; /* calls before lsm_write() and after it */
};
struct sync_time {
	uint64_t calls, batch;
};

struct record {
	const struct workload *w;
	struct storage *st;
	struct model m;
	struct batch_times *batches; /* [number] */
	struct sync_time *syncs;     /* ascending */
	size_t syncs_count;
	uint64_t calls;
};

static void print_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR)
		printf("# %s\n", message);
}

static int open_on(const struct workload *w, struct storage *st, struct lsm **lsm)
{
	struct lsm_options options = w->options;

	options.storage = st;
	options.create = true;
	options.report = print_report;
	return lsm_open(NULL, &options, lsm);
}

/* ---- the workload ---- */

static void synced(struct record *r)
{
	r->syncs[r->syncs_count++] = (struct sync_time){storage_mem_calls(r->st), r->m.batch};
}

static int run_step(struct record *r, struct rng *rng, struct model_batch *batch, struct lsm **lsm)
{
	const struct workload *w = r->w;
	uint64_t number = r->m.batch + 1;
	unsigned flags = rng_chance(rng, w->sync_one_in) ? LSM_SYNC : 0;
	int err = model_build(&r->m, batch, rng, *lsm, &w->mix, number);

	if (err)
		return err;
	r->batches[number].begun = storage_mem_calls(r->st);
	err = lsm_write(*lsm, batch->lsm_batch, flags);
	if (err)
		return err;
	r->batches[number].written = storage_mem_calls(r->st);
	model_apply(&r->m, batch);
	if (flags)
		synced(r);
	if (rng_chance(rng, w->sync_one_in * 2)) {
		err = lsm_sync(*lsm);
		synced(r);
	}
	if (!err && rng_chance(rng, w->flush_one_in))
		err = lsm_flush(*lsm);
	if (!err && rng_chance(rng, w->compact_one_in))
		err = lsm_compact(*lsm, (struct lsm_slice){NULL, 0}, (struct lsm_slice){NULL, 0},
				  NULL, NULL);
	if (err || number % w->reopen_every)
		return err;
	model_batch_clear(batch);
	err = lsm_close(*lsm);
	*lsm = NULL;
	synced(r);
	return err ? err : open_on(w, r->st, lsm);
}

static int run_workload(struct record *r, struct rng *rng)
{
	struct model_batch batch = {0};
	struct lsm *lsm = NULL;
	int err;

	storage_mem_record(r->st, true);
	err = open_on(r->w, r->st, &lsm);
	while (!err && r->m.batch < r->w->batches)
		err = run_step(r, rng, &batch, &lsm);
	model_batch_release(&batch);
	if (lsm) {
		int close_err = lsm_close(lsm);

		err = err ? err : close_err;
		synced(r);
	}
	r->calls = storage_mem_calls(r->st);
	return err;
}

/* ---- the cuts ---- */

/* Which batches must and may be there after a cut. */
static void bounds_at(const struct record *r, uint64_t calls, bool killed, uint64_t *least,
		      uint64_t *most)
{
	*least = *most = 0;
	for (size_t i = 0; i < r->syncs_count && r->syncs[i].calls <= calls; i++)
		*least = r->syncs[i].batch;
	for (uint64_t i = 1; i <= r->w->batches && r->batches[i].begun < calls; i++) {
		*most = i;
		if (killed && r->batches[i].written <= calls)
			*least = i;
	}
}

/* The store goes on: a synced write is there after it was opened again. */
static bool check_goes_on(struct record *r, struct storage *st, struct lsm **lsm)
{
	static const struct lsm_slice key = {"after the cut", 13}, bytes = {"goes on", 7};
	struct lsm_batch *batch = model_must(lsm_batch_new());
	struct lsm_value value = {0};
	int err = lsm_batch_put(batch, key, bytes);

	if (!err)
		err = lsm_write(*lsm, batch, LSM_SYNC);
	lsm_batch_free(batch);
	if (err)
		return model_wrong(&r->m, "a write after the cut: error %d", err);
	err = lsm_close(*lsm);
	*lsm = NULL;
	if (err)
		return model_wrong(&r->m, "closing after the cut: error %d", err);
	err = open_on(r->w, st, lsm);
	if (err)
		return model_wrong(&r->m, "opening it once more: error %d", err);
	err = lsm_get(*lsm, NULL, key, &value);
	if (err || value.size != bytes.size || memcmp(value.data, bytes.data, bytes.size))
		model_wrong(&r->m, "what was written after the cut is gone: %d", err);
	lsm_value_release(&value);
	if ((uint64_t)model_read_counter(&r->m, *lsm) != r->m.batch)
		model_wrong(&r->m, "opened once more it is at another batch");
	return !r->m.error[0];
}

/*
 * The power goes once more while the store is being opened. What was there then
 * was on disk, so opening it may lose none of it.
 */
static bool check_cut_again(struct record *r, struct storage *st, uint64_t calls, uint64_t seed)
{
	struct storage *again = storage_mem_cut(st, calls, (enum storage_mem_keep)(seed % 3), seed);
	struct lsm *lsm = NULL;
	int64_t found;
	int err;

	if (!again)
		return model_wrong(&r->m, "storage_mem_cut: no memory");
	err = open_on(r->w, again, &lsm);
	if (err) {
		model_wrong(&r->m, "a second cut, after call %" PRIu64 " of opening: error %d",
			    calls, err);
	} else {
		found = model_read_counter(&r->m, lsm);
		if (found != (int64_t)r->m.batch)
			model_wrong(&r->m,
				    "a second cut, after call %" PRIu64
				    " of opening, left batch %" PRId64 " of %" PRIu64,
				    calls, found, r->m.batch);
		else if (!model_check_all(&r->m, r->m.now, lsm, NULL, false))
			printf("#   after a second cut, after call %" PRIu64 " of opening:\n",
			       calls);
		err = lsm_close(lsm);
		if (err)
			model_wrong(&r->m, "closing after a second cut: error %d", err);
	}
	again->ops->free(again);
	return !r->m.error[0];
}

static bool check_store(struct record *r, struct storage *st, uint64_t calls, bool killed,
			uint64_t seed, struct lsm **lsm)
{
	uint64_t least, most;
	int64_t found;
	int err = open_on(r->w, st, lsm);
	uint64_t opened = storage_mem_calls(st);

	if (err)
		return model_wrong(&r->m, "opening it: error %d", err);
	found = model_read_counter(&r->m, *lsm);
	if (found < 0)
		return model_wrong(&r->m, "reading the counter: error %" PRId64, found);
	bounds_at(r, calls, killed, &least, &most);
	if ((uint64_t)found < least || (uint64_t)found > most)
		return model_wrong(&r->m,
				   "batch %" PRId64 " is the last, want %" PRIu64 " .. %" PRIu64,
				   found, least, most);
	model_go(&r->m, (uint64_t)found);
	return model_check_all(&r->m, r->m.now, *lsm, NULL, calls % 2) &&
	       model_check_verify(&r->m, *lsm) &&
	       (seed % 3 || check_cut_again(r, st, seed / 3 % (opened + 1), seed / 7)) &&
	       check_goes_on(r, st, lsm);
}

static bool check_cut(struct record *r, uint64_t calls, enum storage_mem_keep keep, uint64_t seed)
{
	struct storage *st = storage_mem_cut(r->st, calls, keep, seed);
	struct lsm *lsm = NULL;

	if (!st)
		return model_wrong(&r->m, "storage_mem_cut: no memory");
	storage_mem_record(st, true);
	check_store(r, st, calls, keep == STORAGE_MEM_KEEP_ALL, seed, &lsm);
	if (lsm) {
		int err = lsm_close(lsm);

		if (err)
			model_wrong(&r->m, "closing it: error %d", err);
	}
	st->ops->free(st);
	return !r->m.error[0];
}

static void test_workload(const struct workload *w, uint64_t seed, uint64_t cuts_max)
{
	static const char *const keep_names[] = {"nothing", "everything", "a random part"};
	struct record r = {.w = w, .st = storage_mem_new()};
	struct rng rng = {.state = seed};
	uint64_t cuts = 0, stride;
	int err;

	if (!r.st)
		bail("no memory");
	model_init(&r.m, &rng, w->keys_count);
	r.batches = model_must(calloc(w->batches + 1, sizeof(r.batches[0])));
	r.syncs = model_must(calloc(w->batches * 3 + 4, sizeof(r.syncs[0])));
	err = run_workload(&r, &rng);
	is_int(err, 0, "%s: a workload of %u batches, %" PRIu64 " calls", w->name, w->batches,
	       r.calls);
	/* In turn the three ways of losing power, each at another point. */
	stride = r.calls * 3 / cuts_max + 1;
	for (uint64_t at = 0; !err && at <= r.calls; at += stride) {
		for (int keep = 0; keep < 3 && !r.m.error[0]; keep++) {
			uint64_t calls = at + (stride > 1 ? rng_below(&rng, (uint32_t)stride) : 0);
			uint64_t cut_seed = rng_next(&rng);

			if (calls > r.calls)
				calls = r.calls;
			cuts++;
			if (!check_cut(&r, calls, (enum storage_mem_keep)keep, cut_seed))
				printf("#   seed %" PRIu64 ", cut after call %" PRIu64
				       " of %" PRIu64 ", %s kept (seed %" PRIu64 "): %s\n",
				       seed, calls, r.calls, keep_names[keep], cut_seed, r.m.error);
		}
	}
	ok(!err && !r.m.error[0], "%s: %" PRIu64 " power cuts", w->name, cuts);
	model_release(&r.m);
	free(r.batches);
	free(r.syncs);
	r.st->ops->free(r.st);
}

int main(void)
{
	const char *env_cuts = getenv("CUTS"), *env_seed = getenv("SEED");
	uint64_t cuts = env_cuts ? strtoull(env_cuts, NULL, 0) : CUTS_DEFAULT;
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : 1;

	/* A store that hangs fails the test, too. */
	alarm(cuts > CUTS_DEFAULT ? 0 : WATCHDOG_SECONDS);
	for (size_t i = 0; i < WORKLOADS_COUNT; i++)
		test_workload(&workloads[i], seed + i, cuts / WORKLOADS_COUNT + 1);
	return done();
}
