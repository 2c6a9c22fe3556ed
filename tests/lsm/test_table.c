/*
 * Tables: what is built is read back, whatever the shape; what is damaged is
 * reported and never believed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include <xxhash.h>

#include "lsm/block.h"
#include "lsm/table.h"
#include "lsm/table_format.h"
#include "tests/tap.h"

static _Thread_local uint64_t rng_state = 88172645463325252u;
static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* ---- a storage of a few files in memory, whose bytes the test can get at ---- */

#define FILES 8

struct file {
	struct storage_file base;
	char name[TABLE_NAME_BYTES];
	struct buf bytes;
	bool exists;
	int open;
};
static struct file files[FILES];
static int fail_reads_with, fail_writes_with, fail_syncs_with, fail_closes_with;

static struct file *file_named(const char *name)
{
	for (int i = 0; i < FILES; i++)
		if (files[i].exists && !strcmp(files[i].name, name))
			return &files[i];
	return NULL;
}
static int mem_open(struct storage *st, const char *name, enum storage_open how,
		    struct storage_file **out)
{
	struct file *f = file_named(name);

	*out = NULL;
	if (how != STORAGE_CREATE && !f)
		return -ENOENT;
	if (how == STORAGE_CREATE) {
		if (f)
			return -EEXIST;
		f = files;
		while (f < files + FILES && f->exists)
			f++;
		if (f == files + FILES)
			bail("too many files");
		f->exists = true;
		f->base.st = st;
		f->bytes.size = 0;
		snprintf(f->name, sizeof(f->name), "%s", name);
	}
	__atomic_add_fetch(&f->open, 1, __ATOMIC_SEQ_CST);
	*out = &f->base;
	return 0;
}
static int mem_unlink(struct storage *st, const char *name)
{
	struct file *f = file_named(name);

	(void)st;
	if (!f)
		return -ENOENT;
	f->exists = false;
	return 0;
}
static int mem_pread(struct storage_file *sf, void *buf, size_t size, uint64_t offset, size_t *got)
{
	struct file *f = (struct file *)sf;

	*got = 0;
	if (fail_reads_with)
		return -fail_reads_with;
	if (offset < f->bytes.size)
		*got = size < f->bytes.size - offset ? size : f->bytes.size - offset;
	if (*got)
		memcpy(buf, f->bytes.data + offset, *got);
	return 0;
}
static int mem_pwritev(struct storage_file *sf, const struct iovec *iov, int count, uint64_t offset)
{
	struct file *f = (struct file *)sf;

	if (fail_writes_with)
		return -fail_writes_with;
	if (offset != f->bytes.size)
		bail("a table is written from start to end");
	for (int i = 0; i < count; i++)
		if (buf_add(&f->bytes, iov[i].iov_base, iov[i].iov_len))
			bail("out of memory");
	return 0;
}
static int mem_sync(struct storage_file *sf)
{
	(void)sf;
	return -fail_syncs_with;
}
static int mem_size(struct storage_file *sf, uint64_t *size, uint64_t *allocated)
{
	*size = *allocated = ((struct file *)sf)->bytes.size;
	return 0;
}
static int mem_close(struct storage_file *sf)
{
	__atomic_sub_fetch(&((struct file *)sf)->open, 1, __ATOMIC_SEQ_CST);
	return -fail_closes_with;
}
static const struct storage_ops mem_ops = {
	.open = mem_open,
	.unlink = mem_unlink,
	.pread = mem_pread,
	.pwritev = mem_pwritev,
	.sync = mem_sync,
	.size = mem_size,
	.close = mem_close,
};
static struct storage mem = {&mem_ops};

static void mem_clear(void)
{
	for (int i = 0; i < FILES; i++) {
		if (files[i].open)
			bail("%s is still open", files[i].name);
		buf_release(&files[i].bytes);
		files[i].exists = false;
	}
}

/* ---- the model: what a table should hold ---- */

#define ENTRIES_MAX 3000

struct pair {
	struct ikey_buf key;
	struct buf value;
};
static struct pair pairs[ENTRIES_MAX];
static size_t pairs_count;

