/*
 * table_build.c - writing one table (format: table_format.c).
 *
 * Entries are collected in a data block. A full block is stored behind those before
 * it, in a buffer that is written to the file in large pieces. Its index entry is made when
 * the next key is known, because the index key is chosen between the two.
 *
 * Memory: one block, the write buffer, the index so far, and 8 bytes for each
 * user key, for the filter.
 */
#include <assert.h>
#include <stdio.h>

#include "lsm/table/block.h"
#include "lsm/table/filter.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"

/* Large enough that the device sees long writes, small enough to stay in the CPU's cache. */
#define WRITE_BUFFER_BYTES (256u << 10)

struct table_builder {
	struct storage *st;
	struct storage_file *file; /* NULL once closed */
	char name[TABLE_NAME_BYTES];
	uint64_t number;
	struct table_build_options options;
	struct table_codec codec;
	int err; /* the first error, which every later call returns */
	bool finished;

	struct buf out;  /* at the end of the file, not written yet */
	uint64_t offset; /* of `out` in the file */

	struct block_builder data, index;
	struct buf last_key;         /* of all entries; size 0: none */
	struct table_handle pending; /* the last data block, if not in the index; size 0: none */

	struct buf hashes; /* uint64_t for each distinct user key */
	struct buf ranges;
	struct table_footer footer;
};

void table_name(char *name, uint64_t number)
{
	snprintf(name, TABLE_NAME_BYTES, "%06llu.tab", (unsigned long long)number);
}

int table_builder_new(struct storage *st, uint64_t number,
		      const struct table_build_options *options, struct table_builder **out)
{
	struct table_builder *b = calloc(1, sizeof(*b));
	int err;

	*out = NULL;
	if (!b)
		return -ENOMEM;
	assert(options->block_bytes && options->block_bytes <= TABLE_BLOCK_BYTES_OPTION_MAX);
	b->st = st;
	b->number = number;
	b->options = *options;
	b->codec.compression = options->compression;
	block_builder_init(&b->data);
	block_builder_init(&b->index);
	/* The index is searched at every get: no entry of it should need another one. */
	b->index.restart_interval = 1;
	table_name(b->name, number);
	err = storage_open_file(st, b->name, STORAGE_CREATE, &b->file);
	if (err) {
		free(b);
		return err;
	}
	*out = b;
	return 0;
}

static uint64_t table_build_offset(const struct table_builder *b)
{
	return b->offset + b->out.size;
}

static int table_build_write(struct table_builder *b)
{
	int err = b->out.size ? storage_pwrite(b->file, b->out.data, b->out.size, b->offset) : 0;

	if (err)
		return err;
	b->offset += b->out.size;
	b->out.size = 0;
	return 0;
}

/* Store `payload` at the end of the file. */
static int table_build_store(struct table_builder *b, struct table_codec *codec,
			     struct lsm_slice payload, struct table_handle *h)
{
	int err;

	h->offset = table_build_offset(b);
	err = table_block_store(codec, payload, b->number, h->offset, &b->out, &h->size);
	if (!err && b->out.size >= WRITE_BUFFER_BYTES)
		err = table_build_write(b);
	return err;
}

/* Put the pending data block into the index under `key`. */
static int table_build_index(struct table_builder *b, struct lsm_slice key)
{
	struct buf handle = {0};
	int err = table_handle_encode(&b->pending, &handle);

	if (!err)
		err = block_builder_add(&b->index, key, buf_slice(&handle));
	buf_release(&handle);
	b->pending = (struct table_handle){0};
	return err;
}

/* The index key between the last key of a block and the first one of the next. */
static struct lsm_slice table_build_separator(struct lsm_slice last, struct lsm_slice next,
					      struct ikey_buf *space)
{
	struct lsm_slice a = ikey_user(last), b = ikey_user(next);
	const uint8_t *pa = a.data, *pb = b.data;
	size_t n = 0;

	while (n < a.size && n < b.size && pa[n] == pb[n])
		n++;
	n++; /* the first n bytes of `b` are above `a`, if `b` is */
	if (n >= a.size || n >= b.size)
		return last;
	return ikey_make(space, (struct lsm_slice){pb, n}, SEQUENCE_MAX, IKEY_TYPE_MAX);
}

static int table_build_close_block(struct table_builder *b)
{
	struct lsm_slice payload;
	int err;

	if (!b->data.entries)
		return 0;
	assert(!b->pending.size);
	err = block_builder_finish(&b->data, &payload);
	if (!err)
		err = table_build_store(b, &b->codec, payload, &b->pending);
	block_builder_clear(&b->data);
	b->footer.blocks++;
	return err;
}

/*
 * Whether an entry begins a new block. A block grows to block_bytes, but an entry that would
 * take it far beyond gets a block of its own: otherwise reading a small entry would mean
 * reading the large value next to it.
 */
static bool table_build_splits(const struct table_builder *b, size_t entry_bytes)
{
	return b->data.entries && block_builder_bytes(&b->data) + entry_bytes >
					  b->options.block_bytes + b->options.block_bytes / 4;
}

static int table_build_add_hash(struct table_builder *b, struct lsm_slice user)
{
	uint64_t hash = filter_hash(user);

	return buf_add(&b->hashes, &hash, sizeof(hash));
}

