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
#include "tests/support/damages.h"

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

static const struct model_mix mix = {6, 150, 5000, 12, 0, 10};

struct damage_found { /* key bounds of what lsm_verify() told; size 0: unknown */
	char first[LSM_KEY_BYTES_MAX], last[LSM_KEY_BYTES_MAX];
	size_t first_size, last_size;
};

struct store {
	const char *name;
	bool killed; /* there is a log that is needed */
	struct storage *st;
	struct model m;
	uint64_t synced; /* the last batch that a log says was synced */
	bool mute;       /* what is done now may take the record that says so away */
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
	struct model_batch batch = {0};
	struct rng rng = {.state = seed};
	struct storage *live = model_must(storage_mem_new());
	struct lsm *lsm;

	model_init(&s->m, &rng, 50);
	must(open_on(s, live, true, &lsm), "opening");
	for (unsigned i = 1; i <= batches; i++) {
		must(model_build(&s->m, &batch, &rng, lsm, &mix, i), "a batch");
		must(lsm_write(lsm, batch.lsm_batch, i % 8 ? 0 : LSM_SYNC), "writing");
		model_apply(&s->m, &batch);
		/* Records since say that this one is durable. */
		s->synced = i / 8 * 8 < i ? i / 8 * 8 : s->synced;
		if (i == batches / 3)
			must(lsm_compact(lsm, all, all, NULL, NULL), "compacting");
		if (i == batches * 2 / 3)
			must(lsm_flush(lsm), "flushing");
	}
	model_batch_release(&batch);
	if (s->killed)
		s->st = storage_mem_crash(live, STORAGE_MEM_KEEP_ALL, 0);
	must(lsm_close(lsm), "closing");
	if (!s->killed)
		s->st = storage_mem_crash(live, STORAGE_MEM_KEEP_ALL, 0);
	live->ops->free(live);
	model_must(s->st);
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

		if (model_compare(key, (struct lsm_slice){f->first, f->first_size}) >= 0 &&
		    model_compare(key, (struct lsm_slice){f->last, f->last_size}) <= 0)
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
			right = model_wrong(&s->m, "get %s %s: error %d", model_name(s->m.keys[i]),
					    when, err);
		else if (err ? want.seed != 0 : !mval_is(want, value.data, value.size))
			right = model_wrong(&s->m, "get %s %s: wrong", model_name(s->m.keys[i]),
					    when);
	}
	lsm_value_release(&value);
	return right;
}

/* From `key` on, forwards or backwards: right up to the end or the error. 0 or the error. */
static int check_scan(struct store *s, struct lsm *lsm, size_t from, bool backwards)
{
	struct lsm_iter *it = model_must(lsm_iter_new(lsm, NULL));
	struct lsm_slice value;
	int err = 0;
	size_t at;

	if (backwards)
		lsm_iter_seek_prev(it, s->m.keys[from]);
	else
		lsm_iter_seek(it, s->m.keys[from]);
	at = backwards ? model_prev(s->m.now, from, 0) :
			 model_next(s->m.now, from, s->m.keys_count);
	while (lsm_iter_valid(it) && !s->m.error[0]) {
		if (at == MODEL_NONE || model_compare(lsm_iter_key(it), s->m.keys[at])) {
			model_wrong(&s->m, "scan: %s, want %s", model_name(lsm_iter_key(it)),
				    at == MODEL_NONE ? "the end" : model_name(s->m.keys[at]));
			break;
		}
		err = lsm_iter_value(it, &value);
		if (!err && !mval_is(s->m.now[at], value.data, value.size))
			model_wrong(&s->m, "scan: a wrong value of %s", model_name(s->m.keys[at]));
		if (backwards) {
			at = at ? model_prev(s->m.now, at - 1, 0) : MODEL_NONE;
			lsm_iter_prev(it);
		} else {
			at = model_next(s->m.now, at + 1, s->m.keys_count);
			lsm_iter_next(it);
		}
	}
	err = lsm_iter_status(it);
	if (!err && at != MODEL_NONE)
		model_wrong(&s->m, "scan: ends before %s", model_name(s->m.keys[at]));
	if (err && err != -EUCLEAN)
		model_wrong(&s->m, "scan: error %d", err);
	lsm_iter_free(it);
	return err;
}

