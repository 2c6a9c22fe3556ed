/*
 * test_memtable.c - the skip list against a sorted array, its iterator both
 * ways, range tombstones against a plain loop, and readers beside the writer.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lsm/memtable.h"
#include "tests/support/tap.h"

static uint64_t rnd_state = 88172645463325252u;

static uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static struct lsm_slice str(const char *s)
{
	return (struct lsm_slice){s, strlen(s)};
}

static void test_empty(void)
{
	struct memtable *m = memtable_new();
	struct iter *it = memtable_iter(m);
	struct ikey_buf b;
	enum ikey_type type;
	uint64_t sequence;
	struct lsm_slice value;
	bool valid = false;

	it->ops->first(it);
	valid |= it->valid;
	it->ops->last(it);
	valid |= it->valid;
	it->ops->seek(it, ikey_make(&b, str("a"), 1, IKEY_PUT));
	valid |= it->valid;
	it->ops->seek_prev(it, ikey_make(&b, str("a"), 1, IKEY_PUT));
	valid |= it->valid;
	ok(!valid && it->status == 0, "an empty memtable has no entries");
	ok(!memtable_get(m, str("a"), 9, &type, &sequence, &value), "nor answers");
	is_int(memtable_covering(m, str("a"), 9), 0, "nor range tombstones");
	is_int(memtable_entries(m) + memtable_ranges(m), 0, "counts are 0");
	ok(memtable_bytes(m) < 8192, "an empty memtable is small: %zu", memtable_bytes(m));
	iter_free(it);
	memtable_ref(m);
	memtable_unref(m);
	is_int(memtable_entries(m), 0, "alive until the last reference goes");
	memtable_unref(m);
	memtable_unref(NULL);
}

static void test_versions(void)
{
	struct memtable *m = memtable_new();
	enum ikey_type type;
	uint64_t sequence;
	struct lsm_slice value;

	memtable_add(m, 10, IKEY_PUT, str("k"), str("ten"));
	memtable_add(m, 30, IKEY_DELETE, str("k"), str(""));
	memtable_add(m, 20, IKEY_PUT_REF, str("k"), str("twenty"));
	memtable_add(m, 15, IKEY_PUT, str("kk"), str("other"));
	ok(!memtable_get(m, str("k"), 9, &type, &sequence, &value), "nothing before the first");
	ok(memtable_get(m, str("k"), 10, &type, &sequence, &value) && type == IKEY_PUT &&
		   sequence == 10 && !slice_compare(value, str("ten")),
	   "at its own sequence");
	ok(memtable_get(m, str("k"), 29, &type, &sequence, &value) && type == IKEY_PUT_REF &&
		   sequence == 20 && !slice_compare(value, str("twenty")),
	   "between two");
	ok(memtable_get(m, str("k"), SEQUENCE_MAX, &type, &sequence, &value) &&
		   type == IKEY_DELETE && sequence == 30 && value.size == 0,
	   "the newest");
	ok(!memtable_get(m, str("kk"), 14, &type, &sequence, &value) &&
		   !memtable_get(m, str("j"), 99, &type, &sequence, &value) &&
		   !memtable_get(m, str("kkk"), 99, &type, &sequence, &value),
	   "absent keys");
	memtable_unref(m);
}

static void test_sizes(void)
{
	struct memtable *m = memtable_new();
	char *key = malloc(LSM_KEY_BYTES_MAX), *big = malloc(LSM_VALUE_BYTES_MAX);
	struct lsm_slice k = {key, LSM_KEY_BYTES_MAX}, v = {big, LSM_VALUE_BYTES_MAX}, value;
	enum ikey_type type;
	uint64_t sequence;
	size_t before, used = 0;

	memset(key, 0xff, LSM_KEY_BYTES_MAX);
	memset(big, 'b', LSM_VALUE_BYTES_MAX);
	is_int(memtable_add(m, 1, IKEY_PUT, k, v), 0, "the longest key and value");
	ok(memtable_get(m, k, 1, &type, &sequence, &value) && !slice_compare(value, v),
	   "are found whole");
	before = memtable_bytes(m);
	ok(before > LSM_VALUE_BYTES_MAX && before < LSM_VALUE_BYTES_MAX + 16384, "and counted");
	memtable_unref(m);

	m = memtable_new();
	for (uint64_t i = 0; used < 1 << 20; i++) {
		char name[32];
		int n = snprintf(name, sizeof(name), "key%012llu", (unsigned long long)i);

		memtable_add(m, i + 1, IKEY_PUT, (struct lsm_slice){name, (size_t)n},
			     (struct lsm_slice){big, i % 200});
		used += (size_t)n + i % 200;
	}
	ok(memtable_bytes(m) > used && memtable_bytes(m) < used * 3 / 2,
	   "1 MiB of small entries holds %zu bytes", memtable_bytes(m));
	memtable_unref(m);
	free(key);
	free(big);
}

/* ---- against a sorted array ---- */

#define MODEL_MAX 20000

struct entry {
	char key[24];
	uint64_t sequence;
};

static struct entry model[MODEL_MAX];
static size_t model_count;

