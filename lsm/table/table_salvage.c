/*
 * table_salvage.c - reading what is left of a damaged table.
 *
 * If both the footer and the index can be read, table_verify() has found all readable
 * entries, and only the filter and the range tombstones are read here. Otherwise blocks are
 * looked for in the file:
 *
 *   - The first begins with the file, each further one where the one before it ends. A
 *     stored block does not say ahead how long it is, but its checksum covers it up to its
 *     trailer, so its end is the first place that could be a trailer and has that checksum.
 *   - Behind a damaged block the search goes on after each place that could be a trailer;
 *     then only blocks of up to WINDOW_BYTES are found.
 *   - The contents of a block show its kind. A data block has valid entries, all behind
 *     those before it and within the bounds of the table. The index is the last block
 *     before the footer. Of the other two, range tombstones decode to the last
 *     byte, and the filter is stored raw.
 *
 * The checksum covers the table's number and the offset, so other bytes are never taken for
 * a block. In a hostile table a block may be taken for one of another kind. Its author gains
 * nothing by that: the table could have held those entries in the first place.
 *
 * The time is in proportion to the size of the file, except for places that could be a trailer
 * and are not. A hostile file may have many of them, so WORK_FACTOR bounds the work.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lsm/base/array.h"
#include "lsm/table/block.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"

#define WINDOW_BYTES_MIN (16u << 10) /* more than most blocks take */
#define WINDOW_BYTES (64u << 10)
#define WORK_FACTOR 64u /* bytes looked at, for each byte of the file */
#define WORK_BYTES_MIN (256u << 20)

struct salvage {
	uint64_t number, bytes;
	uint64_t end; /* of the blocks */
	uint64_t work_left;
	struct storage_file *file;
	struct lsm_slice smallest, largest;
	table_entry_fn *entry;
	void *entry_ctx;
	struct buf *filter;
	struct rangedel_list *ranges;

	struct block_cursor cursor;
	struct buf last_key; /* internal key; size 0: none yet */
	uint8_t *window;
	size_t window_room;
};

/* ---- where blocks are ---- */

/* Read `size` bytes at `offset` into the window. `*readable`: whether that worked. 0; -ENOMEM. */
static int table_salvage_window(struct salvage *s, uint64_t offset, size_t size, bool *readable)
{
	*readable = false;
	if (array_reserve(s->window, s->window_room, size))
		return -ENOMEM;
	*readable = !storage_pread_full(s->file, s->window, size, offset);
	return 0;
}

/* Measure the block at `offset`. h->size is 0 if there is none, or a longer one. 0; -ENOMEM. */
static int table_salvage_measure(struct salvage *s, uint64_t offset, uint64_t longest,
				 struct table_handle *h)
{
	uint64_t size = WINDOW_BYTES_MIN, rest = s->end - offset;
	size_t stored = 0;
	bool readable;
	int err = 0;

	*h = (struct table_handle){.offset = offset};
	for (;;) {
		size = size < rest ? size : rest;
		if (size > s->work_left)
			return 0;
		s->work_left -= size;
		err = table_salvage_window(s, offset, (size_t)size, &readable);
		if (!err && readable)
			err = table_block_measure(s->window, (size_t)size, s->number, offset,
						  &stored);
		if (err || !readable || stored || size == rest || size >= longest)
			break;
		size = size * 16 < longest ? size * 16 : longest;
	}
	h->size = stored;
	return err;
}

/* The first block behind a damaged one, which begins at `offset`; size 0: there is none. */
static int table_salvage_resync(struct salvage *s, uint64_t offset, struct table_handle *h)
{
	uint64_t at = offset;
	uint8_t *bytes = malloc(WINDOW_BYTES);
	int err = bytes ? 0 : -ENOMEM;

	*h = (struct table_handle){0};
	while (!err && !h->size && at + TABLE_BLOCK_TRAILER_BYTES < s->end) {
		size_t size = s->end - at < WINDOW_BYTES ? (size_t)(s->end - at) : WINDOW_BYTES;
		size_t last = size - TABLE_BLOCK_TRAILER_BYTES;

		if (storage_pread_full(s->file, bytes, size, at))
			break;
		for (size_t i = 0; !err && !h->size && i <= last; i++) {
			uint64_t next = at + i + TABLE_BLOCK_TRAILER_BYTES;

			if (next < s->end && table_trailer_likely(bytes + i, at + i - offset))
				err = table_salvage_measure(s, next, WINDOW_BYTES, h);
		}
		at += last + 1;
	}
	free(bytes);
	return err;
}

/* ---- what kind of block it is ---- */

/* Whether `block` is a data block. Then its entries are passed to the caller. 0; an error. */
static int table_salvage_entries(struct salvage *s, struct lsm_slice block, bool *data)
{
	struct iter *it = &s->cursor.it;
	struct buf last = {0};
	int err = 0;

	*data = false;
	if (block_check(block, NULL))
		return 0;
	block_cursor_reset(&s->cursor, block);
	it->ops->first(it);
	*data = it->valid;
	err = buf_add(&last, s->last_key.data, s->last_key.size);
	for (; !err && *data && it->valid; it->ops->next(it)) {
		*data = ikey_valid(it->key) &&
			table_bounds_hold(s->smallest, s->largest, ikey_user(it->key)) &&
			(!last.size || ikey_compare(buf_slice(&last), it->key) < 0);
		last.size = 0;
		err = buf_add(&last, it->key.data, it->key.size);
	}
	buf_release(&last);
	if (it->err)
		*data = false;
	if (!err && it->err != -EUCLEAN)
		err = it->err;
	if (err || !*data)
		return err;
	for (it->ops->first(it); !err && it->valid; it->ops->next(it)) {
		s->last_key.size = 0;
		err = buf_add(&s->last_key, it->key.data, it->key.size);
		if (!err)
			err = s->entry(s->entry_ctx, it->key, it->value);
	}
	return err;
}