static int table_build_add(struct table_builder *b, struct lsm_slice ikey, struct lsm_slice value)
{
	struct ikey_buf space;
	struct lsm_slice user = ikey_user(ikey);
	bool new_user =
		!b->last_key.size || slice_compare(ikey_user(buf_slice(&b->last_key)), user);
	int err = 0;

	if (table_build_splits(b, ikey.size + value.size))
		err = table_build_close_block(b);
	if (!err && b->pending.size)
		err = table_build_index(
			b, table_build_separator(buf_slice(&b->last_key), ikey, &space));
	if (!err && new_user && b->options.filter_bits_per_key)
		err = table_build_add_hash(b, user);
	if (!err)
		err = block_builder_add(&b->data, ikey, value);
	if (err)
		return err;
	b->last_key.size = 0;
	b->footer.entries++;
	b->footer.tombstones += ikey_type(ikey) == IKEY_DELETE;
	err = buf_add(&b->last_key, ikey.data, ikey.size);
	if (!err && block_builder_bytes(&b->data) >= b->options.block_bytes)
		err = table_build_close_block(b);
	return err;
}

int table_builder_add(struct table_builder *b, struct lsm_slice ikey, struct lsm_slice value)
{
	assert(!b->finished && ikey_valid(ikey));
	assert(!b->last_key.size || ikey_compare(buf_slice(&b->last_key), ikey) < 0);
	if (!b->err)
		b->err = table_build_add(b, ikey, value);
	return b->err;
}

int table_builder_add_range(struct table_builder *b, uint64_t sequence, struct lsm_slice start,
			    struct lsm_slice end)
{
	assert(!b->finished && slice_compare(start, end) < 0 && sequence <= SEQUENCE_MAX);
	assert(start.size <= LSM_KEY_BYTES_MAX && end.size <= LSM_KEY_BYTES_MAX);
	if (!b->err)
		b->err = table_range_encode(sequence, start, end, &b->ranges);
	if (!b->err)
		b->footer.range_tombstones++;
	return b->err;
}

uint64_t table_builder_bytes(const struct table_builder *b)
{
	return table_build_offset(b) + b->data.bytes.size + b->ranges.size;
}

uint64_t table_builder_entries(const struct table_builder *b)
{
	return b->footer.entries;
}

uint64_t table_builder_tombstones(const struct table_builder *b)
{
	return b->footer.tombstones;
}

uint64_t table_builder_ranges(const struct table_builder *b)
{
	return b->footer.range_tombstones;
}

static int table_build_store_filter(struct table_builder *b)
{
	struct table_codec raw = {.compression = LSM_COMPRESS_NONE}; /* bits of hashes */
	struct buf filter = {0};
	int err = filter_build((const uint64_t *)b->hashes.data, b->hashes.size / sizeof(uint64_t),
			       b->options.filter_bits_per_key, &filter);

	if (!err)
		err = table_build_store(b, &raw, buf_slice(&filter), &b->footer.filter);
	buf_release(&filter);
	return err;
}

/* Store everything behind the data blocks. */
static int table_build_store_rest(struct table_builder *b)
{
	uint8_t footer[TABLE_FOOTER_BYTES];
	struct lsm_slice index;
	int err = 0;

	b->footer.filter.offset = table_build_offset(b);
	if (b->hashes.size)
		err = table_build_store_filter(b);
	b->footer.ranges.offset = table_build_offset(b);
	if (!err && b->ranges.size)
		err = table_build_store(b, &b->codec, buf_slice(&b->ranges), &b->footer.ranges);
	if (!err)
		err = block_builder_finish(&b->index, &index);
	if (!err)
		err = table_build_store(b, &b->codec, index, &b->footer.index);
	if (err)
		return err;
	table_footer_encode(&b->footer, b->number, table_build_offset(b), footer);
	return buf_add(&b->out, footer, sizeof(footer));
}

static int table_build_finish(struct table_builder *b, uint64_t *bytes)
{
	struct storage_file *file = b->file;
	int err = table_build_close_block(b);

	if (!err && b->pending.size)
		err = table_build_index(b, buf_slice(&b->last_key));
	if (!err)
		err = table_build_store_rest(b);
	if (!err)
		err = table_build_write(b);
	if (!err)
		err = storage_sync(file);
	if (err)
		return err;
	b->file = NULL;
	err = storage_close(file);
	if (!err)
		*bytes = b->offset;
	return err;
}

int table_builder_finish(struct table_builder *b, uint64_t *bytes)
{
	assert(!b->finished);
	*bytes = 0;
	if (!b->err)
		b->err = table_build_finish(b, bytes);
	b->finished = !b->err;
	return b->err;
}

void table_builder_free(struct table_builder *b)
{
	if (!b)
		return;
	if (!b->finished) {
		/* If deleting fails, the next open deletes the file, as nothing names it. */
		(void)storage_close(b->file);
		(void)b->st->ops->unlink(b->st, b->name);
	}
	table_codec_release(&b->codec);
	buf_release(&b->out);
	block_builder_release(&b->data);
	block_builder_release(&b->index);
	buf_release(&b->last_key);
	buf_release(&b->hashes);
	buf_release(&b->ranges);
	free(b);
}