static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = slice_compare(str(x->key), str(y->key));

	return c ? c : (x->sequence < y->sequence) - (x->sequence > y->sequence);
}

static bool at(const struct iter *it, size_t i)
{
	if (i >= model_count)
		return !it->valid && !it->status;
	return it->valid && !slice_compare(ikey_user(it->key), str(model[i].key)) &&
	       ikey_sequence(it->key) == model[i].sequence && ikey_type(it->key) == IKEY_PUT &&
	       !slice_compare(it->value, str(model[i].key));
}

enum order { ASCENDING, DESCENDING, RANDOM, RUNS, ZIGZAG, FEW_KEYS, ORDERS };
static const char *const order_names[] = {"ascending", "descending", "random",
					  "runs",      "zigzag",     "few keys"};

static uint64_t key_number(enum order order, size_t i, uint64_t *run)
{
	switch (order) {
	case ASCENDING:
		return i;
	case DESCENDING:
		return MODEL_MAX - i;
	case RUNS:
		if (i % 50 == 0)
			*run = rnd() % 1000000;
		return *run + (i % 100 < 50 ? i % 50 : 50 - i % 50);
	case ZIGZAG:
		return i % 2 ? 500000 + i : 500000 - i;
	case FEW_KEYS:
		return rnd() % 7;
	default:
		return rnd() % 1000000;
	}
}

static bool check_walks(struct iter *it)
{
	size_t i = 0;

	for (it->ops->first(it); it->valid; it->ops->next(it))
		if (!at(it, i++))
			return false;
	if (i != model_count)
		return false;
	for (it->ops->last(it); it->valid; it->ops->prev(it))
		if (!at(it, --i))
			return false;
	return i == 0;
}

