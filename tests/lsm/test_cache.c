/* The cache: which entries stay and which are evicted, also under many threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "lsm/table/cache.h"
#include "tests/support/rng.h"
#include "tests/support/tap.h"

#define CHARGE 10000
#define LIMIT ((size_t)100000) /* too small for more than one shard */

static _Atomic int alive;

struct thing {
	uint64_t file, offset;
};

static void destroy(void *value)
{
	struct thing *t = value;

	t->file = t->offset = UINT64_MAX; /* a use after this is seen */
	free(t);
	atomic_fetch_sub(&alive, 1);
}

static struct cache_entry *put(struct cache *c, uint64_t file, uint64_t offset, size_t charge)
{
	struct thing *t = malloc(sizeof(*t));
	struct cache_entry *e;

	if (!t)
		bail("malloc");
	*t = (struct thing){file, offset};
	atomic_fetch_add(&alive, 1);
	e = cache_put(c, file, offset, t, charge, destroy);
	if (!e)
		bail("cache_put");
	return e;
}

static bool has(struct cache *c, uint64_t file, uint64_t offset)
{
	struct cache_entry *e = cache_get(c, file, offset);
	bool right = e && ((struct thing *)cache_value(e))->file == file &&
		     ((struct thing *)cache_value(e))->offset == offset;

	cache_release(c, e);
	return right;
}

static struct cache *make(size_t limit)
{
	struct cache *c = cache_new(limit);

	if (!c)
		bail("cache_new");
	return c;
}

/* The checker of the cache itself agrees with the state it is in. */
static void valid(struct cache *c, const char *when)
{
	const char *why;
	bool right = cache_valid(c, &why);

	ok(right, "a consistent cache %s%s%s", when, right ? "" : ": ", right ? "" : why);
}

static void test_basics(void)
{
	struct cache *c = make(LIMIT);
	struct cache_stats stats;
	struct cache_entry *e, *again;

	ok(!cache_get(c, 1, 0), "an empty cache has nothing");
	valid(c, "when it is empty");
	e = put(c, 1, 0, CHARGE);
	again = put(c, 1, 0, CHARGE);
	ok(e == again, "putting an entry that exists returns the existing one");
	is_int(alive, 1, "and destroys the other");
	valid(c, "with two references to one entry");
	cache_release(c, e);
	cache_release(c, again);
	cache_release(c, NULL);
	ok(has(c, 1, 0), "a released entry stays");
	valid(c, "with an idle entry");
	ok(!has(c, 1, CACHE_TABLE) && !has(c, 2, 0), "under its own key only");
	cache_stats(c, &stats);
	is_int(stats.hits, 1, "one hit");
	is_int(stats.misses, 3, "three misses");
	ok(stats.bytes >= CHARGE && stats.bytes < CHARGE + 200, "the cost");
	is_int(stats.bytes_max, LIMIT, "the limit");
	cache_free(c);
	cache_free(NULL);
	is_int(alive, 0, "all is destroyed with the cache");
}

static void test_eviction(void)
{
	struct cache *c = make(LIMIT);
	struct cache_stats stats;
	struct cache_entry *held;

	for (uint64_t i = 0; i < 9; i++)
		cache_release(c, put(c, 1, i, CHARGE));
	is_int(alive, 9, "entries that fit stay");
	ok(has(c, 1, 0), "(use the first again)");
	cache_release(c, put(c, 1, 9, CHARGE));
	ok(!has(c, 1, 1), "the longest unused goes");
	ok(has(c, 1, 0) && has(c, 1, 2) && has(c, 1, 9), "recently used entries stay");

	held = cache_get(c, 1, 5);
	for (uint64_t i = 0; i < 50; i++)
		cache_release(c, put(c, 2, i, CHARGE));
	ok(has(c, 1, 5) && ((struct thing *)cache_value(held))->offset == 5,
	   "entries in use are not evicted");
	valid(c, "after evictions around an entry in use");
	cache_release(c, held);

	held = put(c, 3, 0, LIMIT * 2);
	is_int(((struct thing *)cache_value(held))->file, 3,
	       "an entry larger than the cache can be used");
	valid(c, "with an entry larger than itself");
	cache_release(c, held);
	ok(!has(c, 3, 0), "and not kept");

	for (uint64_t i = 0; i < 9; i++)
		cache_release(c, put(c, 4, i, CHARGE));
	cache_set_limit(c, LIMIT / 2);
	cache_stats(c, &stats);
	ok(stats.bytes <= LIMIT / 2 && alive == 4, "a lower limit evicts at once");
	held = put(c, 5, 0, LIMIT / 3);
	cache_set_limit(c, LIMIT / 4);
	cache_release(c, held);
	ok(!has(c, 5, 0), "an entry that no longer fits is evicted when it is released");
	valid(c, "after its limit was lowered");
	cache_free(c);
	is_int(alive, 0, "nothing is left");
}

