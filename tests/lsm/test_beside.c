/*
 * test_beside.c - writers and readers beside each other.
 *
 * Each writer has a group of keys, spread over the key space, and puts the same
 * number under all of them in one batch; when it is a multiple of 7 it deletes
 * them all, by range tombstones. Whoever reads under one snapshot must see all
 * of a group equal, and never older than what had been written before.
 *
 * Meanwhile tables are flushed and compacted, and copies are taken of what the
 * disk would hold if the power went: opened, they must show each group whole and
 * as recent as promised. Worth most under the thread sanitizer. ROUNDS=n in the
 * environment: how many such cuts; SEED=n.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/lsm_model.h"

#define ROUNDS_DEFAULT 12
#define WATCHDOG_SECONDS 600

/* The power goes after the first of these, while writers go on up to the second. */
#define ROUND_NUMBERS 100
#define ROUND_NUMBERS_MAX 300

#define GROUP_KEYS 8
#define WRITERS 2
#define READERS 2

struct beside {
	struct lsm *lsm;
	atomic_ullong written[WRITERS], synced[WRITERS]; /* numbers */
	atomic_ullong allowed;                           /* no number above it is written yet */
	atomic_bool stop;
	atomic_int failed;
	uint64_t seed;
	char error[256]; /* of who set `failed` first */
};

struct beside_thread {
	struct beside *b;
	pthread_t thread;
	unsigned id;
};

static const struct lsm_options tiny = {
	.memtable_bytes = 16 << 10,
	.block_bytes = 256,
	.table_bytes = 8 << 10,
	.level1_bytes = 32 << 10,
	.segment_bytes = 64 << 10,
	.separate_min = 512,
	.l0_compact = 2,
	.l0_slow = 4,
	.l0_stop = 6,
	.imm_max = 2,
	.memory_bytes = 4 << 20,
};

static void print_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR)
		printf("# %s\n", message);
}