/* Go on writing over the damage: what is written is there, the rest no worse than before. */
static bool check_goes_on(struct store *s, struct lsm *lsm, bool damaged)
{
	static const struct lsm_slice all, key = {"zzz goes on", 11};
	static char bytes[3000];
	struct lsm_slice data = {bytes, sizeof(bytes)};
	struct lsm_batch *b = model_must(lsm_batch_new());
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
		return model_wrong(&s->m, "writing on: error %d", err);
	err = lsm_compact(lsm, all, all, NULL, NULL);
	if (err && (err != -EUCLEAN || !damaged))
		return model_wrong(&s->m, "compacting: error %d", err);
	err = lsm_get(lsm, NULL, key, &value);
	if (!(err == -EUCLEAN && may_be_lost(s, key)) &&
	    (err || value.size != sizeof(bytes) || memcmp(value.data, bytes, sizeof(bytes)) != 0))
		model_wrong(&s->m, "what was written after the damage is not there: %d", err);
	lsm_value_release(&value);
	return check_keys(s, lsm, !damaged, "after compacting");
}

/*
 * The log may have lost its end, if nothing says that it was synced. False: that is
 * wrong, or where it ends was damaged too, so that there is nothing to compare with.
 */
static bool take_prefix(struct store *s, struct lsm *lsm)
{
	int64_t batch = model_read_counter(&s->m, lsm);

	if (!s->killed || batch < 0)
		return !s->mute;
	if ((uint64_t)batch < (s->mute ? 0 : s->synced) || (uint64_t)batch > s->m.batch)
		return model_wrong(&s->m,
				   "batch %" PRId64 " is the last, want %" PRIu64 " at least",
				   batch, s->synced);
	model_go(&s->m, (uint64_t)batch);
	return true;
}

static void check_open(struct store *s, struct lsm *lsm, bool go_on)
{
	int err, scan = 0;
	bool damaged;

	err = lsm_verify(lsm, take_damage, s, NULL, NULL);
	damaged = err == -EUCLEAN;
	if (err && !damaged)
		model_wrong(&s->m, "lsm_verify: error %d", err);
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
		model_wrong(&s->m, "a scan fails on what lsm_verify() finds whole");
	if (go_on && !s->m.error[0])
		check_goes_on(s, lsm, damaged);
}

/* Open what was done to a copy of the store. Takes `st`. */
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
			model_wrong(&s->m, "opening: error %d", err);
		else if (!s->reported)
			model_wrong(&s->m, "it does not open, and nothing says why");
	} else {
		check_open(s, lsm, go_on);
		err = lsm_close(lsm);
		if (err)
			model_wrong(&s->m, "closing: error %d", err);
	}
	st->ops->free(st);
	model_go(&s->m, last);
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
	model_release(&s->m);
}

/*
 * Every table is broken. Writing goes on until level 0 is far above its limit, then it
 * is refused; nothing of what was written is lost; what is wrong is told once.
 */
static void test_stuck(struct store *s, uint64_t seed)
{
	static const struct lsm_slice all;
	struct lsm_batch *b = model_must(lsm_batch_new());
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
			model_wrong(&s->m, "get %s: %d", key, err);
	}
	ok(!s->m.error[0], "stuck: all that was written is there%s", s->m.error);
	is_int(lsm_compact(lsm, all, all, NULL, NULL), -EUCLEAN, "stuck: compacting says so");
	sleep(1);
	errors = __atomic_load_n(&s->reported, __ATOMIC_RELAXED);
	sleep(2);
	is_int(__atomic_load_n(&s->reported, __ATOMIC_RELAXED), errors,
	       "stuck: what is wrong is not told again and again");
	must(lsm_close(lsm), "closing");
	lsm_value_release(&value);
	lsm_batch_free(b);
	st->ops->free(st);
	s->st->ops->free(s->st);
	model_release(&s->m);
}

int main(void)
{
	uint64_t stride = damages_stride(STRIDE_DEFAULT), seed = cuts_number("SEED", 1);
	struct store closed = {.name = "closed"}, killed = {.name = "killed", .killed = true};
	struct store stuck = {.name = "stuck"};

	alarm(stride < STRIDE_DEFAULT ? 0 : WATCHDOG_SECONDS);
	test_store(&closed, seed, 150, stride);
	test_store(&killed, seed + 1, 100, stride);
	test_stuck(&stuck, seed + 2);
	return done();
}