static struct lsm_slice text(const char *s)
{
	return (struct lsm_slice){s, strlen(s)};
}
static struct lsm_slice key_of(const struct pair *p)
{
	return (struct lsm_slice){p->key.bytes, p->key.size};
}
static struct lsm_slice user_of(const struct pair *p)
{
	return ikey_user(key_of(p));
}
static int pair_compare(const void *a, const void *b)
{
	return ikey_compare(key_of(a), key_of(b));
}
static void pairs_clear(void)
{
	for (size_t i = 0; i < pairs_count; i++)
		buf_release(&pairs[i].value);
	pairs_count = 0;
}
static struct pair *pair_add(struct lsm_slice user, uint64_t sequence, enum ikey_type type)
{
	struct pair *p = &pairs[pairs_count++];

	ikey_make(&p->key, user, sequence, type);
	p->value = (struct buf){0};
	return p;
}
static void pairs_sort(void)
{
	size_t n = 0;

	qsort(pairs, pairs_count, sizeof(pairs[0]), pair_compare);
	for (size_t i = 0; i < pairs_count; i++) {
		if (n && !pair_compare(&pairs[n - 1], &pairs[i])) {
			buf_release(&pairs[i].value);
			continue;
		}
		pairs[n++] = pairs[i];
	}
	pairs_count = n;
}

static struct lsm_slice random_user(char *space)
{
	size_t size = 1 + rng() % 5;

	memcpy(space, "prefix", 6);
	for (size_t i = 0; i < size; i++)
		space[6 + i] = (char)('a' + rng() % 4);
	return rng() % 4 ? (struct lsm_slice){space, 6 + size} :
			   (struct lsm_slice){space + 6, size};
}
static void make_pairs(size_t count)
{
	char space[16];

	pairs_clear();
	while (pairs_count < count) {
		struct pair *p =
			pair_add(random_user(space), 1 + rng() % 20, (enum ikey_type)(rng() % 3));
		size_t size = rng() % 60;

		if (ikey_type(key_of(p)) == IKEY_DELETE)
			continue;
		for (size_t i = 0; i < size; i++) /* half compressible */
			buf_add(&p->value, rng() % 2 ? "x" : &(char){(char)rng()}, 1);
	}
	pairs_sort();
}

/* ---- building and opening ---- */

static struct table_env env;
static int reports;

static void on_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR && strstr(message, ".tab"))
		__atomic_add_fetch(&reports, 1, __ATOMIC_SEQ_CST);
}
static const struct report reporter = {on_report, NULL};

static void env_start(size_t cache_bytes)
{
	env.st = &mem;
	env.report = &reporter;
	env.cache = cache_new(cache_bytes);
	env.filter_negatives = env.filter_false_positives = 0;
	if (!env.cache)
		bail("cache_new");
}
static void env_stop(void)
{
	cache_free(env.cache);
	env.cache = NULL;
}

static const struct table_build_options plain = {.block_bytes = 4096};

struct range {
	uint64_t sequence;
	const char *start, *end;
};

static uint64_t build(uint64_t number, const struct table_build_options *options,
		      const struct range *ranges, size_t ranges_count)
{
	struct table_builder *b;
	uint64_t bytes, tombstones = 0;

	if (table_builder_new(&mem, number, options, &b))
		bail("table_builder_new");
	for (size_t i = 0; i < pairs_count; i++) {
		if (table_builder_add(b, key_of(&pairs[i]), buf_slice(&pairs[i].value)))
			bail("table_builder_add");
		tombstones += ikey_type(key_of(&pairs[i])) == IKEY_DELETE;
	}
	for (size_t i = 0; i < ranges_count; i++)
		if (table_builder_add_range(b, ranges[i].sequence, text(ranges[i].start),
					    text(ranges[i].end)))
			bail("table_builder_add_range");
	if (table_builder_finish(b, &bytes))
		bail("table_builder_finish");
	if (table_builder_entries(b) != pairs_count || table_builder_ranges(b) != ranges_count ||
	    table_builder_tombstones(b) != tombstones)
		bail("the builder counts wrong");
	table_builder_free(b);
	return bytes;
}
static struct buf *bytes_of(uint64_t number)
{
	char name[TABLE_NAME_BYTES];

	table_name(name, number);
	return &file_named(name)->bytes;
}
static struct table *acquire(uint64_t number, uint64_t bytes)
{
	struct table *t;

	if (table_acquire(&env, number, bytes, &t))
		bail("table_acquire");
	return t;
}