static void beside_fail(struct beside *b, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void beside_fail(struct beside *b, const char *format, ...)
{
	va_list args;

	if (!atomic_fetch_add(&b->failed, 1)) {
		va_start(args, format);
		vsnprintf(b->error, sizeof(b->error), format, args);
		va_end(args);
	}
	atomic_store(&b->stop, true);
}

static struct lsm_slice group_key(char *buf, unsigned writer, unsigned i)
{
	return (struct lsm_slice){buf,
				  (size_t)sprintf(buf, "%c/group%u", 'a' + (int)i * 3, writer)};
}

/* Every fifth number is in values that are separated. */
static size_t group_size(uint64_t number)
{
	return number % 5 ? 16 : 5000;
}

static struct mval group_value(uint64_t number, unsigned i)
{
	return (struct mval){number << 8 | i << 4 | 1, 0, (uint32_t)group_size(number)};
}

static int add_group(struct lsm_batch *batch, unsigned writer, uint64_t number)
{
	uint64_t head = htole64(number);
	char key[32], value[5000];
	int err = 0;

	for (unsigned i = 0; i < GROUP_KEYS && !err; i++) {
		struct lsm_slice k = group_key(key, writer, i);

		if (number % 7 == 0) {
			char end[40];
			size_t n = (size_t)sprintf(end, "%.*s.", (int)k.size, key);

			err = lsm_batch_delete_range(batch, k, (struct lsm_slice){end, n});
			continue;
		}
		mval_fill(group_value(number, i), 0, value, group_size(number));
		memcpy(value, &head, sizeof(head));
		err = lsm_batch_put(batch, k, (struct lsm_slice){value, group_size(number)});
	}
	return err;
}

/* The number in a value of a group; 0 if the value is wrong. */
static uint64_t group_number(unsigned i, const void *data, size_t size)
{
	uint64_t number;

	if (size < sizeof(number))
		return 0;
	memcpy(&number, data, sizeof(number));
	number = le64toh(number);
	if (size != group_size(number) ||
	    !mval_is_part(group_value(number, i), 8, (const char *)data + 8, size - 8))
		return 0;
	return number;
}

static void *write_beside(void *arg)
{
	struct beside_thread *t = arg;
	struct beside *b = t->b;
	struct rng rng = {.state = b->seed + t->id};
	struct lsm_batch *batch = model_must(lsm_batch_new());

	for (uint64_t number = 1; !atomic_load(&b->stop); number++) {
		unsigned flags = rng_chance(&rng, 40) ? LSM_SYNC : 0;
		char key[32], noise[300];
		int err;

		while (number > atomic_load(&b->allowed) && !atomic_load(&b->stop))
			usleep(200);
		lsm_batch_clear(batch);
		err = add_group(batch, t->id, number);
		/* Something for the background to do, between the groups' keys. */
		for (unsigned i = 0; i < 5 && !err; i++) {
			size_t n =
				(size_t)sprintf(key, "%c/noise%u", 'a' + (int)rng_below(&rng, 26),
						rng_below(&rng, 200));

			memset(noise, (int)number, sizeof(noise));
			err = lsm_batch_put(batch, (struct lsm_slice){key, n},
					    (struct lsm_slice){noise, rng_below(&rng, 300)});
		}
		if (!err)
			err = lsm_write(b->lsm, batch, flags);
		if (err) {
			beside_fail(b, "writer %u: error %d", t->id, err);
			break;
		}
		atomic_store(&b->written[t->id], number);
		if (flags & LSM_SYNC)
			atomic_store(&b->synced[t->id], number);
	}
	lsm_batch_free(batch);
	return NULL;
}

/*
 * Read a group, all under one snapshot, by gets or by an iterator. The number;
 * 0 when all are absent; UINT64_MAX when it is not all the same, or an error.
 */
static uint64_t read_group(struct lsm *lsm, const struct lsm_snapshot *snapshot,
			   struct lsm_iter *it, unsigned writer, struct lsm_value *value)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < GROUP_KEYS; i++) {
		char buf[32];
		struct lsm_slice key = group_key(buf, writer, i), bytes = {NULL, 0};
		uint64_t here = 0;
		int absent;

		if (it) {
			lsm_iter_seek(it, key);
			absent = !lsm_iter_valid(it) || model_compare(lsm_iter_key(it), key);
			if (lsm_iter_status(it) || (!absent && lsm_iter_value(it, &bytes)))
				return UINT64_MAX;
		} else {
			absent = lsm_get(lsm, snapshot, key, value);
			if (absent < 0)
				return UINT64_MAX;
			bytes = (struct lsm_slice){value->data, value->size};
		}
		if (!absent) {
			here = group_number(i, bytes.data, bytes.size);
			if (!here)
				return UINT64_MAX;
		}
		if (i && here != number)
			return UINT64_MAX;
		number = here;
	}
	return number;
}

static void *check_beside(void *arg)
{
	struct beside_thread *t = arg;
	struct beside *b = t->b;
	struct rng rng = {.state = b->seed + 100 + t->id};
	struct lsm_value value = {0};

	while (!atomic_load(&b->stop)) {
		unsigned writer = rng_below(&rng, WRITERS);
		uint64_t before = atomic_load(&b->written[writer]), number;
		struct lsm_snapshot *snapshot = NULL;
		struct lsm_iter *it = NULL;
		bool iterate = rng_chance(&rng, 2);

		if (!iterate || rng_chance(&rng, 2))
			snapshot = model_must(lsm_snapshot_take(b->lsm));
		if (iterate)
			it = model_must(lsm_iter_new(
				b->lsm, &(struct lsm_iter_options){.snapshot = snapshot}));
		number = read_group(b->lsm, snapshot, it, writer, &value);
		if (number == UINT64_MAX)
			beside_fail(b, "reader %u: a group that is not whole", t->id);
		else if (number && number < before)
			beside_fail(b, "reader %u: sees %" PRIu64 ", %" PRIu64 " was written",
				    t->id, number, before);
		/* Absent: one more write makes it present, so ask only when it cannot be so. */
		else if (!number && before % 7 && atomic_load(&b->written[writer]) == before &&
			 (before + 1) % 7)
			beside_fail(b, "reader %u: absent, %" PRIu64 " was written", t->id, before);
		lsm_iter_free(it);
		if (snapshot)
			lsm_snapshot_drop(b->lsm, snapshot);
	}
	lsm_value_release(&value);
	return NULL;
}