static void test_erase(void)
{
	struct cache *c = make(LIMIT);
	struct cache_entry *e = put(c, 1, CACHE_TABLE, CHARGE), *next;
	struct cache_stats stats;

	cache_ref(c, e);
	cache_erase(c, 1, CACHE_TABLE);
	ok(!has(c, 1, CACHE_TABLE), "an erased entry is not found");
	ok(alive == 1 && ((struct thing *)cache_value(e))->file == 1, "but lives on for its users");
	next = put(c, 1, CACHE_TABLE, CHARGE);
	ok(next != e, "while a new entry takes its place");
	valid(c, "with an erased entry in use");
	cache_release(c, e);
	is_int(alive, 2, "one reference left");
	cache_release(c, e);
	is_int(alive, 1, "none: destroyed");
	cache_release(c, next);
	cache_erase(c, 1, CACHE_TABLE);
	is_int(alive, 0, "erasing an idle entry destroys it");
	cache_erase(c, 1, CACHE_TABLE);
	cache_stats(c, &stats);
	is_int(stats.bytes, 0, "nothing is counted any more");
	valid(c, "after all was erased");
	cache_free(c);
}

static void test_many(void)
{
	struct cache *c = make((size_t)256 << 20);
	bool all = true;

	for (uint64_t i = 0; i < 20000; i++)
		cache_release(c, put(c, i % 7, i, 1));
	for (uint64_t i = 0; i < 20000; i++)
		all &= has(c, i % 7, i);
	ok(all, "twenty thousand entries over all shards");
	valid(c, "with many entries");
	cache_free(c);
	is_int(alive, 0, "nothing is left");
}

static struct cache *shared;
static _Atomic int wrong, inconsistent;

static void *worker(void *arg)
{
	struct rng rng = {.state = (uint64_t)(uintptr_t)arg};
	struct cache_entry *kept[4] = {0};
	const char *why;

	for (int i = 0; i < 20000; i++) {
		uint64_t state = rng_next(&rng), file = state % 5, offset = state >> 8 & 31;
		struct cache_entry **slot = &kept[state >> 16 & 3];
		struct thing *t;

		cache_release(shared, *slot);
		*slot = cache_get(shared, file, offset);
		if (!*slot)
			*slot = put(shared, file, offset, CHARGE);
		t = cache_value(*slot);
		if (t->file != file || t->offset != offset)
			atomic_fetch_add(&wrong, 1);
		if ((state >> 24) % 50 == 0)
			cache_erase(shared, file, offset);
		if ((state >> 24) % 500 == 1)
			cache_set_limit(shared, LIMIT * (1 + (state >> 40) % 4));
		if ((state >> 24) % 500 == 2 && !cache_valid(shared, &why))
			atomic_fetch_add(&inconsistent, 1);
	}
	for (int i = 0; i < 4; i++)
		cache_release(shared, kept[i]);
	return NULL;
}

static void test_threads(void)
{
	pthread_t threads[4];
	struct cache_stats stats;

	shared = make(LIMIT * 4);
	for (uintptr_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, worker, (void *)(i + 1)))
			bail("pthread_create");
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	is_int(wrong, 0, "four threads always get what they asked for");
	is_int(inconsistent, 0, "and the cache is consistent all the time");
	valid(shared, "after four threads");
	cache_stats(shared, &stats);
	ok(stats.bytes <= stats.bytes_max, "and the budget holds again");
	is_int(stats.hits + stats.misses, 4 * 20000, "every get is counted");
	cache_free(shared);
	is_int(alive, 0, "nothing is left");
}

/* An entry larger than the cache is given out, and pushes out nothing. */
static void test_large(void)
{
	struct cache *c = make(LIMIT);
	struct cache_entry *e;

	for (uint64_t i = 0; i < 4; i++)
		cache_release(c, put(c, 1, i, 100));
	e = put(c, 2, 0, 2 * LIMIT);
	cache_release(c, e);
	for (uint64_t i = 0; i < 4; i++) {
		e = cache_get(c, 1, i);
		ok(e, "what was there stays");
		cache_release(c, e);
	}
	ok(!cache_get(c, 2, 0), "what is larger than the cache does not");
	cache_free(c);
}

int main(void)
{
	run_test(test_basics);
	run_test(test_eviction);
	run_test(test_erase);
	run_test(test_many);
	run_test(test_large);
	run_test(test_threads);
	return done();
}
