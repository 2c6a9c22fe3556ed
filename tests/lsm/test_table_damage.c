/*
 * Tables: what is damaged is reported and never believed.
 */
#include <xxhash.h>

#include "tests/support/table_fixture.h"

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
	for (int i = 'a'; i <= 'f'; i++)
		buf_add(&pair_add((struct lsm_slice){&(char){(char)i}, 1}, 1, IKEY_PUT)->value,
			"value", 5);
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
/* A file may be all holes and as long as it likes: nobody takes memory for a block of 1 GiB. */
static void test_huge_block(void)
{
	struct table_handle h = {0, 1u << 30};
	struct table_block *block;
	struct storage_file *file;
	char name[TABLE_NAME_BYTES];
	const char *reason;

	make_pairs(10);
	build(7, &(struct table_build_options){200, LSM_COMPRESS_NONE, 10}, NULL, 0);
	table_name(name, 7);
	if (mem_open(&mem, name, STORAGE_READ, &file))
		bail("open");
	is_int(table_block_load(file, 7, h, &block, &reason), -EUCLEAN, "a block of 1 GiB");
	ok(strstr(reason, "longer than a block"), "is not even read: %s", reason);
	mem_close(file);
	mem_clear();
}

int main(void)
{
	test_flips();
	test_huge_block();
	test_filter_damage();
	test_truncation();
	test_nonsense();
	test_swapped();
	test_fuzz();
	pairs_clear();
	return done();
}
