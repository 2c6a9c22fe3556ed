/*
 * Tables: what is built is read back, whatever the shape, also by many readers at
 * once, and errors of the storage come back as they are.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/table_fixture.h"

static void test_hex(void)
{
	/* The example at the top of table_format.c, checksums and all. */
	static const uint8_t want[] =
		{
			0x00, 0x09, 0x01, 'a',  0x01, 1,    0,    0,    0,    0,    0,    0,
			'x', /* data: "a" @1 put = "x" */
			0,    0,    0,    0,    1,    0,    0,    0,    0x15, 0,    0,    0,
			0,    0xa6, 0x01, 0xff, 0xa7, 0x00, 0x09, 0x02, 'a',  0x01, 1,    0,
			0,    0,    0,    0,    0,    0x00, 0x1e, /* index */
			0,    0,    0,    0,    1,    0,    0,    0,    0x16, 0,    0,    0,
			0,    0xa8, 0x66, 0x1a, 0xeb, 0x1e, 0,    0,    0,    0,    0,    0,
			0,    0,    0,    0,    0,    0,    0,    0,    0, /* filter */
			0x1e, 0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
			0,    0,    0,    0, /* ranges */
			0x1e, 0,    0,    0,    0,    0,    0,    0,    0x1f, 0,    0,    0,
			0,    0,    0,    0, /* index */
			1,    0,    0,    0,    0,    0,    0,    0,    1,    0,    0,    0,
			0,    0,    0,    0, /* blocks, entries */
			0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
			0,    0,    0,    0, /* tombstones, ranges */
			0,    0,    0,    0,    0,    0,    0,    0,    1,    0,    0,    0,
			0xc6, 0xc3, 0xbe, 0x62, 0x62, 0x61, 0x54, 0x65, 0x76, 0x72, 0x61, 0x56,
		};
	uint64_t bytes;

	pairs_clear();
	buf_add(&pair_add(text("a"), 1, IKEY_PUT)->value, "x", 1);
	bytes = build(7, &plain, NULL, 0);
	is_int(bytes, sizeof(want), "the size of the documented example");
	if (!is_mem(bytes_of(7)->data, bytes, want, sizeof(want), "and its bytes"))
		for (size_t i = 0; i < bytes; i++)
			printf("%s%02x%s", i % 16 ? " " : "# ", bytes_of(7)->data[i],
			       i % 16 == 15 || i + 1 == bytes ? "\n" : "");
	mem_clear();
}

static void test_round_trips(void)
{
	static const size_t block_bytes[] = {1, 64, 300, 4096};
	static const size_t counts[] = {1, 2, 40, 1500};

	for (int c = LSM_COMPRESS_NONE; c <= LSM_COMPRESS_ZSTD; c++) {
		bool gets = true, walks = true, clean = true, absent = true;

		for (int i = 0; i < 32; i++) {
			struct table_build_options options = {
				.block_bytes = block_bytes[i % 4],
				.compression = (enum lsm_compression)c,
				.filter_bits_per_key = i / 16 ? 10 : 0,
			};
			uint64_t bytes;
			struct table *t;
			char space[16];

			make_pairs(counts[i / 4 % 4]);
			bytes = build(1, &options, NULL, 0);
			env_start(i % 3 ? 1 << 20 : 3000);
			t = acquire(1, bytes);
			clean &= bytes == bytes_of(1)->size && !verify(1, bytes);
			gets &= all_agree(t);
			walks &= walk_agrees(t, 1500, i % 2);
			for (int j = 0; j < 200; j++)
				absent &= get_agrees(t, random_user(space), rng() % 22) == 1;
			table_release(t);
			env_stop();
			mem_clear();
		}
		ok(gets, "compression %d: every entry is got and iterated over", c);
		ok(absent, "compression %d: gets of any key", c);
		ok(walks, "compression %d: iterators at random", c);
		ok(clean, "compression %d: verified", c);
	}
}