static int damages;
static struct lsm_damage last_damage;
static uint8_t damage_keys[2][LSM_KEY_BYTES_MAX];
static char damage_reason[100];
static void on_damage(void *ctx, const struct lsm_damage *damage)
{
	(void)ctx;
	damages++;
	last_damage = *damage;
	if (damage->first_key.size)
		memcpy(damage_keys[0], damage->first_key.data, damage->first_key.size);
	if (damage->last_key.size)
		memcpy(damage_keys[1], damage->last_key.data, damage->last_key.size);
	last_damage.first_key.data = damage_keys[0];
	last_damage.last_key.data = damage_keys[1];
	snprintf(damage_reason, sizeof(damage_reason), "%s", damage->reason);
}
/* `*ctx` is the pair expected next; entries in damaged blocks may be missing. */
static int on_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	size_t *i = ctx;

	while (*i < pairs_count && slice_compare(key_of(&pairs[*i]), ikey))
		++*i;
	if (*i == pairs_count || slice_compare(buf_slice(&pairs[*i].value), value))
		return 77;
	++*i;
	return 0;
}
static int verify_between(uint64_t number, uint64_t bytes, struct lsm_slice smallest,
			  struct lsm_slice largest)
{
	size_t next = 0;
	int r;

	damages = 0;
	r = table_verify(&env, number, bytes, smallest, largest, on_damage, NULL, on_entry, &next);
	if ((r == -EUCLEAN) != (damages > 0))
		return -1000;
	return r;
}
static int verify(uint64_t number, uint64_t bytes)
{
	return verify_between(number, bytes, pairs_count ? user_of(&pairs[0]) : text(""),
			      pairs_count ? user_of(&pairs[pairs_count - 1]) : text(""));
}

/* ---- comparing ---- */

