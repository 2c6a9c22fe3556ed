/*
 * test_table_format.c - parts of a table whose checksums are right and that say what cannot be.
 */
#include <xxhash.h>

#include "lsm/table/table.h"
#include "lsm/table/table_format.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/tap.h"

#define NUMBER 7u

/* The checksum at the end of `size` bytes that stand at `offset` of the table. */
static void put_sum(uint8_t *bytes, size_t size, uint64_t offset)
{
	uint64_t seed = NUMBER * UINT64_C(0x9e3779b97f4a7c15) + offset;

	put_u32(bytes + size - 4, (uint32_t)XXH3_64bits_withSeed(bytes, size - 4, seed));
}

static void test_footer(void)
{
	struct table_footer f = {.index = {.offset = 0, .size = 30}}, g;
	uint8_t bytes[TABLE_FOOTER_BYTES];
	const char *reason;

	table_footer_encode(&f, NUMBER, 30, bytes);
	is_int(table_footer_decode(bytes, NUMBER, 30, &g, &reason), 0, "a footer is read");
	is_int(table_footer_decode(bytes, NUMBER, 31, &g, &reason), -EUCLEAN, "in its place");
	is_int(table_footer_decode(bytes, NUMBER + 1, 30, &g, &reason), -EUCLEAN, "of its table");
	bytes[88]++;
	put_sum(bytes, 96, 30);
	is_int(table_footer_decode(bytes, NUMBER, 30, &g, &reason), -EPROTONOSUPPORT,
	       "one of a newer format is not");
	f.index.offset = 5;
	table_footer_encode(&f, NUMBER, 30, bytes);
	is_int(table_footer_decode(bytes, NUMBER, 30, &g, &reason), -EUCLEAN,
	       "nor one whose parts are not one behind the other");
}

/* How many blocks a table has of `count` entries of 100 bytes, after one of `first` bytes. */
static uint64_t blocks_of(unsigned count, size_t first)
{
	struct table_build_options options = {.block_bytes = 4096};
	struct storage *st = storage_mem_new();
	static uint8_t value[200000];
	struct table_builder *b;
	struct table_footer f;
	struct storage_file *file;
	struct ikey_buf space;
	uint8_t bytes[TABLE_FOOTER_BYTES];
	const char *reason;
	uint64_t size;
	char key[16];

	if (!st || table_builder_new(st, NUMBER, &options, &b))
		bail("no memory");
	for (unsigned i = 0; i <= count; i++) {
		int n = snprintf(key, sizeof(key), "%06u", i);
		struct lsm_slice user = {key, (size_t)n};

		if (table_builder_add(b, ikey_make(&space, user, 1, IKEY_PUT),
				      (struct lsm_slice){value, i == count / 2 ? first : 100}))
			bail("cannot add");
	}
	if (table_builder_finish(b, &size) ||
	    storage_open_file(st, "000007.tab", STORAGE_READ, &file) ||
	    storage_pread_full(file, bytes, sizeof(bytes), size - sizeof(bytes)) ||
	    table_footer_decode(bytes, NUMBER, size - sizeof(bytes), &f, &reason))
		bail("cannot read the table");
	table_builder_free(b);
	storage_close(file);
	st->ops->free(st);
	return f.blocks;
}

static void test_sizes(void)
{
	uint64_t blocks = blocks_of(1000, 100);

	ok(blocks >= 24 && blocks <= 36, "a hundred kilobytes are in blocks of four: %llu",
	   (unsigned long long)blocks);
	is_int(blocks_of(2, 100), 1, "small entries share a block");
	is_int(blocks_of(2, 200000), 3, "but none with a large one");
}

/* Whether a handle to these bytes is one to data that ends at 100. */
static bool handle_valid(uint64_t offset, uint64_t size)
{
	struct table_handle h = {offset, size}, g;
	struct buf bytes = {0};
	bool valid;

	if (table_handle_encode(&h, &bytes))
		bail("no memory");
	valid = table_handle_decode(buf_slice(&bytes), 100, &g) && g.offset == offset &&
		g.size == size;
	buf_release(&bytes);
	return valid;
}

static void test_handles(void)
{
	ok(handle_valid(0, 100) && handle_valid(90, 10), "a handle is within the data");
	ok(!handle_valid(90, 11), "and does not reach beyond");
	ok(!handle_valid(100, 10), "nor begin there");
	ok(!handle_valid(10, UINT64_MAX - 5), "nor wrap around");
	ok(!handle_valid(0, 9), "and has more than a trailer");
}

/* What loading a block of `size` bytes says that is `type` and has `payload` bytes. */
static const char *reason_of(uint8_t type, uint32_t payload, uint32_t size)
{
	struct storage *st = storage_mem_new();
	struct table_handle h = {0, size};
	struct table_block *b = NULL;
	uint8_t bytes[100] = {0};
	const char *reason = NULL;
	struct storage_file *f;

	put_u32(bytes + size - 9, payload);
	bytes[size - 5] = type;
	put_sum(bytes, size, 0);
	if (!st || storage_open_file(st, "000007.tab", STORAGE_CREATE, &f) ||
	    storage_pwrite(f, bytes, size, 0))
		bail("cannot write");
	if (!table_block_load(f, NUMBER, h, &b, &reason))
		reason = "none";
	free(b);
	storage_close(f);
	st->ops->free(st);
	return reason;
}

static void test_blocks(void)
{
	ok(!strcmp(reason_of(0, 20, 29), "none"), "a raw block is read");
	ok(!strcmp(reason_of(0, 21, 29), "block size is wrong"), "of the size that it says");
	ok(!strcmp(reason_of(3, 20, 29), "block is compressed in an unknown way"), "and the kind");
	ok(!strcmp(reason_of(1, TABLE_BLOCK_BYTES_MAX, 29), "block does not decompress"),
	   "one of the largest size is decompressed");
	ok(!strcmp(reason_of(1, TABLE_BLOCK_BYTES_MAX + 1, 29),
		   "block is larger than a block can be"),
	   "a larger one takes no memory");
}

int main(void)
{
	run_test(test_footer);
	run_test(test_sizes);
	run_test(test_handles);
	run_test(test_blocks);
	return done();
}
