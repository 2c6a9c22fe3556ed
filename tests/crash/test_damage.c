/*
 * test_damage.c - every byte of a tree's files is damaged once.
 *
 * A small store with all kinds of files (tables on two levels and more, with range
 * tombstones; segments; a log; a manifest) is made, and damaged as damages.h says.
 * Whatever was done to it:
 *
 *   - opening, reading or lsm_verify() finds it, or everything reads as before;
 *   - what reads without an error is right: each key, and each scan up to its error;
 *   - a key outside the bounds of the damage that was found reads as before;
 *   - writing, flushing and compacting go on or fail, and lose nothing more;
 *   - nothing crashes or hangs.
 *
 * One store was closed; the other was left by a killed process, with a log that is
 * needed. There the end of the log may be missing, as after a power cut, if what is
 * lost was never synced, or nothing is left that says it was: that is so of the last
 * records that were synced, and where a newer log than the manifest names is gone.
 *
 * STRIDE=1 in the environment: every byte; the default takes one of a few.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lsm/lsm.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/damages.h"
#include "tests/support/lsm_model.h"
#include "tests/support/must.h"
#include "tests/support/mval.h"
#include "tests/support/option.h"
#include "tests/support/tap.h"

#define STRIDE_DEFAULT 7
#define WATCHDOG_SECONDS 900

static const struct lsm_options tiny = {
	.memtable_bytes = 6 << 10,
	.block_bytes = 256,
	.table_bytes = 3 << 10,
	.level1_bytes = 8 << 10,
	.segment_bytes = 16 << 10,
	.separate_min = 700,
	.l0_compact = 3,
	.l0_slow = 4,
	.l0_stop = 5,
	.imm_max = 2,
	.memory_bytes = 4 << 20,
};

static const struct lsm_model_mix mix = {6, 150, 5000, 12, 0, 10};

struct damage_found { /* key bounds of damage from lsm_verify(); size 0: unknown */
	char first[LSM_KEY_BYTES_MAX], last[LSM_KEY_BYTES_MAX];
	size_t first_size, last_size;
};

struct store {
	const char *name;
	bool killed; /* there is a log that is needed */
	struct storage *st;
	struct lsm_model m;
	uint64_t synced; /* the last batch that a log says was synced */
	bool mute;       /* the record that says so may be damaged now */
	struct damages d;
	struct damage_found found[32];
	size_t found_count;
	bool found_anywhere;
	unsigned reported; /* errors; atomic */
	struct counts {
		unsigned refused, found, harmless, keys_lost;
	} counts;
};

static void take_report(void *ctx, enum lsm_report_level level, const char *message)
{
	struct store *s = ctx;

	(void)message;
	if (level == LSM_REPORT_ERROR)
		__atomic_fetch_add(&s->reported, 1, __ATOMIC_RELAXED);
}

static int open_on(struct store *s, struct storage *st, bool create, struct lsm **lsm)
{
	struct lsm_options options = tiny;

	options.storage = st;
	options.create = create;
	options.report = take_report;
	options.report_ctx = s;
	return lsm_open(NULL, &options, lsm);
}

/* ---- the store ---- */

static void make_store(struct store *s, uint64_t seed, unsigned batches)
{
	static const struct lsm_slice all;
	struct lsm_model_batch batch = {0};
	struct rng rng = {.state = seed};
	struct storage *live = must_alloc(storage_mem_new());
	struct lsm *lsm;

	lsm_model_init(&s->m, &rng, 50);
	must(open_on(s, live, true, &lsm), "opening");
	for (unsigned i = 1; i <= batches; i++) {
		must(lsm_model_build(&s->m, &batch, &rng, lsm, &mix, i), "a batch");
		must(lsm_write(lsm, batch.lsm_batch, i % 8 ? 0 : LSM_SYNC), "writing");
		lsm_model_apply(&s->m, &batch);
		/* Records since say that this one is durable. */
		s->synced = i / 8 * 8 < i ? i / 8 * 8 : s->synced;
		if (i == batches / 3)
			must(lsm_compact(lsm, all, all, NULL, NULL), "compacting");
		if (i == batches * 2 / 3)
			must(lsm_flush(lsm), "flushing");
	}
	lsm_model_batch_release(&batch);
	if (s->killed)
		s->st = storage_mem_crash(live, STORAGE_MEM_KEEP_ALL, 0);
	must(lsm_close(lsm), "closing");
	if (!s->killed)
		s->st = storage_mem_crash(live, STORAGE_MEM_KEEP_ALL, 0);
	live->ops->free(live);
	must_alloc(s->st);
}