/* Take a copy of the disk while everything runs; what is in it must be whole and recent. */
static void cut_beside(struct beside *b, struct storage *st, const struct lsm_options *options,
		       enum storage_mem_keep keep, uint64_t seed)
{
	struct lsm_options own = *options;
	uint64_t least[WRITERS], most[WRITERS];
	struct lsm_value value = {0};
	struct lsm *lsm;
	int err;

	for (unsigned i = 0; i < WRITERS; i++)
		least[i] =
			atomic_load(keep == STORAGE_MEM_KEEP_ALL ? &b->written[i] : &b->synced[i]);
	own.storage = storage_mem_crash(st, keep, seed);
	for (unsigned i = 0; i < WRITERS; i++)
		most[i] = atomic_load(&b->written[i]) + 1;
	if (!own.storage)
		bail("no memory");
	err = lsm_open(NULL, &own, &lsm);
	if (err)
		beside_fail(b, "open after a cut: error %d", err);
	for (unsigned i = 0; i < WRITERS && !err; i++) {
		uint64_t number = read_group(lsm, NULL, NULL, i, &value);

		if (number == UINT64_MAX)
			beside_fail(b, "a cut left a group that is not whole");
		else if (number ? number < least[i] || number > most[i] :
				  least[i] && most[i] / 7 == (least[i] - 1) / 7)
			beside_fail(b,
				    "a cut (keep %d) left %" PRIu64 " of %" PRIu64 " .. %" PRIu64,
				    (int)keep, number, least[i], most[i]);
	}
	if (!err)
		lsm_close(lsm);
	lsm_value_release(&value);
	own.storage->ops->free(own.storage);
}

static void test_beside(uint64_t seed, unsigned rounds)
{
	struct lsm_options options = tiny;
	struct storage *st = storage_mem_new();
	struct beside b = {.seed = seed};
	struct beside_thread threads[WRITERS + READERS];
	struct rng rng = {.state = seed};
	int err;

	if (!st)
		bail("no memory");
	options.storage = st;
	options.create = true;
	options.report = print_report;
	err = lsm_open(NULL, &options, &b.lsm);
	if (err)
		bail("lsm_open: error %d", err);
	for (unsigned i = 0; i < WRITERS + READERS; i++) {
		threads[i] = (struct beside_thread){.b = &b, .id = i};
		if (pthread_create(&threads[i].thread, NULL,
				   i < WRITERS ? write_beside : check_beside, &threads[i]))
			bail("no thread");
	}
	for (unsigned i = 0; i < rounds && !atomic_load(&b.stop); i++) {
		uint64_t until = atomic_load(&b.written[0]) + ROUND_NUMBERS;

		atomic_store(&b.allowed, until - ROUND_NUMBERS + ROUND_NUMBERS_MAX);
		while (!atomic_load(&b.stop) && atomic_load(&b.written[0]) < until)
			usleep(1000);
		cut_beside(&b, st, &options, (enum storage_mem_keep)(i % 3), rng_next(&rng));
		if (rng_chance(&rng, 3))
			err = lsm_compact(b.lsm, (struct lsm_slice){"d", 1},
					  (struct lsm_slice){"m", 1}, NULL, NULL);
		else if (rng_chance(&rng, 3))
			err = lsm_flush(b.lsm);
		if (err)
			beside_fail(&b, "upkeep: error %d", err);
	}
	atomic_store(&b.stop, true);
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		pthread_join(threads[i].thread, NULL);
	err = lsm_verify(b.lsm, model_print_damage, NULL, NULL, NULL);
	if (err)
		beside_fail(&b, "lsm_verify: error %d", err);
	err = lsm_close(b.lsm);
	ok(!err && !b.failed, "%d writers and %d readers beside each other, %u cuts", WRITERS,
	   READERS, rounds);
	if (b.failed)
		printf("#   seed %" PRIu64 ": %s\n", seed, b.error);
	st->ops->free(st);
}

int main(void)
{
	const char *env_rounds = getenv("ROUNDS"), *env_seed = getenv("SEED");
	unsigned rounds = env_rounds ? (unsigned)strtoul(env_rounds, NULL, 0) : ROUNDS_DEFAULT;
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : 1;

	/* A store that hangs fails the test, too. */
	alarm(rounds > ROUNDS_DEFAULT ? 0 : WATCHDOG_SECONDS);
	test_beside(seed, rounds);
	return done();
}