static void test_compresses(void)
{
	uint64_t raw, lz4, zstd;

	make_pairs(1500);
	raw = build(1, &plain, NULL, 0);
	lz4 = build(
		2,
		&(struct table_build_options){.block_bytes = 4096, .compression = LSM_COMPRESS_LZ4},
		NULL, 0);
	zstd = build(3,
		     &(struct table_build_options){.block_bytes = 4096,
						   .compression = LSM_COMPRESS_ZSTD},
		     NULL, 0);
	ok(lz4 < raw && zstd < lz4, "LZ4 is smaller than raw, zstd smaller still (%d %d %d)",
	   (int)raw, (int)lz4, (int)zstd);
	mem_clear();
	pairs_clear();
	for (int i = 'a'; i < 'z'; i++) {
		struct pair *p = pair_add((struct lsm_slice){&(char){(char)i}, 1}, 1, IKEY_PUT);

		for (int n = 0; n < 4000; n++)
			buf_add(&p->value, &(char){(char)(rng() >> 20)}, 1);
	}
	raw = build(1, &plain, NULL, 0);
	lz4 = build(
		2,
		&(struct table_build_options){.block_bytes = 4096, .compression = LSM_COMPRESS_LZ4},
		NULL, 0);
	ok(lz4 + 200 > raw && lz4 <= raw, "noise is stored raw");
	mem_clear();
}

/* All versions of one key, over many blocks, between two other keys. */
static void test_versions(void)
{
	static const char *const others[] = {"k", "ka", "kb", "k\xff", "l"};
	bool right = true;
	uint64_t bytes;
	struct table *t;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		pairs_clear();
		for (uint64_t s = 1; s <= 500; s++)
			buf_add(&pair_add(text("kb"), s * 2, IKEY_PUT)->value, &s, sizeof(s));
		pair_add(text(others[i]), 3001, IKEY_PUT);
		pair_add(text("a"), 3000, IKEY_PUT);
		pairs_sort();
		bytes = build(1, &(struct table_build_options){128, LSM_COMPRESS_LZ4, 10}, NULL, 0);
		env_start(1 << 20);
		t = acquire(1, bytes);
		for (uint64_t s = 0; s < 1010; s++)
			right &= get_agrees(t, text("kb"), s) == 1;
		for (size_t j = 0; j < sizeof(others) / sizeof(others[0]); j++)
			right &= get_agrees(t, text(others[j]), SEQUENCE_MAX) == 1 &&
				 get_agrees(t, text(others[j]), 0) == 1;
		right &= all_agree(t) && !verify(1, bytes);
		if (i == 2)
			is_int(env.filter_false_positives, 0,
			       "a version too new is no false positive of the filter");
		table_release(t);
		env_stop();
		mem_clear();
	}
	ok(right, "five hundred versions of one key over many blocks");
}

static void test_oversized(void)
{
	bool right = true;
	char big_key[LSM_KEY_BYTES_MAX];

	memset(big_key, 'm', sizeof(big_key));
	for (int c = LSM_COMPRESS_NONE; c <= LSM_COMPRESS_ZSTD; c++) {
		for (int noise = 0; noise < 2; noise++) {
			struct table_build_options options = {4096, (enum lsm_compression)c, 10};
			struct cache_stats stats;
			struct buf *value;
			struct table *t;
			uint64_t bytes;

			pairs_clear();
			buf_add(&pair_add(text("a"), 1, IKEY_PUT)->value, "small", 5);
			value = &pair_add((struct lsm_slice){big_key, sizeof(big_key)}, 2, IKEY_PUT)
					 ->value;
			if (buf_reserve(value, LSM_VALUE_BYTES_MAX))
				bail("out of memory");
			memset(value->data, 0, LSM_VALUE_BYTES_MAX);
			for (size_t i = 0; noise && i < LSM_VALUE_BYTES_MAX; i += 8)
				put_u64(value->data + i, rng());
			value->size = LSM_VALUE_BYTES_MAX;
			buf_add(&pair_add(text("z"), 3, IKEY_PUT)->value, "small too", 9);
			bytes = build(1, &options, NULL, 0);
			right &= c == LSM_COMPRESS_NONE || noise || bytes < 100000;
			env_start(16 << 20);
			t = acquire(1, bytes);
			right &= get_agrees(t, text("a"), 9) == 1;
			right &= get_agrees(t, text("z"), 9) == 1;
			cache_stats(env.cache, &stats);
			right &= stats.bytes < 10000; /* not read along with the big one */
			right &= all_agree(t) && walk_agrees(t, 50, false) && !verify(1, bytes);
			table_release(t);
			env_stop();
			mem_clear();
		}
	}
	ok(right, "the largest value and key there may be, in a block of its own");
	pairs_clear();
}