/*
 * Decode range tombstones up to the first malformed one, and keep them if `add`.
 * `*whole`: there was no malformed one. 0; -ENOMEM.
 */
static int table_salvage_ranges(struct salvage *s, struct lsm_slice block, bool add, bool *whole)
{
	const uint8_t *p = block.data, *limit = p + block.size;
	int err = 0;

	while (!err && p && p < limit) {
		struct lsm_slice start, end;
		uint64_t sequence;

		p = table_range_decode(p, limit, &sequence, &start, &end);
		if (p && add)
			err = rangedel_add(s->ranges, sequence, start, end);
	}
	*whole = p != NULL;
	return err;
}

static int table_salvage_block(struct salvage *s, struct table_handle h)
{
	struct table_block *b;
	struct lsm_slice block;
	const char *reason;
	bool data, whole = false;
	int err = table_block_load(s->file, s->number, h, &b, &reason);

	if (err)
		return err == -ENOMEM ? err : 0;
	block = (struct lsm_slice){b->data, b->size};
	if (h.offset + h.size + TABLE_FOOTER_BYTES != s->bytes) {
		err = table_salvage_entries(s, block, &data);
		if (!err && !data)
			err = table_salvage_ranges(s, block, false, &whole);
		if (!err && whole)
			err = table_salvage_ranges(s, block, true, &whole);
		else if (!err && !data && !s->filter->size &&
			 h.size == b->size + TABLE_BLOCK_TRAILER_BYTES)
			err = buf_add(s->filter, b->data, b->size);
	}
	free(b);
	return err;
}

static int table_salvage_blocks(struct salvage *s)
{
	struct table_handle h = {0};
	uint64_t at = 0;
	int err = 0;

	while (!err && at < s->end) {
		err = table_salvage_measure(s, at,
					    TABLE_BLOCK_BYTES_MAX + TABLE_BLOCK_TRAILER_BYTES, &h);
		if (!err && !h.size)
			err = table_salvage_resync(s, at, &h);
		if (err || !h.size)
			break;
		err = table_salvage_block(s, h);
		at = h.offset + h.size;
	}
	return err;
}

/* ---- through the footer ---- */

/* Load a block through its handle; `*out` is NULL if it cannot be read. 0; -ENOMEM. */
static int table_salvage_load(struct salvage *s, struct table_handle h, struct table_block **out)
{
	const char *reason;
	int err;

	*out = NULL;
	err = h.size ? table_block_load(s->file, s->number, h, out, &reason) : 0;
	return err == -ENOMEM ? err : 0;
}

/*
 * Read filter and range tombstones through the footer. `*done` is false, and nothing is taken,
 * if the footer or the index cannot be read. 0; -ENOMEM.
 */
static int table_salvage_footer(struct salvage *s, bool *done)
{
	uint8_t bytes[TABLE_FOOTER_BYTES];
	struct table_block *index = NULL, *filter = NULL, *ranges = NULL;
	struct table_footer f;
	const char *reason;
	bool whole;
	int err = 0;

	*done = false;
	if (s->end + sizeof(bytes) != s->bytes ||
	    storage_pread_full(s->file, bytes, sizeof(bytes), s->end) ||
	    table_footer_decode(bytes, s->number, s->end, &f, &reason))
		return 0;
	err = table_salvage_load(s, f.index, &index);
	if (!err && index && !block_check((struct lsm_slice){index->data, index->size}, NULL)) {
		*done = true;
		err = table_salvage_load(s, f.filter, &filter);
		if (!err)
			err = table_salvage_load(s, f.ranges, &ranges);
		if (!err && filter)
			err = buf_add(s->filter, filter->data, filter->size);
		if (!err && ranges)
			err = table_salvage_ranges(
				s, (struct lsm_slice){ranges->data, ranges->size}, true, &whole);
	}
	free(index);
	free(filter);
	free(ranges);
	return err;
}

int table_salvage(struct table_env *env, uint64_t number, uint64_t bytes, struct lsm_slice smallest,
		  struct lsm_slice largest, table_entry_fn *entry, void *entry_ctx,
		  struct buf *filter, struct rangedel_list *ranges)
{
	struct salvage s = {
		.number = number,
		.bytes = bytes,
		.smallest = smallest,
		.largest = largest,
		.entry = entry,
		.entry_ctx = entry_ctx,
		.filter = filter,
		.ranges = ranges,
	};
	char name[TABLE_NAME_BYTES];
	uint64_t size = 0, allocated;
	bool done = false;
	int err = 0;

	table_name(name, number);
	block_cursor_init(&s.cursor);
	if (storage_open_file(env->st, name, STORAGE_READ, &s.file) == 0 &&
	    env->st->ops->size(s.file, &size, &allocated))
		size = 0;
	s.end = bytes > TABLE_FOOTER_BYTES ? bytes - TABLE_FOOTER_BYTES : 0;
	s.end = size < s.end ? size : s.end;
	s.work_left = s.end * WORK_FACTOR + WORK_BYTES_MIN;
	if (s.end)
		err = table_salvage_footer(&s, &done);
	if (!err && !done)
		err = table_salvage_blocks(&s);
	(void)storage_close(s.file); /* only read from */
	block_cursor_release(&s.cursor);
	buf_release(&s.last_key);
	free(s.window);
	return err;
}