static size_t first_at_or_after(const struct entry *e)
{
	size_t low = 0, high = model_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (entry_compare(&model[mid], e) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool check_seeks(const struct memtable *m, struct iter *it)
{
	for (int n = 0; n < 2000; n++) {
		struct entry e = model[rnd() % model_count];
		struct ikey_buf b;
		size_t i;
		enum ikey_type type;
		uint64_t sequence;
		struct lsm_slice value, target;
		bool found;

		if (n % 3 == 1)
			e.sequence = rnd() % (MODEL_MAX + 2);
		if (n % 3 == 2)
			snprintf(e.key, sizeof(e.key), "%09u", (unsigned)(rnd() % 1000000));
		target = ikey_make(&b, str(e.key), e.sequence, IKEY_PUT);
		i = first_at_or_after(&e);
		it->ops->seek(it, target);
		if (!at(it, i))
			return false;
		found = i < model_count && !strcmp(model[i].key, e.key);
		if (memtable_get(m, str(e.key), e.sequence, &type, &sequence, &value) != found ||
		    (found && sequence != model[i].sequence))
			return false;
		if (i == model_count || entry_compare(&model[i], &e))
			i--; /* before the first: SIZE_MAX, at() wants "not valid" */
		it->ops->seek_prev(it, target);
		if (!at(it, i))
			return false;
		if (it->valid) {
			it->ops->prev(it);
			if (!at(it, i - 1))
				return false;
		}
	}
	return true;
}

static void test_order(enum order order)
{
	struct memtable *m = memtable_new();
	struct iter *it = memtable_iter(m);
	uint64_t run = 0;
	bool added = true;

	for (model_count = 0; model_count < MODEL_MAX; model_count++) {
		struct entry *e = &model[model_count];

		snprintf(e->key, sizeof(e->key), "%09u",
			 (unsigned)key_number(order, model_count, &run));
		e->sequence = model_count + 1;
		added &= !memtable_add(m, e->sequence, IKEY_PUT, str(e->key), str(e->key));
	}
	ok(added && memtable_entries(m) == MODEL_MAX, "%s: added", order_names[order]);
	qsort(model, model_count, sizeof(model[0]), entry_compare);
	ok(check_walks(it), "%s: walks both ways", order_names[order]);
	ok(check_seeks(m, it), "%s: seeks, both kinds, and gets", order_names[order]);
	iter_free(it);
	memtable_unref(m);
}

/* ---- range tombstones ---- */

#define RANGES 1000

static struct {
	char start[8], end[8];
	uint64_t sequence;
} ranges[RANGES];

static int see_range(void *ctx, uint64_t sequence, struct lsm_slice start, struct lsm_slice end)
{
	int *i = ctx;

	if (sequence != ranges[*i].sequence || slice_compare(start, str(ranges[*i].start)) ||
	    slice_compare(end, str(ranges[*i].end)))
		return -1;
	++*i;
	return *i == 700 ? 7 : 0;
}

static void test_ranges(void)
{
	struct memtable *m = memtable_new();
	bool right = true;
	int seen = 0;

	for (int i = 0; i < RANGES; i++) {
		unsigned start = 100 + (unsigned)(rnd() % 700);

		snprintf(ranges[i].start, sizeof(ranges[i].start), "%03u", start);
		snprintf(ranges[i].end, sizeof(ranges[i].end), "%03u",
			 start + 1 + (unsigned)(rnd() % (i % 10 ? 3 : 80)));
		ranges[i].sequence = (uint64_t)i * 2 + 2;
		right &= !memtable_add_range(m, ranges[i].sequence, str(ranges[i].start),
					     str(ranges[i].end));
		for (int n = 0; n < 20; n++) {
			char key[16];
			uint64_t at_sequence = rnd() % (ranges[i].sequence + 3), want = 0;

			snprintf(key, sizeof(key), n % 2 ? "%03u" : "%03u.5",
				 (unsigned)(rnd() % 999));
			for (int j = 0; j <= i; j++)
				if (ranges[j].sequence <= at_sequence &&
				    strcmp(key, ranges[j].start) >= 0 &&
				    strcmp(key, ranges[j].end) < 0)
					want = ranges[j].sequence;
			right &= memtable_covering(m, str(key), at_sequence) == want;
		}
	}
	ok(right, "%d range tombstones cover what a plain loop says", RANGES);
	is_int(memtable_ranges(m), RANGES, "and are counted");
	is_int(memtable_each_range(m, see_range, &seen), 7,
	       "each, oldest first, until told to stop");
	is_int(seen, 700, "... and no further");
	is_int(memtable_entries(m), 0, "they are no entries");
	memtable_unref(m);
}

/* ---- readers beside the writer ---- */

#define WRITES 30000

static struct memtable *shared;
static atomic_ullong published; /* every entry up to here is in */

static void make_entry(uint64_t i, char *key, char *value)
{
	/*
	 * A different key for each i, in runs of 64 downwards, so that a key is often
	 * added just before one that is being looked for (a reader once took it for that).
	 */
	uint64_t k = (i / 64 * 797 % 512) * 64 + 63 - i % 64;

	snprintf(key, 24, "k%08llu", (unsigned long long)k);
	snprintf(value, 24, "v%08llu", (unsigned long long)k);
}

static void *read_beside(void *arg)
{
	struct iter *it = memtable_iter(shared);
	uint64_t random = (uint64_t)(uintptr_t)arg, done = 0;
	bool right = true;

	while (right && done < WRITES) {
		char key[24], value[24];
		enum ikey_type type;
		uint64_t sequence, i;
		struct lsm_slice got;
		char last[24] = "";

		done = atomic_load_explicit(&published, memory_order_acquire);
		random = random * 6364136223846793005u + 1442695040888963407u;
		if (!done)
			continue;
		i = random >> 63 ? done - 1 : (random >> 33) % done;
		make_entry(i, key, value);
		right &= memtable_get(shared, str(key), SEQUENCE_MAX, &type, &sequence, &got) &&
			 sequence == i + 1 && !slice_compare(got, str(value));
		right &= memtable_covering(shared, str(key), SEQUENCE_MAX) <= WRITES;
		if (i % 512 == 0)
			right &= memtable_covering(shared, str("k"), SEQUENCE_MAX) > 0;
		if (i % 16)
			continue;
		/* A stretch forwards and back: in order, and each value fits its key. */
		struct ikey_buf b;

		it->ops->seek(it, ikey_make(&b, str(key), SEQUENCE_MAX, IKEY_PUT));
		for (int n = 0; n < 100 && it->valid && right; n++) {
			right &= memcmp(last, it->key.data, 9) < 0 &&
				 !memcmp((const char *)it->value.data + 1,
					 (const char *)it->key.data + 1, 8);
			memcpy(last, it->key.data, 9);
			it->ops->next(it);
		}
		for (int n = 0; n < 20 && it->valid && right; n++) {
			memcpy(last, it->key.data, 9);
			it->ops->prev(it);
			right &= !it->valid || memcmp(last, it->key.data, 9) > 0;
		}
	}
	iter_free(it);
	return right ? NULL : arg;
}

static void test_threads(void)
{
	pthread_t readers[2];
	void *failed[2];
	bool added = true;

	shared = memtable_new();
	for (int i = 0; i < 2; i++)
		if (pthread_create(&readers[i], NULL, read_beside, (void *)(uintptr_t)(i + 1)))
			bail("no thread");
	for (uint64_t i = 0; i < WRITES; i++) {
		char key[24], value[24];

		make_entry(i, key, value);
		if (i % 300 == 0) {
			value[0] = 'k'; /* [k, kDDDDDDDD) */
			added &= !memtable_add_range(shared, i + 1, str("k"), str(value));
			value[0] = 'v';
		}
		added &= !memtable_add(shared, i + 1, IKEY_PUT, str(key), str(value));
		atomic_store_explicit(&published, i + 1, memory_order_release);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], &failed[i]);
	ok(added && !failed[0] && !failed[1],
	   "readers beside the writer see whole entries, in order");
	is_int(memtable_entries(shared), WRITES, "all are there");
	memtable_unref(shared);
}

int main(void)
{
	test_empty();
	test_versions();
	test_sizes();
	for (enum order order = 0; order < ORDERS; order++)
		test_order(order);
	test_ranges();
	test_threads();
	return done();
}