static ssize_t model_seek(struct lsm_slice key)
{
	size_t low = 0, high = pairs_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (ikey_compare(key_of(&pairs[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return (ssize_t)low;
}
static ssize_t model_seek_prev(struct lsm_slice key)
{
	ssize_t i = model_seek(key);

	if ((size_t)i < pairs_count && !ikey_compare(key_of(&pairs[i]), key))
		return i;
	return i - 1;
}

/* 1: as it should be; 0: wrong; negative: the error. */
static int get_agrees(struct table *t, struct lsm_slice user, uint64_t sequence)
{
	struct lsm_value value = {0};
	struct ikey_buf space;
	ssize_t i = model_seek(ikey_make(&space, user, sequence, IKEY_TYPE_MAX));
	bool present = (size_t)i < pairs_count && !slice_compare(user_of(&pairs[i]), user);
	enum ikey_type type;
	uint64_t found;
	int r = table_get(t, user, sequence, &type, &found, &value), right;

	if (r < 0)
		right = r;
	else if (r == 1)
		right = !present;
	else
		right = present && found == ikey_sequence(key_of(&pairs[i])) &&
			type == ikey_type(key_of(&pairs[i])) &&
			!slice_compare((struct lsm_slice){value.data, value.size},
				       buf_slice(&pairs[i].value));
	free(value.data);
	return right;
}

static bool stands_on(const struct iter *it, ssize_t i)
{
	if (i < 0 || (size_t)i >= pairs_count)
		return !it->valid && !it->status;
	return it->valid && !it->status && !slice_compare(it->key, key_of(&pairs[i])) &&
	       !slice_compare(it->value, buf_slice(&pairs[i].value));
}

static bool walk_agrees(struct table *t, int steps, bool fill_cache)
{
	struct iter *it = table_iter(t, fill_cache);
	ssize_t at = -1;
	char space[16];
	struct ikey_buf k;
	bool right = true;

	if (!it)
		bail("table_iter");
	right &= !it->valid && !it->status;
	for (int i = 0; i < steps && right; i++) {
		struct lsm_slice key =
			ikey_make(&k, random_user(space), rng() % 22, (enum ikey_type)(rng() % 3));
		unsigned what = (unsigned)(rng() % (it->valid ? 40 : 4));

		if (what == 0) {
			it->ops->seek(it, key);
			at = model_seek(key);
		} else if (what == 1) {
			it->ops->seek_prev(it, key);
			at = model_seek_prev(key);
		} else if (what == 2) {
			it->ops->first(it);
			at = 0;
		} else if (what == 3) {
			it->ops->last(it);
			at = (ssize_t)pairs_count - 1;
		} else if (what < 22) {
			it->ops->next(it);
			at++;
		} else {
			it->ops->prev(it);
			at--;
		}
		right &= stands_on(it, at);
	}
	iter_free(it);
	return right;
}

static bool all_agree(struct table *t)
{
	struct iter *it = table_iter(t, true);
	bool right = true;
	size_t i = 0;

	if (!it)
		bail("table_iter");
	for (it->ops->first(it); it->valid; it->ops->next(it))
		right &= stands_on(it, (ssize_t)i++);
	right &= i == pairs_count && !it->status;
	for (it->ops->last(it); it->valid; it->ops->prev(it))
		right &= stands_on(it, (ssize_t)--i);
	right &= i == 0 && !it->status;
	iter_free(it);
	for (i = 0; i < pairs_count && right; i++) {
		uint64_t sequence = ikey_sequence(key_of(&pairs[i]));

		right &= get_agrees(t, user_of(&pairs[i]), sequence) == 1;
		right &= get_agrees(t, user_of(&pairs[i]), sequence - 1) == 1;
		right &= get_agrees(t, user_of(&pairs[i]), SEQUENCE_MAX) == 1;
	}
	return right;
}

/* ---- the tests ---- */

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
	for (char c = 'a'; c < 'z'; c++) {
		struct pair *p = pair_add((struct lsm_slice){&c, 1}, 1, IKEY_PUT);

		for (int i = 0; i < 4000; i++)
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

/* Read all that a damaged table gives. True: nothing wrong came; `*errors` counts -EUCLEAN. */
static bool only_right_answers(uint64_t number, uint64_t bytes, int *errors)
{
	struct table *t;
	struct iter *it;
	bool right = true;
	size_t i = 0;
	int r;

	*errors = 0;
	env_start(1 << 20);
	r = table_acquire(&env, number, bytes, &t);
	if (r) {
		env_stop();
		*errors = 1;
		return (r == -EUCLEAN || r == -EPROTONOSUPPORT) && !t;
	}
	for (size_t j = 0; j < pairs_count; j++) {
		r = get_agrees(t, user_of(&pairs[j]), ikey_sequence(key_of(&pairs[j])));
		*errors += r == -EUCLEAN;
		right &= r == 1 || r == -EUCLEAN;
	}
	it = table_iter(t, false);
	if (!it)
		bail("table_iter");
	for (it->ops->first(it); it->valid; it->ops->next(it))
		right &= stands_on(it, (ssize_t)i++);
	*errors += it->status == -EUCLEAN;
	right &= it->status == -EUCLEAN || (!it->status && i == pairs_count);
	i = pairs_count;
	for (it->ops->last(it); it->valid; it->ops->prev(it))
		right &= stands_on(it, (ssize_t)--i);
	*errors += it->status == -EUCLEAN;
	right &= it->status == -EUCLEAN || (!it->status && i == 0);
	iter_free(it);
	table_release(t);
	env_stop();
	return right;
}

/* What could not be read lies within the keys the (one) damage was reported with. */
static bool damage_bounds_hold(uint64_t number, uint64_t bytes)
{
	struct table *t;
	bool right = true;

	env_start(1 << 20);
	if (!table_acquire(&env, number, bytes, &t)) {
		for (size_t j = 0; j < pairs_count; j++) {
			if (get_agrees(t, user_of(&pairs[j]), SEQUENCE_MAX) != -EUCLEAN)
				continue;
			right &= slice_compare(last_damage.first_key, user_of(&pairs[j])) <= 0 &&
				 slice_compare(user_of(&pairs[j]), last_damage.last_key) <= 0;
		}
		table_release(t);
	}
	env_stop();
	return right;
}

static void test_flips(void)
{
	static const struct range ranges[] = {{5, "b", "d"}};

	for (int c = LSM_COMPRESS_NONE; c <= LSM_COMPRESS_ZSTD; c++) {
		struct table_build_options options = {200, (enum lsm_compression)c, 10};
		bool seen = true, right = true, told = true, bounded = true;
		struct buf *file;
		uint64_t bytes;

		make_pairs(60);
		bytes = build(1, &options, ranges, 1);
		file = bytes_of(1);
		for (uint64_t at = 0; at < bytes; at++) {
			uint8_t mask = (uint8_t)(at % 3 ? 1u << rng() % 8 : 1 + rng() % 255);
			int errors, before = reports;

			file->data[at] ^= mask;
			env_start(1 << 20);
			seen &= verify(1, bytes) == -EUCLEAN && damages == 1;
			env_stop();
			seen &= last_damage.offset <= at;
			right &= only_right_answers(1, bytes, &errors);
			told &= reports > before; /* opening or reading says so too */
			bounded &= damage_bounds_hold(1, bytes);
			file->data[at] ^= mask;
		}
		ok(seen, "compression %d: each of %d flipped bytes is found", c, (int)bytes);
		ok(right, "compression %d: and never a wrong answer", c);
		ok(told, "compression %d: each is reported by readers too", c);
		ok(bounded, "compression %d: what is lost is within the keys reported", c);
		mem_clear();
	}
}

static void test_filter_damage(void)
{
	struct buf *file;
	uint64_t bytes;
	int errors, before;

	make_pairs(60);
	bytes = build(1, &(struct table_build_options){200, LSM_COMPRESS_NONE, 10}, NULL, 0);
	file = bytes_of(1);
	before = reports;
	file->data[get_u64(file->data + bytes - TABLE_FOOTER_BYTES) + 3] ^= 1;
	ok(only_right_answers(1, bytes, &errors) && !errors, "a damaged filter costs no answer");
	is_int(reports, before + 1, "but is reported");
	mem_clear();
}

static void test_truncation(void)
{
	struct buf *file;
	uint64_t bytes;
	bool seen = true, right = true;
	int errors;

	make_pairs(40);
	bytes = build(1, &(struct table_build_options){200, LSM_COMPRESS_LZ4, 10}, NULL, 0);
	file = bytes_of(1);
	env_start(1 << 20);
	for (file->size = 0; file->size < bytes; file->size++) {
		seen &= verify(1, bytes) == -EUCLEAN;
		seen &= verify(1, file->size) == -EUCLEAN; /* were the manifest wrong as well */
	}
	buf_add(file, "more", 4);
	seen &= verify(1, bytes) == -EUCLEAN;
	file->size = bytes;
	is_int(verify(1, bytes), 0, "(whole again)");
	env_stop();
	ok(seen, "every length but the right one is found");
	for (file->size = 0; file->size < bytes; file->size++) {
		right &= only_right_answers(1, bytes, &errors) && errors;
		right &= only_right_answers(1, file->size, &errors) && errors;
	}
	ok(right, "and is not read");
	file->size = bytes;

	env_start(1 << 20);
	is_int(verify(2, bytes), -EUCLEAN, "a missing table is damage");
	is_int(table_acquire(&env, 2, bytes, &(struct table *){0}), -EUCLEAN,
	       "and cannot be opened");
	build(2, &(struct table_build_options){200, LSM_COMPRESS_LZ4, 10}, NULL, 0);
	memcpy(bytes_of(2)->data, file->data, bytes);
	is_int(verify(2, bytes), -EUCLEAN, "a table under another's number is damage");
	env_stop();
	ok(only_right_answers(2, bytes, &errors) && errors, "and is not read");
	mem_clear();
}

/* Make the checksum of the stored block right again, by the formula in table_format.c. */
static void reseal(uint64_t number, uint64_t offset, uint64_t size)
{
	uint8_t *block = bytes_of(number)->data + offset;
	uint64_t seed = number * UINT64_C(0x9e3779b97f4a7c15) + offset;

	put_u32(block + size - 4, (uint32_t)XXH3_64bits_withSeed(block, size - 4, seed));
}
static struct table_footer footer_of(uint64_t number)
{
	struct buf *file = bytes_of(number);
	struct table_footer f;
	const char *reason;

	if (table_footer_decode(file->data + file->size - TABLE_FOOTER_BYTES, number,
				file->size - TABLE_FOOTER_BYTES, &f, &reason))
		bail("footer: %s", reason);
	return f;
}
static void footer_set(uint64_t number, const struct table_footer *f)
{
	struct buf *file = bytes_of(number);

	table_footer_encode(f, number, file->size - TABLE_FOOTER_BYTES,
			    file->data + file->size - TABLE_FOOTER_BYTES);
}

/* Nonsense under good checksums, as a bug or an attacker would write it. */
static void test_nonsense(void)
{
	struct table_build_options options = {4096, LSM_COMPRESS_NONE, 10};
	struct table_footer f, g;
	uint64_t bytes, size;
	struct buf *file;

	pairs_clear();
	buf_add(&pair_add(text("a"), 1, IKEY_PUT)->value, "1", 1);
	buf_add(&pair_add(text("b"), 2, IKEY_PUT)->value, "2", 1);
	buf_add(&pair_add(text("c"), 3, IKEY_DELETE)->value, "3", 1);
	bytes = build(1, &options, NULL, 0);
	file = bytes_of(1);
	f = g = footer_of(1);
	size = f.filter.offset;
	env_start(1 << 20);
	is_int(verify(1, bytes), 0, "(whole)");
	is_int(verify_between(1, bytes, text("aa"), text("c")), -EUCLEAN, "a key below the bounds");
	is_int(verify_between(1, bytes, text("a"), text("bb")), -EUCLEAN, "a key above them");

	file->data[3] = 'b'; /* "b" @1, "b" @2 */
	reseal(1, 0, size);
	ok(table_verify(&env, 1, bytes, text(""), text(""), on_damage, NULL, NULL, NULL) ==
			   -EUCLEAN &&
		   !strcmp(damage_reason, "keys do not ascend"),
	   "keys that do not ascend");
	file->data[3] = 'A';
	reseal(1, 0, size);
	ok(verify_between(1, bytes, text(""), text("")) == -EUCLEAN &&
		   !strcmp(damage_reason, "filter does not know a key"),
	   "a key the filter lacks");
	file->data[3] = 'a';
	file->data[3 + 2 * 13] = 'd';
	reseal(1, 0, size);
	ok(verify_between(1, bytes, text(""), text("")) == -EUCLEAN &&
		   !strcmp(damage_reason, "key is above the index key of its block"),
	   "a key beyond its index key");
	file->data[3 + 2 * 13] = 'c';
	reseal(1, 0, size);

	g.entries = 4;
	footer_set(1, &g);
	is_int(verify(1, bytes), -EUCLEAN, "a wrong count of entries");
	g.entries = 3;
	g.tombstones = 0;
	footer_set(1, &g);
	is_int(verify(1, bytes), -EUCLEAN, "of tombstones");
	g.tombstones = 1;
	g.range_tombstones = 1;
	footer_set(1, &g);
	is_int(verify(1, bytes), -EUCLEAN, "of range tombstones");
	g.range_tombstones = 0;
	g.blocks = 2;
	footer_set(1, &g);
	is_int(verify(1, bytes), -EUCLEAN, "of blocks");
	g.blocks = 1;
	g.index.size = UINT64_MAX - 5;
	footer_set(1, &g);
	is_int(verify(1, bytes), -EUCLEAN, "an impossible handle");
	footer_set(1, &f);
	is_int(verify(1, bytes), 0, "(whole again)");
	env_stop();
	mem_clear();
}

/* The stored blocks of a table: its data blocks, then the others it has. */
#define HANDLES_MAX 100
static size_t handles_of(uint64_t number, struct table_handle *handles)
{
	struct table_footer f = footer_of(number);
	struct table_block *index;
	struct storage_file *file;
	struct block_cursor c;
	char name[TABLE_NAME_BYTES];
	const char *reason;
	size_t n = 0;

	table_name(name, number);
	if (mem_open(&mem, name, STORAGE_READ, &file) ||
	    table_block_load(file, number, f.index, &index, &reason))
		bail("index");
	block_cursor_init(&c);
	block_cursor_reset(&c, (struct lsm_slice){index->data, index->size});
	for (c.it.ops->first(&c.it); c.it.valid; c.it.ops->next(&c.it))
		if (n == HANDLES_MAX - 3 ||
		    !table_handle_decode(c.it.value, f.filter.offset, &handles[n++]))
			bail("handle");
	block_cursor_release(&c);
	free(index);
	mem_close(file);
	handles[n++] = f.index;
	if (f.filter.size)
		handles[n++] = f.filter;
	if (f.ranges.size)
		handles[n++] = f.ranges;
	return n;
}

/* Use every way in; what comes out may be wrong, if it comes at all. */
static void use_all(uint64_t number, uint64_t bytes)
{
	struct table *t;
	struct iter *it;
	struct ikey_buf k;
	int steps = 0;

	if (table_acquire(&env, number, bytes, &t))
		return;
	for (size_t i = 0; i < pairs_count; i++)
		get_agrees(t, user_of(&pairs[i]), rng() % 22);
	table_offset_of(t, text("b"));
	if (table_ranges(t))
		rangedel_covering(table_ranges(t), text("c"), 9);
	it = table_iter(t, rng() % 2);
	if (!it)
		bail("table_iter");
	for (it->ops->first(it); it->valid && steps < 5000; it->ops->next(it))
		steps++;
	for (it->ops->last(it); it->valid && steps < 10000; it->ops->prev(it))
		steps++;
	it->ops->seek(it, ikey_make(&k, text("prefixb"), 7, IKEY_PUT));
	if (it->valid)
		it->ops->prev(it);
	it->ops->seek_prev(it, ikey_make(&k, text("c"), 7, IKEY_PUT));
	if (it->valid)
		it->ops->next(it);
	iter_free(it);
	table_release(t);
}

/* Two good blocks of one size in each other's place, as a mad disk might leave them. */
static void test_swapped(void)
{
	struct table_handle h[HANDLES_MAX];
	uint8_t space[100], *file;
	uint64_t bytes;
	int errors;

	pairs_clear();
	for (char c = 'a'; c <= 'f'; c++)
		buf_add(&pair_add((struct lsm_slice){&c, 1}, 1, IKEY_PUT)->value, "value", 5);
	bytes = build(1, &(struct table_build_options){.block_bytes = 1}, NULL, 0);
	file = bytes_of(1)->data;
	if (handles_of(1, h) != 7 || h[1].size != h[4].size || h[1].size > sizeof(space))
		bail("six blocks of one size");
	memcpy(space, file + h[1].offset, h[1].size);
	memcpy(file + h[1].offset, file + h[4].offset, h[1].size);
	memcpy(file + h[4].offset, space, h[1].size);
	env_start(1 << 20);
	is_int(verify(1, bytes), -EUCLEAN, "blocks in each other's place");
	is_int(damages, 2, "are two damaged ones");
	ok(!strcmp(damage_reason, "block checksum is wrong"), "by their checksums");
	env_stop();
	ok(only_right_answers(1, bytes, &errors) && errors == 4, "and are not read");
	mem_clear();
}

/* Random bytes under good checksums: answers may be wrong, but nothing worse happens. */
static void test_fuzz(void)
{
	static const struct range ranges[] = {{5, "b", "d"}, {6, "c", "e"}};
	int rounds = 0, noticed = 0;

	for (int c = LSM_COMPRESS_NONE; c <= LSM_COMPRESS_ZSTD; c++) {
		struct table_build_options options = {150, (enum lsm_compression)c, 10};
		struct table_handle handles[HANDLES_MAX];
		struct buf whole = {0};
		uint64_t bytes;
		size_t count;

		make_pairs(30);
		bytes = build(1, &options, ranges, 2);
		buf_add(&whole, bytes_of(1)->data, bytes);
		count = handles_of(1, handles);
		for (int i = 0; i < 1500; i++, rounds++) {
			struct table_handle h = handles[rng() % count];
			uint8_t *file = bytes_of(1)->data;

			memcpy(file, whole.data, bytes);
			for (unsigned n = 1 + (unsigned)(rng() % 3); n; n--)
				file[h.offset + rng() % (h.size - 4)] = (uint8_t)rng();
			reseal(1, h.offset, h.size);
			env_start(rng() % 2 ? 1 << 20 : 0);
			noticed += verify(1, bytes) != 0;
			use_all(1, bytes);
			env_stop();
		}
		buf_release(&whole);
		mem_clear();
	}
	ok(noticed > rounds / 2, "%d of %d nonsense tables are noticed, all survived", noticed,
	   rounds);
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
	test_flips();
	test_filter_damage();
	test_truncation();
	test_nonsense();
	test_swapped();
	test_fuzz();
	test_io_errors();
	test_lifetime();
	test_threads();
	pairs_clear();
	return done();
}