static void test_empty(void)
{
	static const struct range ranges[] = {{5, "b", "d"}, {7, "c", "x"}, {3, "a", "b"}};
	struct table_build_options options = {4096, LSM_COMPRESS_LZ4, 10};
	const struct rangedel_list *list;
	struct table *t;
	uint64_t bytes;

	pairs_clear();
	bytes = build(1, &options, NULL, 0);
	env_start(1 << 20);
	t = acquire(1, bytes);
	ok(all_agree(t) && walk_agrees(t, 100, true), "an empty table has nothing");
	is_int(get_agrees(t, text("a"), 1), 1, "and gets nothing");
	ok(!table_ranges(t), "no range tombstone either");
	is_int(table_offset_of(t, text("a")), 0, "no bytes below a key");
	is_int(verify_between(1, bytes, text(""), text("")), 0, "it is whole");
	table_release(t);

	bytes = build(2, &options, ranges, 3);
	t = acquire(2, bytes);
	ok(all_agree(t), "one of only range tombstones has no entry");
	list = table_ranges(t);
	ok(list && rangedel_count(list) == 4, "four fragments");
	ok(list && rangedel_covering(list, text("c"), SEQUENCE_MAX) == 7 &&
		   rangedel_covering(list, text("c"), 6) == 5 &&
		   rangedel_covering(list, text("a"), 2) == 0,
	   "with their sequences");
	is_int(verify_between(2, bytes, text("a"), text("x")), 0, "it is whole");
	is_int(verify_between(2, bytes, text("a"), text("w")), -EUCLEAN, "a range out of bounds");
	table_release(t);
	env_stop();
	mem_clear();
}

static void test_filter_counts(void)
{
	bool right = true;
	struct table *t;
	uint64_t bytes, passed;
	char key[16];

	pairs_clear();
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "key%05d", i * 2);
		pair_add(text(key), 5, IKEY_PUT);
	}
	pairs_sort();
	bytes = build(1, &(struct table_build_options){512, LSM_COMPRESS_LZ4, 10}, NULL, 0);
	env_start(1 << 20);
	t = acquire(1, bytes);
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "key%05d", i * 2);
		right &= get_agrees(t, text(key), 9) == 1 && get_agrees(t, text(key), 4) == 1;
	}
	is_int(env.filter_negatives + env.filter_false_positives, 0,
	       "keys that are there count as neither");
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "key%05d", i * 2 + 1);
		right &= get_agrees(t, text(key), 9) == 1;
	}
	ok(right, "the answers are right");
	passed = env.filter_false_positives;
	is_int(env.filter_negatives + passed, 2000, "absent ones do");
	ok(passed < 60, "few of them got past the filter (%d)", (int)passed);
	table_release(t);
	env_stop();
	mem_clear();
}

static void test_offsets(void)
{
	bool right = true;
	uint64_t bytes, last = 0;
	struct table *t;

	make_pairs(1500);
	bytes = build(1, &(struct table_build_options){256, LSM_COMPRESS_LZ4, 10}, NULL, 0);
	env_start(1 << 20);
	t = acquire(1, bytes);
	for (size_t i = 0; i < pairs_count; i++) {
		uint64_t offset = table_offset_of(t, user_of(&pairs[i]));

		right &= offset >= last && offset < bytes;
		last = offset;
	}
	ok(right && last > bytes / 2, "offsets of keys ascend through the file");
	ok(table_offset_of(t, text("")) == 0 && table_offset_of(t, text("zzz")) < bytes &&
		   table_offset_of(t, text("zzz")) > last,
	   "from nothing to all of the data");
	table_release(t);
	env_stop();
	mem_clear();
}

