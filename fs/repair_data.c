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

static int repair_data_write(struct fs *fs, struct lsm_batch *b, size_t many)
{
	int err = 0;

	if (lsm_batch_count(b) > many) {
		err = lsm_write(fs->lsm, b, 0);
		lsm_batch_clear(b);
	}
	return err;
}

/* Of extents that overlap, which bytes are the newer ones? Nobody knows. */
struct overlap {
	bool open;
	uint64_t from, to;
};

static int repair_data_overlap_end(struct overlap *o, struct lsm_batch *b, uint64_t ino,
				   uint64_t *dropped)
{
	struct key k;

	if (!o->open)
		return 0;
	o->open = false;
	++*dropped;
	return lsm_batch_put_lost(b, key_extent(&k, ino, o->from), o->to - o->from);
}

/* The extent `it` is on starts before the one at `last` ends: that one keeps what is before. */
static int repair_data_overlap_begin(struct overlap *o, struct lsm_batch *b, uint64_t ino,
				     struct lsm_iter *it, uint64_t last, uint64_t last_end,
				     uint64_t start)
{
	struct key k;
	int err;

	lsm_iter_seek(it, key_extent(&k, ino, last));
	err = lsm_iter_valid(it) ? lsm_batch_put_slice(b, (struct lsm_slice){k.bytes, k.size}, it,
						       0, start - last) :
				   lsm_iter_status(it);
	*o = (struct overlap){true, start, last_end};
	lsm_iter_seek(it, key_extent(&k, ino, start));
	return err;
}

int repair_data_extents(struct fs *fs, uint64_t ino, uint64_t *end, uint64_t *stored,
			uint64_t *dropped)
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
	int err = it && b ? 0 : -ENOMEM;

	*end = *stored = *dropped = 0;
	if (!err)
		lsm_iter_first(it);
	for (; !err && lsm_iter_valid(it); lsm_iter_next(it)) {
		uint64_t start, size, from;

		if (extent_decode(it, &start, &size)) {
			++*dropped;
			err = lsm_batch_delete(b, lsm_iter_key(it));
			continue;
		}
		if (o.open && start >= o.to)
			err = repair_data_overlap_end(&o, b, ino, dropped);
		if (err)
			break;
		from = last_end > start ? last_end : start;
		if (!o.open && start < last_end)
			err = repair_data_overlap_begin(&o, b, ino, it, last, last_end, start);
		if (!err && o.open) {
			o.to = extent_max(o.to, start + size);
			if (start > o.from)
				err = lsm_batch_delete(b, lsm_iter_key(it));
		}
		if (start + size > from)
			*stored += start + size - from;
		last = start;
		last_end = extent_max(last_end, start + size);
		if (!err && !o.open)
			err = repair_data_write(fs, b, REPAIR_BATCH_OPS);
	}
	if (!err)
		err = lsm_iter_status(it);
	if (!err)
		err = repair_data_overlap_end(&o, b, ino, dropped);
	if (!err)
		err = repair_data_write(fs, b, 0);
	*end = last_end;
	lsm_batch_free(b);
	lsm_iter_free(it);
	return err;
}

static uint64_t repair_data_cells(uint64_t from, uint64_t to)
{
	return from < to ? (to - 1) / GRID - from / GRID + 1 : 0;
}

/* Mark [from, to), a hole. */
static int repair_data_mark_hole(struct fs *fs, struct lsm_batch *b, uint64_t ino, uint64_t from,
				 uint64_t to)
{
	int err = 0;

	while (!err && from < to) {
		uint64_t piece = extent_min(to - from, GRID - from % GRID);
		struct key k;

		err = lsm_batch_put_lost(b, key_extent(&k, ino, from), piece);
		if (!err)
			err = repair_data_write(fs, b, REPAIR_BATCH_OPS);
		from += piece;
	}
	return err;
}

/* Go over the holes of [from, to); with `b` mark them, else count the extents that takes. */
static int repair_data_each_hole(struct fs *fs, struct lsm_batch *b, uint64_t ino, uint64_t from,
				 uint64_t to, uint64_t *count, uint64_t *bytes)
{
	struct extent_cursor c;
	uint64_t pos = from;
	int err = extent_open(&c, fs, ino, extent_grid_floor(from), to);

	*count = *bytes = 0;
	if (err)
		return err;
	err = extent_seek(&c, from);
	while (!err && pos < to) {
		uint64_t until = c.valid && c.start < to ? c.start : to;

		if (until > pos) {
			*count += repair_data_cells(pos, until);
			*bytes += until - pos;
			if (b)
				err = repair_data_mark_hole(fs, b, ino, pos, until);
		}
		if (!c.valid || c.start >= to)
			break;
		pos = c.end;
		if (!err)
			err = extent_next(&c);
	}
	extent_close(&c);
	return err;
}

int repair_data_mark_lost(struct fs *fs, uint64_t ino, uint64_t from, uint64_t to, uint64_t *marked)
{
	struct lsm_batch *b;
	uint64_t count;
	int err;

	*marked = 0;
	if (to > OFFSET_MAX)
		to = OFFSET_MAX;
	if (from >= to)
		return 0;
	err = repair_data_each_hole(fs, NULL, ino, from, to, &count, marked);
	if (!err && count > REPAIR_DATA_LOST_MAX)
		err = -EFBIG;
	if (err || !count) {
		*marked = 0;
		return err;
	}
	b = lsm_batch_new();
	err = b ? repair_data_each_hole(fs, b, ino, from, to, &count, marked) : -ENOMEM;
	if (!err)
		err = repair_data_write(fs, b, 0);
	lsm_batch_free(b);
	return err;
}

/* Put [from, to) of the extent at the cursor as one of its own, shared or as lost. */
static int repair_data_put_part(struct lsm_batch *b, const struct extent_cursor *c, uint64_t from,
				uint64_t to, bool good)
{
	struct key k;
	struct lsm_slice key = key_extent(&k, c->ino, c->start + from);

	return good ? lsm_batch_put_slice(b, key, c->it, from, to - from) :
		      lsm_batch_put_lost(b, key, to - from);
}

int repair_data_value(struct fs *fs, uint64_t ino, uint64_t offset, uint64_t *lost)
{
	struct lsm_batch *b = lsm_batch_new();
	uint64_t size, from = 0, step = SMALL;
	unsigned char bytes[SMALL];
	bool good = true;
	struct extent_cursor c;
	int err = extent_open(&c, fs, ino, offset, offset + 1);

	*lost = 0;
	if (err) {
		lsm_batch_free(b);
		return err;
	}
	err = b ? extent_seek(&c, offset) : -ENOMEM;
	/* It may be gone by now, break other rules, or be marked already. */
	size = !err && c.valid && c.start == offset && !c.lost ? c.end - c.start : 0;
	for (uint64_t pos = 0; !err && pos < size; pos += step) {
		uint64_t n = extent_min(step, size - pos);
		int bad = lsm_iter_read(c.it, pos, bytes, n);

		if (bad && bad != -EUCLEAN && bad != -EIO)
			err = bad;
		else if (pos && good != !bad)
			err = repair_data_put_part(b, &c, from, pos, good), from = pos;
		good = !bad;
		*lost += bad ? n : 0;
	}
	if (!err && *lost)
		err = repair_data_put_part(b, &c, from, size, good);
	if (!err)
		err = repair_data_write(fs, b, 0);
	lsm_batch_free(b);
	extent_close(&c);
	return err == -EUCLEAN ? 0 : err;
}
