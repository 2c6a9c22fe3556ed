/*
 * test_block_format.c - blocks that break one rule of the format each: none is believed.
 */
#include "lsm/table/block.h"
#include "tests/support/tap.h"

#define AB "ab\1\2\0\0\0\0\0\0"
#define RESTART "\0\0\0\0\1\0\0\0"

/* What walking over the entries of a block gives: how many there are, or an error. */
static int walk(const void *bytes, size_t size)
{
	struct lsm_slice block = {bytes, size};
	struct block_cursor c;
	struct iter *it = &c.it;
	const char *reason;
	int count = 0;

	if (block_check(block, &reason))
		return -EUCLEAN;
	block_cursor_init(&c);
	block_cursor_reset(&c, block);
	for (it->ops->first(it); it->valid; it->ops->next(it))
		count++;
	if (it->err)
		count = it->err;
	block_cursor_release(&c);
	return count;
}

/* A block of the entry "ab" and the bytes of another one. */
#define after_ab(entry)                                                                            \
	walk("\0\12\1" AB "x" entry RESTART, sizeof("\0\12\1" AB "x" entry RESTART) - 1)

/* Whether the first entry of the block is shown. */
static bool shows_first(const void *bytes, size_t size)
{
	struct block_cursor c;
	bool valid;

	block_cursor_init(&c);
	block_cursor_reset(&c, (struct lsm_slice){bytes, size});
	c.it.ops->first(&c.it);
	valid = c.it.valid;
	block_cursor_release(&c);
	return valid;
}

static void test_entries(void)
{
	is_int(walk("\0\0\0\0", 4), 0, "an empty block");
	is_int(after_ab(""), 1, "a block of one entry");
	is_int(after_ab("\1\11\0c\0\1\0\0\0\0\0\0"), 2, "the example");
	is_int(after_ab("\0\12\0ac\0\1\0\0\0\0\0\0"), 2, "an entry may share nothing");
	is_int(after_ab("\1\12\0bc\0\1\0\0\0\0\0\0"), -EUCLEAN,
	       "but if it shares, then all that it can");
	is_int(after_ab("\3\10\0\1\0\0\0\0\0\0\0"), -EUCLEAN, "and no byte of the other's trailer");
	is_int(after_ab("\1\7\0c\0\1\0\0\0\0\0"), -EUCLEAN, "its own trailer is whole");
	is_int(after_ab("\1\11\0c\3\1\0\0\0\0\0\0"), -EUCLEAN, "its type is known");
	is_int(after_ab("\1\11\1c\0\1\0\0\0\0\0\0"), -EUCLEAN, "its value is in the block");
	is_int(after_ab("\0\10\0\0\1\0\0\0\0\0\0"), -EUCLEAN, "its key is not empty");
	is_int(after_ab("\1\11\0c\0\1"), -EUCLEAN, "it is not cut off");
	ok(shows_first("\0\12\1" AB "x" RESTART, 22), "an entry is shown");
	ok(!shows_first("\0\12\2" AB "x" RESTART, 22), "but not one that reaches beyond the last");
	is_int(walk("\0\12\1" AB "x\1\0\0\0\1\0\0\0", 22), -EUCLEAN, "the first restart is at 0");
	is_int(walk("\0\12\1" AB "x\0\0\0\0\7\0\0\0", 22), -EUCLEAN,
	       "there are not more restarts than fit");
	is_int(walk("\0\12\1" AB "x\0\0\0\0", 18), -EUCLEAN, "nor none");
}

/* A key of `first` bytes, then one that shares all but `more` of its own. */
static int long_keys(size_t first, size_t more)
{
	struct buf b = {0};
	uint8_t key[1100];
	int count;

	memset(key, 'k', sizeof(key));
	buf_add_varint(&b, 0);
	buf_add_varint(&b, first + 8);
	buf_add_varint(&b, 0);
	buf_add(&b, key, first);
	buf_add(&b, "\1\2\0\0\0\0\0\0", 8);
	buf_add_varint(&b, first);
	buf_add_varint(&b, more + 8);
	buf_add_varint(&b, 0);
	buf_add(&b, key, more);
	buf_add(&b, "\1\2\0\0\0\0\0\0", 8);
	buf_add(&b, RESTART, 8);
	count = walk(b.data, b.size);
	buf_release(&b);
	return count;
}

static void test_keys(void)
{
	is_int(long_keys(1000, 24), 2, "a key may have 1024 bytes, put together");
	is_int(long_keys(1000, 25), -EUCLEAN, "and not more");
}

/* How many of the entries can be searched without another one. */
static void test_restarts(void)
{
	struct block_builder b;
	struct lsm_slice block;
	struct ikey_buf space;
	char key[16];

	block_builder_init(&b);
	for (int i = 0; i < 100; i++) {
		struct lsm_slice user = {key, (size_t)snprintf(key, sizeof(key), "%04d", i)};

		if (block_builder_add(&b, ikey_make(&space, user, 1, IKEY_PUT), user))
			bail("no memory");
	}
	if (block_builder_finish(&b, &block))
		bail("no memory");
	is_int(get_u32((const uint8_t *)block.data + block.size - 4),
	       (100 + BLOCK_RESTART_INTERVAL - 1) / BLOCK_RESTART_INTERVAL,
	       "every so many entries there is a restart");
	is_int(walk(block.data, block.size), 100, "and all are there");
	block_builder_release(&b);
}

int main(void)
{
	run_test(test_entries);
	run_test(test_keys);
	run_test(test_restarts);
	return done();
}