/* ---- looking at a damaged store ---- */

static void take_damage(void *ctx, const struct lsm_damage *d)
{
	struct store *s = ctx;
	struct damage_found *f;

	if (!d->first_key.size || !d->last_key.size || s->found_count == 32) {
		s->found_anywhere = true;
		return;
	}
	f = &s->found[s->found_count++];
	memcpy(f->first, d->first_key.data, f->first_size = d->first_key.size);
	memcpy(f->last, d->last_key.data, f->last_size = d->last_key.size);
}

static bool may_be_lost(const struct store *s, struct lsm_slice key)
{
	for (size_t i = 0; i < s->found_count; i++) {
		const struct damage_found *f = &s->found[i];

		if (lsm_model_compare(key, (struct lsm_slice){f->first, f->first_size}) >= 0 &&
		    lsm_model_compare(key, (struct lsm_slice){f->last, f->last_size}) <= 0)
			return true;
	}
	return s->found_anywhere;
}

/* Every key: right, or lost where damage was found. `exact`: there was no damage. */
static bool check_keys(struct store *s, struct lsm *lsm, bool exact, const char *when)
{
	struct lsm_value value = {0};
	bool right = true;

	for (size_t i = 0; right && i < s->m.keys_count; i++) {
		struct mval want = s->m.now[i];
		int err = lsm_get(lsm, NULL, s->m.keys[i], &value);

		if (err == -EUCLEAN && !exact && may_be_lost(s, s->m.keys[i]))
			s->counts.keys_lost++;
		else if (err < 0)
			right = lsm_model_wrong(&s->m, "get %s %s: error %d",
						lsm_model_name(s->m.keys[i]), when, err);
		else if (err ? want.seed != 0 : !mval_is(want, value.data, value.size))
			right = lsm_model_wrong(&s->m, "get %s %s: wrong",
						lsm_model_name(s->m.keys[i]), when);
	}
	lsm_value_release(&value);
	return right;
}

/* From `key` on, forwards or backwards: right up to the end or the error. 0 or the error. */
static int check_scan(struct store *s, struct lsm *lsm, size_t from, bool backwards)
{
	struct lsm_iter *it = must_alloc(lsm_iter_new(lsm, NULL));
	struct lsm_slice value;
	int err = 0;
	size_t at;

	if (backwards)
		lsm_iter_seek_prev(it, s->m.keys[from]);
	else
		lsm_iter_seek(it, s->m.keys[from]);
	at = backwards ? lsm_model_prev(s->m.now, from, 0) :
			 lsm_model_next(s->m.now, from, s->m.keys_count);
	while (lsm_iter_valid(it) && !s->m.error[0]) {
		if (at == LSM_MODEL_NONE || lsm_model_compare(lsm_iter_key(it), s->m.keys[at])) {
			lsm_model_wrong(
				&s->m, "scan: %s, want %s", lsm_model_name(lsm_iter_key(it)),
				at == LSM_MODEL_NONE ? "the end" : lsm_model_name(s->m.keys[at]));
			break;
		}
		err = lsm_iter_value(it, &value);
		if (!err && !mval_is(s->m.now[at], value.data, value.size))
			lsm_model_wrong(&s->m, "scan: a wrong value of %s",
					lsm_model_name(s->m.keys[at]));
		if (backwards) {
			at = at ? lsm_model_prev(s->m.now, at - 1, 0) : LSM_MODEL_NONE;
			lsm_iter_prev(it);
		} else {
			at = lsm_model_next(s->m.now, at + 1, s->m.keys_count);
			lsm_iter_next(it);
		}
	}
	err = lsm_iter_status(it);
	if (!err && at != LSM_MODEL_NONE)
		lsm_model_wrong(&s->m, "scan: ends before %s", lsm_model_name(s->m.keys[at]));
	if (err && err != -EUCLEAN)
		lsm_model_wrong(&s->m, "scan: error %d", err);
	lsm_iter_free(it);
	return err;
}

