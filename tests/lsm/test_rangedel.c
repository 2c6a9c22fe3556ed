/* Range tombstones against a brute-force model. */
#include <unistd.h>

#include "lsm/table/rangedel.h"
#include "tests/support/tap.h"

#define TOMBSTONES_MAX 40

static uint64_t rng_state = 362436069;
static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

struct key {
	char bytes[4];
	size_t size;
};
static struct {
	struct key start, end;
	uint64_t sequence;
} model[TOMBSTONES_MAX];
static size_t model_count;

static struct lsm_slice slice(const struct key *k)
{
	return (struct lsm_slice){k->bytes, k->size};
}
static struct key random_key(void)
{
	struct key k = {.size = 1 + rng() % 3};

	for (size_t i = 0; i < k.size; i++)
		k.bytes[i] = (char)('a' + rng() % 4);
	return k;
}

static uint64_t model_covering(struct lsm_slice key, uint64_t sequence)
{
	uint64_t best = 0;

	for (size_t i = 0; i < model_count; i++)
		if (model[i].sequence <= sequence && model[i].sequence > best &&
		    slice_compare(slice(&model[i].start), key) <= 0 &&
		    slice_compare(key, slice(&model[i].end)) < 0)
			best = model[i].sequence;
	return best;
}

static struct rangedel_list *make(size_t count)
{
	struct rangedel_list *l = rangedel_new();

	if (!l)
		bail("rangedel_new");
	model_count = 0;
	while (model_count < count) {
		struct key a = random_key(), b = random_key();
		int c = slice_compare(slice(&a), slice(&b));

		if (!c)
			continue;
		model[model_count].start = c < 0 ? a : b;
		model[model_count].end = c < 0 ? b : a;
		model[model_count].sequence = 1 + rng() % 12; /* some twice */
		if (rangedel_add(l, model[model_count].sequence, slice(&model[model_count].start),
				 slice(&model[model_count].end)))
			bail("rangedel_add");
		model_count++;
	}
	if (rangedel_finish(l))
		bail("rangedel_finish");
	return l;
}

/* Sorted, disjoint, newest first, no empty one, neighbours joined if alike. */
static bool well_formed(const struct rangedel_list *l)
{
	for (size_t i = 0; i < rangedel_count(l); i++) {
		const struct rangedel *f = rangedel_at(l, i), *before = i ? f - 1 : NULL;

		if (!f->sequences_count || slice_compare(f->start, f->end) >= 0)
			return false;
		for (size_t j = 1; j < f->sequences_count; j++)
			if (f->sequences[j - 1] <= f->sequences[j])
				return false;
		if (before && slice_compare(before->end, f->start) > 0)
			return false;
		if (before && !slice_compare(before->end, f->start) &&
		    before->sequences_count == f->sequences_count &&
		    !memcmp(before->sequences, f->sequences,
			    f->sequences_count * sizeof(*f->sequences)))
			return false;
	}
	return true;
}

/* Every sequence over the key is in its fragment, and no other. */
static bool fragment_agrees(const struct rangedel_list *l, struct lsm_slice key)
{
	const struct rangedel *f = rangedel_find(l, key);
	size_t n = 0;

	for (uint64_t s = 12; s; s--) {
		if (model_covering(key, s) != s)
			continue;
		if (!f || n >= f->sequences_count || f->sequences[n] != s)
			return false;
		n++;
	}
	return f ? n == f->sequences_count : n == 0;
}

static void test_model(void)
{
	bool formed = true, covering = true, fragments = true;

	for (int round = 0; round < 500; round++) {
		struct rangedel_list *l = make(rng() % TOMBSTONES_MAX);

		formed &= well_formed(l);
		for (int i = 0; i < 100; i++) {
			struct key k = random_key();
			uint64_t sequence = rng() % 14;

			covering &= rangedel_covering(l, slice(&k), sequence) ==
				    model_covering(slice(&k), sequence);
			fragments &= fragment_agrees(l, slice(&k));
		}
		rangedel_free(l);
	}
	ok(formed, "fragments are sorted, disjoint and newest first");
	ok(covering, "covering agrees with the model");
	ok(fragments, "each fragment has all sequences over it");
}

static void test_example(void)
{
	struct rangedel_list *l = rangedel_new();
	const struct rangedel *f;

	if (!l || rangedel_add(l, 4, (struct lsm_slice){"c", 1}, (struct lsm_slice){"m", 1}) ||
	    rangedel_add(l, 9, (struct lsm_slice){"a", 1}, (struct lsm_slice){"f", 1}) ||
	    rangedel_finish(l))
		bail("rangedel");
	is_int(rangedel_count(l), 3, "the example of the header has three fragments");
	f = rangedel_find(l, (struct lsm_slice){"d", 1});
	ok(f && f == rangedel_at(l, 1) && f->sequences_count == 2 && f->sequences[0] == 9 &&
		   f->sequences[1] == 4 && *(const char *)f->start.data == 'c' &&
		   *(const char *)f->end.data == 'f',
	   "c--f has 9 and 4");
	ok(!rangedel_find(l, (struct lsm_slice){"m", 1}), "an end is not covered");
	ok(rangedel_memory(l) > sizeof(struct rangedel) * 3, "it knows its memory");
	rangedel_free(l);
	rangedel_free(NULL);
}

static void test_joined(void)
{
	struct rangedel_list *l = rangedel_new();

	if (!l || rangedel_add(l, 9, (struct lsm_slice){"c", 1}, (struct lsm_slice){"f", 1}) ||
	    rangedel_add(l, 9, (struct lsm_slice){"a", 1}, (struct lsm_slice){"c", 1}) ||
	    rangedel_add(l, 9, (struct lsm_slice){"x", 1}, (struct lsm_slice){"z", 1}) ||
	    rangedel_finish(l))
		bail("rangedel");
	is_int(rangedel_count(l), 2, "pieces of one tombstone are joined, with a gap they are not");
	rangedel_free(l);
	l = rangedel_new();
	if (!l || rangedel_finish(l))
		bail("rangedel");
	is_int(rangedel_count(l), 0, "an empty list");
	is_int(rangedel_covering(l, (struct lsm_slice){"a", 1}, SEQUENCE_MAX), 0, "covers nothing");
	rangedel_free(l);
}

int main(void)
{
	test_example();
	test_joined();
	test_model();
	return done();
}
