/*
 * repair_data.c - the extents of one file in a repair.
 *
 * What reading cannot make sense of is taken out or marked as lost, so that reading it is
 * an error and never the wrong bytes.
 */
#include "fs/repair_data.h"

#include <stdlib.h>

#include "fs/extent.h"

#define REPAIR_BATCH_OPS 1000u

static int write_if_many(struct fs *fs, struct lsm_batch *b, size_t many)
{
	int r = 0;

	if (lsm_batch_count(b) > many) {
		r = lsm_write(fs->lsm, b, 0);
		lsm_batch_clear(b);
	}
	return r;
}

/* Of extents that overlap, which bytes are the newer ones? Nobody knows. */
struct overlap {
	bool open;
	uint64_t from, to;
};

static int overlap_end(struct overlap *o, struct lsm_batch *b, uint64_t ino, uint64_t *dropped)
{
	struct key k;

	if (!o->open)
		return 0;
	o->open = false;
	++*dropped;
	return lsm_batch_put_lost(b, key_extent(&k, ino, o->from), o->to - o->from);
}

/* The extent `it` is on starts before the one at `last` ends: that one keeps what is before. */
static int overlap_begin(struct overlap *o, struct lsm_batch *b, uint64_t ino, struct lsm_iter *it,
			 uint64_t last, uint64_t last_end, uint64_t start)
{
	struct key k;
	int r;

	lsm_iter_seek(it, key_extent(&k, ino, last));
	r = lsm_iter_valid(it) ? lsm_batch_put_slice(b, (struct lsm_slice){k.bytes, k.size}, it, 0,
						     start - last) :
				 lsm_iter_status(it);
	*o = (struct overlap){true, start, last_end};
	lsm_iter_seek(it, key_extent(&k, ino, start));
	return r;
}

int data_repair(struct fs *fs, uint64_t ino, uint64_t *end, uint64_t *stored, uint64_t *dropped)
{
	struct key lower, upper;
	struct lsm_iter_options options = {
		.lower = key_extent(&lower, ino, 0),
		.upper = extent_key_above(&upper, ino),
		.no_cache = true,
	};
	struct lsm_iter *it = lsm_iter_new(fs->lsm, &options);
	struct lsm_batch *b = lsm_batch_new();
	struct overlap o = {0};
	uint64_t last = 0, last_end = 0;
	int r = it && b ? 0 : -ENOMEM;

	*end = *stored = *dropped = 0;
	if (!r)
		lsm_iter_first(it);
	for (; !r && lsm_iter_valid(it); lsm_iter_next(it)) {
		uint64_t start, size, from;

		if (extent_decode(it, &start, &size)) {
			++*dropped;
			r = lsm_batch_delete(b, lsm_iter_key(it));
			continue;
		}
		if (o.open && start >= o.to)
			r = overlap_end(&o, b, ino, dropped);
		if (r)
			break;
		from = last_end > start ? last_end : start;
		if (!o.open && start < last_end)
			r = overlap_begin(&o, b, ino, it, last, last_end, start);
		if (!r && o.open) {
			o.to = max_u64(o.to, start + size);
			if (start > o.from)
				r = lsm_batch_delete(b, lsm_iter_key(it));
		}
		if (start + size > from)
			*stored += start + size - from;
		last = start;
		last_end = max_u64(last_end, start + size);
		if (!r && !o.open)
			r = write_if_many(fs, b, REPAIR_BATCH_OPS);
	}
	if (!r)
		r = lsm_iter_status(it);
	if (!r)
		r = overlap_end(&o, b, ino, dropped);
	if (!r)
		r = write_if_many(fs, b, 0);
	*end = last_end;
	lsm_batch_free(b);
	lsm_iter_free(it);
	return r;
}

static uint64_t cells(uint64_t from, uint64_t to)
{
	return from < to ? (to - 1) / GRID - from / GRID + 1 : 0;
}