/* Go on writing over the damage: new values are there, and no more is lost. */
static bool check_goes_on(struct store *s, struct lsm *lsm, bool damaged)
{
	static const struct lsm_slice all, key = {"zzz goes on", 11};
	static char bytes[3000];
	struct lsm_slice data = {bytes, sizeof(bytes)};
	struct lsm_batch *b = must_alloc(lsm_batch_new());
	struct lsm_value value = {0};
	int err = 0;

	/* More than level 0 holds, were it not compacted. */
	for (int i = 0; !err && i < 9; i++) {
		bytes[0] = (char)i;
		lsm_batch_clear(b);
		err = lsm_batch_put(b, key, data);
		if (!err)
			err = lsm_write(lsm, b, 0);
		if (!err)
			err = lsm_flush(lsm);
	}
	lsm_batch_free(b);
	if (err)
		return lsm_model_wrong(&s->m, "writing on: error %d", err);
	err = lsm_compact(lsm, all, all, NULL, NULL);
	if (err && (err != -EUCLEAN || !damaged))
		return lsm_model_wrong(&s->m, "compacting: error %d", err);
	err = lsm_get(lsm, NULL, key, &value);
	if (!(err == -EUCLEAN && may_be_lost(s, key)) &&
	    (err || value.size != sizeof(bytes) || memcmp(value.data, bytes, sizeof(bytes)) != 0))
		lsm_model_wrong(&s->m, "a value written after the damage is not there: %d", err);
	lsm_value_release(&value);
	return check_keys(s, lsm, !damaged, "after compacting");
}

/*
 * The log may have lost its end, if nothing says that it was synced. False: that is
 * wrong, or where it ends was damaged too, so that there is nothing to compare with.
 */
static bool take_prefix(struct store *s, struct lsm *lsm)
{
	int64_t batch = lsm_model_read_counter(&s->m, lsm);

	if (!s->killed || batch < 0)
		return !s->mute;
	if ((uint64_t)batch < (s->mute ? 0 : s->synced) || (uint64_t)batch > s->m.batch)
		return lsm_model_wrong(&s->m,
				       "batch %" PRId64 " is the last, want %" PRIu64 " at least",
				       batch, s->synced);
	lsm_model_go(&s->m, (uint64_t)batch);
	return true;
}

static void check_open(struct store *s, struct lsm *lsm, bool go_on)
{
	int err, scan = 0;
	bool damaged;

	err = lsm_verify(lsm, take_damage, s, NULL, NULL);
	damaged = err == -EUCLEAN;
	if (err && !damaged)
		lsm_model_wrong(&s->m, "lsm_verify: error %d", err);
	s->counts.found += damaged;
	s->counts.harmless += !damaged;
	if (!take_prefix(s, lsm) || !check_keys(s, lsm, !damaged, "after opening"))
		return;
	scan = check_scan(s, lsm, 0, false);
	if (!scan || damaged)
		scan |= check_scan(s, lsm, s->m.keys_count - 1, true);
	if (damaged)
		check_scan(s, lsm, s->m.keys_count / 2, false);
	if (scan && !damaged)
		lsm_model_wrong(&s->m, "a scan fails although lsm_verify() finds nothing");
	if (go_on && !s->m.error[0])
		check_goes_on(s, lsm, damaged);
}

/* Open and check a damaged copy of the store. Frees `st`. */
static bool check(struct store *s, struct storage *st, bool go_on)
{
	uint64_t last = s->m.batch;
	struct lsm *lsm;
	int err;

	s->found_count = 0;
	s->found_anywhere = false;
	s->reported = 0;
	err = open_on(s, st, false, &lsm);
	if (err) {
		s->counts.refused++;
		if (err != -EUCLEAN && err != -EPROTONOSUPPORT)
			lsm_model_wrong(&s->m, "opening: error %d", err);
		else if (!s->reported)
			lsm_model_wrong(&s->m, "it does not open, and no report says why");
	} else {
		check_open(s, lsm, go_on);
		err = lsm_close(lsm);
		if (err)
			lsm_model_wrong(&s->m, "closing: error %d", err);
	}
	st->ops->free(st);
	lsm_model_go(&s->m, last);
	return !s->m.error[0];
}

