/*
 * test_fail_lsm.c - the storage fails, at one call or from one call on.
 *
 * The same small workload again and again, with the Nth call of one kind (reads,
 * writes, syncs, renames, ...) failing with EIO or ENOSPC, once or for good. The
 * tree may return the error, or get over it. It may not hang, tell a batch as
 * written that it then loses, apply a part of a batch, return wrong bytes, or be
 * unable to open once the storage works again: not after the death of the
 * process, nor after a power cut.
 *
 * FAILS=n in the environment: n points per kind; FAILS=all: each call; SEED=n: another
 * workload.
 */
#include <inttypes.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/lsm_model.h"

#define FAILS_DEFAULT 16
#define BATCHES 120
#define KEYS 60
#define WATCHDOG_SECONDS 600

static const struct lsm_options tiny = {
	.memtable_bytes = 8 << 10,
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

static const struct model_mix mix = {6, 200, 5000, 8, 0, 20};

static const struct kind {
	enum storage_mem_op op;
	const char *name;
} kinds[] = {
	{STORAGE_MEM_ANY, "any call"},      {STORAGE_MEM_OPEN, "open"},
	{STORAGE_MEM_READ, "read"},         {STORAGE_MEM_WRITE, "write"},
	{STORAGE_MEM_SYNC, "sync"},         {STORAGE_MEM_RENAME, "rename"},
	{STORAGE_MEM_UNLINK, "unlink"},     {STORAGE_MEM_SYNC_DIR, "sync of the directory"},
	{STORAGE_MEM_ALLOCATE, "allocate"}, {STORAGE_MEM_TRUNCATE, "truncate"},
	{STORAGE_MEM_PUNCH, "punch"},       {STORAGE_MEM_LIST, "list"},
	{STORAGE_MEM_SIZE, "size"},
};
#define KINDS_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static uint64_t calls_of[KINDS_COUNT]; /* without a failure */

struct run {
	struct storage *st;
	struct lsm *lsm;
	struct model m;
	struct model_batch batch;
	struct rng rng;
	uint64_t number; /* of the last batch tried; each gets a new one */
	uint64_t synced; /* a batch no power cut may take back */
	uint64_t doubt;  /* a batch whose write failed, and which may yet be found; 0: none */
	unsigned errors;
};

static int open_store(struct run *r, struct storage *st)
{
	struct lsm_options options = tiny;

	options.storage = st;
	return lsm_open(NULL, &options, &r->lsm);
}

/* Errors of a storage that fails; anything else is a bug. */
static bool fits(struct run *r, const char *what, int err)
{
	if (err)
		r->errors++;
	if (err == 0 || err == -EIO || err == -ENOSPC || err == -EROFS)
		return true;
	return model_wrong(&r->m, "%s: error %d", what, err);
}

/* What is acknowledged must be readable while the storage fails, or be an error. */
static bool check_some(struct run *r)
{
	struct lsm_value value = {0};
	bool right = true;

	for (int i = 0; i < 3 && right; i++) {
		size_t at = model_pick(&r->m, &r->rng);
		int err = lsm_get(r->lsm, NULL, r->m.keys[at], &value);
		struct mval want = r->m.now[at];

		/* After a failed write it is open whether readers see that batch. */
		if (r->doubt || err == -EIO || err == -ENOSPC)
			continue;
		if (err < 0)
			right = model_wrong(&r->m, "get: error %d", err);
		else if (err ? want.seed != 0 : !mval_is(want, value.data, value.size))
			right = model_wrong(&r->m, "get %s: wrong", model_name(r->m.keys[at]));
	}
	lsm_value_release(&value);
	return right;
}

static bool is_read_only(struct run *r)
{
	struct lsm_stats stats;

	lsm_stats(r->lsm, &stats);
	return stats.read_only;
}

/* One batch. A failed write either leaves no trace, or makes the store read-only. */
static bool step(struct run *r)
{
	unsigned flags = rng_chance(&r->rng, 8) ? LSM_SYNC : 0;
	int err = model_build(&r->m, &r->batch, &r->rng, r->lsm, &mix, ++r->number);
	int64_t found;

	/* The source of a slice could not be read, or was changed by the batch in doubt. */
	if (err)
		return r->doubt || fits(r, "making a batch", err);
	err = lsm_write(r->lsm, r->batch.lsm_batch, flags);
	if (!fits(r, "lsm_write", err))
		return false;
	if (err) {
		if (is_read_only(r)) {
			if (!r->doubt && err != -EROFS) {
				uint64_t last = r->m.batch;

				/* In the model as a change that it can go to. */
				model_apply(&r->m, &r->batch);
				model_go(&r->m, last);
				r->doubt = r->number;
			}
			return true;
		}
		found = model_read_counter(&r->m, r->lsm);
		if (found != (int64_t)r->m.batch && found != -EIO && found != -ENOSPC)
			return model_wrong(&r->m,
					   "a failed write left batch %" PRId64 ", want %" PRIu64,
					   found, r->m.batch);
		return true;
	}
	if (r->doubt)
		return model_wrong(&r->m, "a write worked after the log had failed");
	model_apply(&r->m, &r->batch);
	if (flags)
		r->synced = r->m.batch;
	return true;
}

static bool upkeep(struct run *r)
{
	struct lsm_slice all = {NULL, 0};
	uint64_t last = r->m.batch;
	int err;

	switch (rng_below(&r->rng, 24)) {
	case 0:
		return fits(r, "lsm_flush", lsm_flush(r->lsm));
	case 1:
		return fits(r, "lsm_compact", lsm_compact(r->lsm, all, all, NULL, NULL));
	case 2:
		err = lsm_sync(r->lsm);
		if (!err)
			r->synced = last;
		return fits(r, "lsm_sync", err);
	default:
		return check_some(r);
	}
}

/* Open it; if only one call fails, then trying once more must do. */
static bool open_with_fails(struct run *r, unsigned times)
{
	int err = open_store(r, r->st);

	if (err && times && fits(r, "lsm_open", err)) {
		err = open_store(r, r->st);
		if (err)
			return model_wrong(&r->m, "lsm_open once more: error %d", err);
	}
	return fits(r, "lsm_open", err);
}

static bool reopen(struct run *r, unsigned times)
{
	int64_t found;
	int err;

	model_batch_clear(&r->batch);
	err = lsm_close(r->lsm);
	r->lsm = NULL;
	if (!err && !r->doubt)
		r->synced = r->m.batch;
	if (!fits(r, "lsm_close", err) || !open_with_fails(r, times))
		return false;
	if (!r->lsm || !r->doubt)
		return true;
	/* Now it shows whether the batch in doubt is there; if not, it never will be. */
	found = model_read_counter(&r->m, r->lsm);
	if (found == (int64_t)r->doubt)
		model_go(&r->m, r->doubt);
	else if (found == (int64_t)r->m.batch)
		model_truncate(&r->m);
	else if (!fits(r, "get", (int)found))
		return false;
	else
		return true;
	r->doubt = 0;
	return true;
}

/* Everything on a storage that works; `least`: the batch that must be there. */
static void check_after(struct run *r, struct storage *st, uint64_t least, const char *when)
{
	uint64_t last = r->m.batch, batch;
	int err = open_store(r, st);
	int64_t found;

	if (err) {
		model_wrong(&r->m, "opening it %s: error %d", when, err);
		return;
	}
	found = model_read_counter(&r->m, r->lsm);
	batch = (uint64_t)found;
	if (found < 0 || batch < least || (batch > last && batch != r->doubt)) {
		model_wrong(&r->m,
			    "batch %" PRId64 " %s, want %" PRIu64 " .. %" PRIu64 " or %" PRIu64,
			    found, when, least, last, r->doubt);
	} else {
		model_go(&r->m, batch);
		if (!model_check_all(&r->m, r->m.now, r->lsm, NULL, false) ||
		    !model_check_verify(&r->m, r->lsm))
			printf("#   at batch %" PRIu64 " %s (synced %" PRIu64 ", last %" PRIu64
			       "):\n",
			       batch, when, least, last);
		model_go(&r->m, last);
	}
	err = lsm_close(r->lsm);
	r->lsm = NULL;
	if (err)
		model_wrong(&r->m, "closing it %s: error %d", when, err);
}

static void workload(struct run *r, const struct kind *kind, uint64_t nth, unsigned times,
		     int error)
{
	bool right;

	storage_mem_fail(r->st, kind->op, nth, times, error);
	right = open_with_fails(r, times);
	for (unsigned i = 0; right && r->lsm && i < BATCHES; i++) {
		right = step(r) && upkeep(r);
		if (right && i == BATCHES / 2)
			right = reopen(r, times);
	}
}

static bool test_point(const struct kind *kind, uint64_t nth, unsigned times, int error,
		       uint64_t seed, unsigned *errors)
{
	struct run r = {.st = storage_mem_new(), .rng = {.state = seed}};
	struct storage *cut;
	bool right;

	if (!r.st)
		bail("no memory");
	model_init(&r.m, &r.rng, KEYS);
	workload(&r, kind, nth, times, error);
	/* The power goes now, while the storage fails; in another world it goes on. */
	cut = storage_mem_crash(r.st, nth % 2 ? STORAGE_MEM_KEEP_NONE : STORAGE_MEM_KEEP_RANDOM,
				seed + nth);
	if (!cut)
		bail("no memory");
	model_batch_release(&r.batch);
	if (r.lsm)
		fits(&r, "lsm_close", lsm_close(r.lsm));
	r.lsm = NULL;
	storage_mem_fail(r.st, STORAGE_MEM_ANY, 0, 0, 0);
	for (size_t i = 0; !nth && i < KINDS_COUNT; i++)
		calls_of[i] = storage_mem_count(r.st, kinds[i].op);
	if (!r.m.error[0])
		check_after(&r, cut, r.synced, "after a power cut");
	if (!r.m.error[0])
		check_after(&r, r.st, r.m.batch, "after the process ended");
	*errors += r.errors != 0;
	right = !r.m.error[0];
	if (!right)
		printf("#   %s %" PRIu64 " failed %s with %s, seed %" PRIu64 ": %s\n", kind->name,
		       nth, times ? "once" : "and all after", strerror(error), seed, r.m.error);
	cut->ops->free(cut);
	r.st->ops->free(r.st);
	model_release(&r.m);
	return right;
}

static void test_kind(size_t i, int error, uint64_t fails, uint64_t seed)
{
	const struct kind *kind = &kinds[i];
	bool all = fails == UINT64_MAX;
	struct rng rng = {.state = seed};
	unsigned errors = 0, runs = 0;
	bool right = true;

	if (all || fails > calls_of[i])
		fails = calls_of[i];
	/* The first calls one by one, that is all of opening; then here and there. */
	for (uint64_t n = 1; right && n <= fails; n++) {
		uint64_t nth = n;

		if (!all && n > fails / 2)
			nth = 1 + rng_below(&rng, (uint32_t)calls_of[i]);
		right = test_point(kind, nth, 1, error, seed, &errors) &&
			test_point(kind, nth, 0, error, all ? seed : seed + n, &errors);
		runs += 2;
	}
	ok(right, "%s (%" PRIu64 " made) fails with %s: seen by the caller in %u of %u runs",
	   kind->name, calls_of[i], strerror(error), errors, runs);
}

int main(void)
{
	const char *env_fails = getenv("FAILS"), *env_seed = getenv("SEED");
	uint64_t fails = env_fails ? strtoull(env_fails, NULL, 0) : FAILS_DEFAULT;
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : 1;
	unsigned errors = 0;

	if (env_fails && !strcmp(env_fails, "all"))
		fails = UINT64_MAX;
	/* A store that hangs fails the test, too. */
	alarm(fails > FAILS_DEFAULT ? 0 : WATCHDOG_SECONDS);
	ok(test_point(&kinds[0], 0, 1, 0, seed, &errors) && !errors, "without a failure");
	for (size_t i = 0; i < KINDS_COUNT; i++) {
		if (!calls_of[i])
			continue;
		test_kind(i, EIO, fails, seed);
		test_kind(i, ENOSPC, fails, seed);
	}
	return done();
}
