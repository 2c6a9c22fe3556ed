/* The filter: never wrong about a key it has, seldom about one it has not. */
#include <unistd.h>

#include "lsm/table/filter.h"
#include "tests/support/tap.h"

#define KEYS 20000

static uint64_t hash_of(uint64_t i)
{
	uint8_t key[12] = "key:";

	put_u64(key + 4, i);
	return filter_hash((struct lsm_slice){key, sizeof(key)});
}

static void test_rates(void)
{
	static const struct {
		unsigned bits, percent_max;
	} cases[] = {{1, 80}, {5, 15}, {10, 2}, {16, 1}, {30, 1}};
	static uint64_t hashes[KEYS];

	for (size_t i = 0; i < KEYS; i++)
		hashes[i] = hash_of(i);
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct buf out = {0};
		size_t missed = 0, passed = 0;

		buf_add(&out, "before", 6);
		if (filter_build(hashes, KEYS, cases[c].bits, &out))
			bail("filter_build");
		struct lsm_slice filter = {out.data + 6, out.size - 6};
		for (size_t i = 0; i < KEYS; i++) {
			missed += !filter_may_match(filter, hash_of(i));
			passed += filter_may_match(filter, hash_of(KEYS + i));
		}
		is_int(missed, 0, "%u bits: every key is known", cases[c].bits);
		ok(passed * 100 <= (size_t)cases[c].percent_max * KEYS,
		   "%u bits: %zu of %d absent keys pass", cases[c].bits, passed, KEYS);
		ok(filter.size <= KEYS * (size_t)cases[c].bits / 8 + 65, "%u bits: its size",
		   cases[c].bits);
		ok(!memcmp(out.data, "before", 6), "%u bits: appended", cases[c].bits);
		buf_release(&out);
	}
}

static void test_bytes(void)
{
	uint64_t hash = filter_hash((struct lsm_slice){"a", 1});
	static const uint8_t want[65] = {
		[27] = 0x20, [35] = 0x02, [47] = 0x22, [59] = 0x08, [62] = 0x40, [64] = 6,
	};
	struct buf out = {0};

	is_int(filter_build(&hash, 1, 10, &out), 0, "a filter of one key");
	if (!is_mem(out.data, out.size, want, sizeof(want), "is the same bytes for ever"))
		for (size_t i = 0; i < out.size; i++)
			if (out.data[i])
				printf("# [%zu] = 0x%02x,\n", i, out.data[i]);
	buf_release(&out);
}

static void test_odd(void)
{
	uint8_t bytes[130] = {0};
	uint64_t hash = hash_of(1);
	struct buf out = {0};

	is_int(filter_build(NULL, 0, 10, &out), 0, "a filter of no keys");
	ok(!filter_may_match(buf_slice(&out), hash), "knows none");
	buf_release(&out);

	ok(filter_may_match((struct lsm_slice){0}, hash), "an empty filter says maybe");
	ok(filter_may_match((struct lsm_slice){bytes, 1}, hash), "so does one without a line");
	ok(filter_may_match((struct lsm_slice){bytes, 64}, hash), "one with half a line");
	bytes[128] = 6;
	ok(filter_may_match((struct lsm_slice){bytes, 130}, hash), "one with bytes too many");
	ok(!filter_may_match((struct lsm_slice){bytes, 129}, hash), "(but not a good one)");
	bytes[128] = 0;
	ok(filter_may_match((struct lsm_slice){bytes, 129}, hash), "one with no probes");
	bytes[128] = 200;
	ok(filter_may_match((struct lsm_slice){bytes, 129}, hash), "one with too many");
}

int main(void)
{
	test_rates();
	test_bytes();
	test_odd();
	return done();
}