static bool check_copy(void *ctx, struct storage *st, bool mute, bool go_on)
{
	struct store *s = ctx;

	s->mute = mute;
	return check(s, st, go_on);
}

static void finish(void *ctx, const char *what, const char *name, unsigned cases)
{
	struct store *s = ctx;

	ok(!s->m.error[0], "%s, %s: %s, %u cases: %u refused, %u found, %u harmless; %u reads lost",
	   s->name, name, what, cases, s->counts.refused, s->counts.found, s->counts.harmless,
	   s->counts.keys_lost);
	s->counts = (struct counts){0};
	s->m.error[0] = '\0';
}

static void test_store(struct store *s, uint64_t seed, unsigned batches, uint64_t stride)
{
	make_store(s, seed, batches);
	s->d = (struct damages){.name = s->name,
				.st = s->st,
				.ctx = s,
				.check = check_copy,
				.finish = finish,
				.error = s->m.error,
				.rng = {.state = seed}};
	ok(check(s, damages_copy(&s->d), true) && s->counts.harmless == 1, "%s: whole at first",
	   s->name);
	s->counts = (struct counts){0};
	damages_all(&s->d, stride);
	s->st->ops->free(s->st);
	lsm_model_release(&s->m);
}

/*
 * Every table is broken. Writing goes on until level 0 is far above its limit, then it
 * is refused. No written value is lost, and the damage is reported once.
 */
static void test_stuck(struct store *s, uint64_t seed)
{
	static const struct lsm_slice all;
	struct lsm_batch *b = must_alloc(lsm_batch_new());
	struct lsm_value value = {0};
	struct storage *st;
	struct lsm *lsm;
	unsigned written = 0, errors;
	char key[16];
	int err = 0;

	make_store(s, seed, 150);
	s->d.st = s->st;
	st = damages_copy(&s->d);
	damages_list(&s->d);
	for (size_t i = 0; i < s->d.files_count; i++)
		if (strstr(s->d.files[i].name, ".tab"))
			must(storage_mem_flip(st, s->d.files[i].name, s->d.files[i].size - 1, 1),
			     "flip");
	must(open_on(s, st, false, &lsm), "opening");
	while (!err && written < 1000) {
		sprintf(key, "new %03u", written);
		lsm_batch_clear(b);
		must(lsm_batch_put(b, (struct lsm_slice){key, 7}, (struct lsm_slice){key, 7}),
		     "put");
		err = lsm_write(lsm, b, 0);
		if (!err) {
			written++;
			err = lsm_flush(lsm);
		}
	}
	ok(err == -EUCLEAN && written > 4 * tiny.l0_stop && written < 10 * tiny.l0_stop,
	   "stuck: after %u tables in level 0 writes are refused (%d)", written, err);
	for (unsigned i = 0; i < written; i++) {
		sprintf(key, "new %03u", i);
		err = lsm_get(lsm, NULL, (struct lsm_slice){key, 7}, &value);
		if (err || value.size != 7 || memcmp(value.data, key, 7) != 0)
			lsm_model_wrong(&s->m, "get %s: %d", key, err);
	}
	ok(!s->m.error[0], "stuck: every written value is there%s", s->m.error);
	is_int(lsm_compact(lsm, all, all, NULL, NULL), -EUCLEAN,
	       "stuck: compacting returns the error");
	sleep(1);
	errors = __atomic_load_n(&s->reported, __ATOMIC_RELAXED);
	sleep(2);
	is_int(__atomic_load_n(&s->reported, __ATOMIC_RELAXED), errors,
	       "stuck: the damage is not reported again and again");
	must(lsm_close(lsm), "closing");
	lsm_value_release(&value);
	lsm_batch_free(b);
	st->ops->free(st);
	s->st->ops->free(s->st);
	lsm_model_release(&s->m);
}

int main(void)
{
	uint64_t stride = damages_stride(STRIDE_DEFAULT), seed = option_number("SEED", 1);
	struct store closed = {.name = "closed"}, killed = {.name = "killed", .killed = true};
	struct store stuck = {.name = "stuck"};

	option_watchdog(stride < STRIDE_DEFAULT, WATCHDOG_SECONDS);
	run_test(test_store, &closed, seed, 150, stride);
	run_test(test_store, &killed, seed + 1, 100, stride);
	run_test(test_stuck, &stuck, seed + 2);
	return done();
}