static void test_io_errors(void)
{
	struct table_build_options options = {200, LSM_COMPRESS_LZ4, 10};
	struct table_builder *b;
	uint64_t bytes;
	struct table *t;
	bool right = true;
	int *fails[] = {&fail_writes_with, &fail_syncs_with, &fail_closes_with};

	make_pairs(500);
	for (size_t i = 0; i < 3; i++) {
		if (table_builder_new(&mem, 1, &options, &b))
			bail("table_builder_new");
		for (size_t j = 0; j < pairs_count; j++)
			right &= !table_builder_add(b, key_of(&pairs[j]),
						    buf_slice(&pairs[j].value));
		*fails[i] = ENOSPC;
		right &= table_builder_finish(b, &bytes) == -ENOSPC && !bytes;
		table_builder_free(b);
		*fails[i] = 0;
		right &= !file_named("000001.tab");
	}
	ok(right, "a failed write, sync or close fails the table, and its file goes");
	if (table_builder_new(&mem, 1, &options, &b))
		bail("table_builder_new");
	table_builder_free(b);
	ok(!file_named("000001.tab"), "so does that of a builder given up");
	table_builder_free(NULL);

	bytes = build(1, &options, NULL, 0);
	is_int(table_builder_new(&mem, 1, &options, &b), -EEXIST, "no table is overwritten");
	env_start(1 << 20);
	fail_reads_with = EIO;
	is_int(table_acquire(&env, 1, bytes, &t), -EIO, "a table that cannot be read");
	fail_reads_with = 0;
	t = acquire(1, bytes);
	fail_reads_with = EIO;
	is_int(get_agrees(t, user_of(&pairs[7]), SEQUENCE_MAX), -EIO, "a block that cannot");
	is_int(verify(1, bytes), -EUCLEAN, "counts as damage when verified");
	fail_reads_with = 0;
	is_int(get_agrees(t, user_of(&pairs[7]), SEQUENCE_MAX), 1,
	       "and is there when it can again");
	table_release(t);
	table_release(NULL);
	env_stop();
	mem_clear();
}

static int stop_third(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	(void)ikey;
	(void)value;
	return ++*(int *)ctx == 3 ? -EINTR : 0;
}

static void test_lifetime(void)
{
	uint64_t bytes;
	struct table *t;
	struct iter *it;
	int seen = 0;

	make_pairs(500);
	bytes = build(1, &(struct table_build_options){200, LSM_COMPRESS_LZ4, 10}, NULL, 0);
	env_start(1 << 20);
	is_int(table_verify(&env, 1, bytes, text(""), text(""), on_damage, NULL, stop_third, &seen),
	       -EINTR, "verifying can be stopped");
	is_int(seen, 3, "at once");
	t = acquire(1, bytes);
	it = table_iter(t, true);
	if (!it)
		bail("table_iter");
	table_release(t);
	cache_erase(env.cache, 1, CACHE_TABLE);
	mem_unlink(&mem, "000001.tab");
	it->ops->seek(it, key_of(&pairs[250]));
	ok(stands_on(it, 250), "an iterator keeps its table open");
	is_int(files[0].open, 1, "by one open file");
	iter_free(it);
	is_int(files[0].open, 0, "until it is freed");
	env_stop();
	mem_clear();
}

/* ---- many readers at once ---- */

static uint64_t shared_bytes[3];
static _Atomic int wrong;

static void *reader(void *arg)
{
	char space[16];

	rng_state = 1 + (uint64_t)(uintptr_t)arg * 7777777;
	for (int i = 0; i < 150; i++) {
		unsigned n = (unsigned)(rng() % 3);
		struct table *t = acquire(n + 1, shared_bytes[n]);
		bool right = true;

		for (int j = 0; j < 30; j++)
			right &= get_agrees(t, random_user(space), rng() % 22) == 1;
		right &= walk_agrees(t, 60, rng() % 2);
		if (rng() % 10 == 0)
			cache_erase(env.cache, n + 1, CACHE_TABLE);
		table_release(t);
		if (!right)
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

static void test_threads(void)
{
	pthread_t threads[4];

	make_pairs(1500);
	for (int c = LSM_COMPRESS_NONE; c <= LSM_COMPRESS_ZSTD; c++)
		shared_bytes[c] = build(
			(uint64_t)c + 1,
			&(struct table_build_options){512, (enum lsm_compression)c, 10}, NULL, 0);
	env_start(150000);
	for (uintptr_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, reader, (void *)(i + 1)))
			bail("pthread_create");
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	is_int(wrong, 0, "four threads read three tables through a small cache");
	env_stop();
	mem_clear();
}
int main(void)
{
	test_hex();
	test_round_trips();
	test_compresses();
	test_versions();
	test_oversized();
	test_empty();
	test_filter_counts();
	test_offsets();
	test_io_errors();
	test_lifetime();
	test_threads();
	pairs_clear();
	return done();
}
