/*
 * Tables that have lost their footer or index: the blocks are found without them.
 */
#include "tests/support/table_fixture.h"

static const struct range ranges[] = {{7, "a", "b"}, {9, "prefixa", "prefixc"}};

struct got {
	size_t next, entries;
	struct buf filter;
	size_t ranges;
};

static int count_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	struct got *g = ctx;

	g->entries++;
	return on_entry(&g->next, ikey, value);
}

/* What is found of table 7; every entry has to be one of the table's. */
static struct got salvage(uint64_t bytes)
{
	struct lsm_slice smallest = user_of(&pairs[0]), largest = user_of(&pairs[pairs_count - 1]);
	struct rangedel_list *list = rangedel_new();
	struct got g = {0};

	if (!list)
		bail("no memory");
	if (slice_compare(text("a"), smallest) < 0)
		smallest = text("a");
	is_int(table_salvage(&env, 7, bytes, smallest, largest, count_entry, &g, &g.filter, list),
	       0, "... nothing but its own entries");
	if (rangedel_finish(list))
		bail("no memory");
	g.ranges = rangedel_count(list);
	rangedel_free(list);
	return g;
}

static void test_one(const char *name, enum lsm_compression compression)
{
	struct table_build_options options = {
		.block_bytes = 1024, .filter_bits_per_key = 10, .compression = compression};
	size_t footer, entries, filter_bytes, ranges_count;
	struct buf *file;
	uint64_t bytes;
	struct got g;

	env_start(1 << 20);
	make_pairs(2000);
	bytes = build(7, &options, ranges, 2);
	file = bytes_of(7);
	footer = file->size - TABLE_FOOTER_BYTES;
	printf("# %s: %zu bytes, %zu entries\n", name, file->size, pairs_count);
	g = salvage(bytes);
	filter_bytes = g.filter.size;
	ranges_count = g.ranges;
	ok(!g.entries && filter_bytes && ranges_count,
	   "%s: of a whole table, filter and range tombstones", name);
	buf_release(&g.filter);

	file->data[footer + 20] ^= 1;
	g = salvage(bytes);
	ok(g.entries == pairs_count && g.filter.size == filter_bytes && g.ranges == ranges_count,
	   "%s: without the footer, all of it", name);
	buf_release(&g.filter);

	file->data[100] ^= 1;
	g = salvage(bytes);
	ok(g.entries > pairs_count - 200 && g.entries < pairs_count &&
		   g.filter.size == filter_bytes && g.ranges == ranges_count,
	   "%s: ... and one block damaged, all but that one (%zu)", name, g.entries);
	buf_release(&g.filter);
	file->data[100] ^= 1;
	file->data[footer + 20] ^= 1;

	file->data[footer - 30] ^= 1;
	g = salvage(bytes);
	ok(g.entries == pairs_count && g.filter.size == filter_bytes && g.ranges == ranges_count,
	   "%s: without the index, all of it", name);
	buf_release(&g.filter);
	file->data[footer - 30] ^= 1;

	file->size /= 2;
	g = salvage(bytes);
	ok(g.entries > pairs_count / 3 && g.entries == g.next && !g.filter.size,
	   "%s: cut in half, the first half (%zu)", name, g.entries);
	entries = g.entries;
	buf_release(&g.filter);

	/* Its first block: nothing tells where the second begins but that it is one. */
	memset(file->data, 0, 500);
	g = salvage(bytes);
	ok(g.entries < entries && g.entries > entries / 2,
	   "%s: ... and without its first block, what is behind that (%zu)", name, g.entries);
	buf_release(&g.filter);

	/* As many places that could be a trailer as there can be. */
	file->size = 8000;
	for (size_t i = 0; i < file->size; i++)
		file->data[i] = i % 5 == 1;
	g = salvage(bytes);
	ok(!g.entries && !g.filter.size && !g.ranges, "%s: of nonsense, nothing", name);
	buf_release(&g.filter);
	file->size = 0;
	g = salvage(bytes);
	ok(!g.entries, "%s: of nothing, nothing", name);

	mem_clear();
	env_stop();
}

/* One block only: the index must not be taken for it. */
static void test_small(void)
{
	uint64_t bytes;
	struct got g;

	env_start(1 << 20);
	make_pairs(5);
	bytes = build(7, &plain, NULL, 0);
	bytes_of(7)->data[0] ^= 1;
	bytes_of(7)->data[bytes - 20] ^= 1;
	g = salvage(bytes);
	ok(!g.entries, "one damaged block: nothing, least of all its index");
	mem_clear();
	env_stop();
}

int main(void)
{
	test_one("raw", LSM_COMPRESS_NONE);
	test_one("LZ4", LSM_COMPRESS_LZ4);
	test_one("zstd", LSM_COMPRESS_ZSTD);
	test_small();
	pairs_clear();
	return done();
}