/* Mark [from, to), a hole. */
static int mark_hole(struct fs *fs, struct lsm_batch *b, uint64_t ino, uint64_t from, uint64_t to)
{
	int r = 0;

	while (!r && from < to) {
		uint64_t piece = min_u64(to - from, GRID - from % GRID);
		struct key k;

		r = lsm_batch_put_lost(b, key_extent(&k, ino, from), piece);
		if (!r)
			r = write_if_many(fs, b, REPAIR_BATCH_OPS);
		from += piece;
	}
	return r;
}

/* Go over the holes of [from, to); with `b` mark them, else count the extents that takes. */
static int each_hole(struct fs *fs, struct lsm_batch *b, uint64_t ino, uint64_t from, uint64_t to,
		     uint64_t *count, uint64_t *bytes)
{
	struct extent_cursor c;
	uint64_t pos = from;
	int r = extent_open(&c, fs, ino, grid_floor(from), to);

	*count = *bytes = 0;
	if (r)
		return r;
	r = extent_seek(&c, from);
	while (!r && pos < to) {
		uint64_t until = c.valid && c.start < to ? c.start : to;

		if (until > pos) {
			*count += cells(pos, until);
			*bytes += until - pos;
			if (b)
				r = mark_hole(fs, b, ino, pos, until);
		}
		if (!c.valid || c.start >= to)
			break;
		pos = c.end;
		if (!r)
			r = extent_next(&c);
	}
	extent_close(&c);
	return r;
}

int data_mark_lost(struct fs *fs, uint64_t ino, uint64_t from, uint64_t to, uint64_t *marked)
{
	struct lsm_batch *b;
	uint64_t count;
	int r;

	*marked = 0;
	if (to > OFFSET_MAX)
		to = OFFSET_MAX;
	if (from >= to)
		return 0;
	r = each_hole(fs, NULL, ino, from, to, &count, marked);
	if (!r && count > DATA_LOST_MAX)
		r = -EFBIG;
	if (r || !count) {
		*marked = 0;
		return r;
	}
	b = lsm_batch_new();
	r = b ? each_hole(fs, b, ino, from, to, &count, marked) : -ENOMEM;
	if (!r)
		r = write_if_many(fs, b, 0);
	lsm_batch_free(b);
	return r;
}

/* Put [from, to) of the extent at the cursor as one of its own, shared or as lost. */
static int put_part(struct lsm_batch *b, const struct extent_cursor *c, uint64_t from, uint64_t to,
		    bool good)
{
	struct key k;
	struct lsm_slice key = key_extent(&k, c->ino, c->start + from);

	return good ? lsm_batch_put_slice(b, key, c->it, from, to - from) :
		      lsm_batch_put_lost(b, key, to - from);
}

int data_repair_value(struct fs *fs, uint64_t ino, uint64_t offset, uint64_t *lost)
{
	struct lsm_batch *b = lsm_batch_new();
	uint64_t size, from = 0, step = SMALL;
	unsigned char bytes[SMALL];
	bool good = true;
	struct extent_cursor c;
	int r = extent_open(&c, fs, ino, offset, offset + 1);

	*lost = 0;
	if (r) {
		lsm_batch_free(b);
		return r;
	}
	r = b ? extent_seek(&c, offset) : -ENOMEM;
	/* It may be gone by now, break other rules, or be marked already. */
	size = !r && c.valid && c.start == offset && !c.lost ? c.end - c.start : 0;
	for (uint64_t pos = 0; !r && pos < size; pos += step) {
		uint64_t n = min_u64(step, size - pos);
		int err = lsm_iter_read(c.it, pos, bytes, n);

		if (err && err != -EUCLEAN && err != -EIO)
			r = err;
		else if (pos && good != !err)
			r = put_part(b, &c, from, pos, good), from = pos;
		good = !err;
		*lost += err ? n : 0;
	}
	if (!r && *lost)
		r = put_part(b, &c, from, size, good);
	if (!r)
		r = write_if_many(fs, b, 0);
	lsm_batch_free(b);
	extent_close(&c);
	return r == -EUCLEAN ? 0 : r;
}
