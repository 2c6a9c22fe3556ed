/*
 * data.c - the content of larger files: reading, writing, cutting, sharing and folding extents.
 *
 * What an extent is, and the rules, are at the top of extent.c.
 *
 * Writing
 *
 * A write is cut at the grid into pieces, each becomes one extent. Old extents
 * wholly under it are deleted or replaced. Of one partly under it the rest is
 * kept by lsm_batch_put_slice(), which shares the bytes in the segment: writing
 * 4 KiB into the middle of 128 KiB writes 4 KiB and three keys. Pieces of
 * SMALL (4 KiB) bytes or more are written exactly once and never moved again
 * by writes of that size: that is where the tree begins to put values into
 * segments. Only a smaller piece looks at its neighbours, and may rewrite them:
 *
 *   absorb  An old extent smaller than SMALL that is partly under the piece is
 *           merged into it, not sliced. (The tree holds such a value in line, so
 *           slicing it would copy it too.) Costs at most 2 * SMALL per write, and
 *           means that random tiny writes stop splitting at 4 KiB.
 *   fold    Walk from the piece over the extents that touch it, first backwards,
 *           then forwards; replace the longest row in which every old extent is
 *           at most 1/RATIO (1/8) of the whole row. The nearest must be
 *           smaller than SMALL, or a tiny tail after a row of 4 KiB writes would
 *           rewrite them.
 *   close   An append that fills a grid cell to its end folds with ratio 2
 *           instead of 8: nothing more will come to make the row longer.
 *
 * Appends of 100 bytes, RATIO 8 (x: an extent of 100 bytes, X: 800):
 *
 *     xxxxxxx + x   ->  X          XxxxxxxxX...: 7 X, 7 x + x  ->  one of 6400
 *
 * Cost: a fold moves every old byte to an extent at least 8 times as large as the one
 * it was in, so a byte is moved at most log8(128 KiB / size of the writes)
 * times, and once more by the close: 100-byte appends write each byte about 5
 * times in all and leave one extent per grid cell. The walk stops at an extent
 * that is more than twice the row so far: so long as the smaller ones have not
 * added up to its size the row will not fold, and most appends look
 * at a few entries only. Where a row could not fold there are fewer than about
 * 8 extents of each power of 8. Overwrites may split again what was folded, but
 * one write adds at most two extents and a fold of n bytes takes 8 extents of
 * n/8 bytes, so folding cannot follow every write.
 *
 * After an error a batch may hold part of the work: the caller drops it.
 */
#include "fs/data.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/extent.h"

#define RATIO 8u
#define RATIO_CLOSE 2u
#define ASK_EVERY 4096u       /* extents: some milliseconds */
#define POINT_DELETES_MAX 16u /* of more keys in a row, one range record is smaller */

/* ---- reading ---- */

int data_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size)
{
	struct extent_cursor c;
	int err;

	if (!size)
		return 0;
	if (offset > OFFSET_MAX || size > OFFSET_MAX - offset)
		return -EINVAL;
	err = extent_open(&c, fs, ino, extent_grid_floor(offset), offset + size);
	if (err)
		return err;
	err = extent_read(&c, offset, offset + size, buf);
	extent_close(&c);
	return err;
}

int data_seek(struct fs *fs, uint64_t ino, uint64_t offset, bool hole, uint64_t *out)
{
	uint64_t at = data_seek_floor(offset);
	struct extent_cursor c;
	int err;

	*out = offset;
	if (offset >= OFFSET_MAX)
		return hole ? 0 : LSM_ABSENT;
	err = extent_open(&c, fs, ino, extent_grid_floor(at), OFFSET_MAX);
	if (err)
		return err;
	err = extent_seek(&c, at);
	if (hole) {
		/* `at` is the start of a block all the way: is it data? */
		while (!err && c.valid && c.start < at + DATA_SEEK_BYTES) {
			if (c.end > at)
				at = data_seek_floor(c.end + DATA_SEEK_BYTES - 1);
			err = extent_next(&c);
		}
	} else if (!err && c.valid) {
		at = extent_max(at, data_seek_floor(c.start));
	} else if (!err) {
		err = LSM_ABSENT;
	}
	if (!err)
		*out = extent_min(extent_max(at, offset), OFFSET_MAX);
	extent_close(&c);
	return err;
}

/* ---- cutting ---- */

/*
 * Make [from, to) a hole. With `replaced` the caller puts new extents there in
 * the same batch, one at `from` and one at each multiple of the grid: keys that
 * are put again need no delete.
 */
static int data_cut(struct extent_cursor *c, struct lsm_batch *batch, uint64_t from, uint64_t to,
		    bool replaced, int64_t *delta)
{
	uint64_t gone[POINT_DELETES_MAX];
	size_t gone_count = 0;
	struct key k, k2;
	int err = extent_seek(c, from);

	while (!err && c->valid && c->start < to) {
		if (c->start < from)
			err = lsm_batch_put_slice(batch, key_extent(&k, c->ino, c->start), c->it, 0,
						  from - c->start);
		if (!err && c->end > to)
			err = lsm_batch_put_slice(batch, key_extent(&k, c->ino, to), c->it,
						  to - c->start, c->end - to);
		if (err)
			return err;
		if (c->start >= from && !(replaced && (c->start == from || c->start % GRID == 0))) {
			if (gone_count < POINT_DELETES_MAX)
				gone[gone_count] = c->start;
			gone_count++;
		}
		*delta -= (int64_t)(extent_min(c->end, to) - extent_max(c->start, from));
		/* Also behind the last one: does it overlap what stays? */
		err = extent_next(c);
	}
	if (!err && gone_count > POINT_DELETES_MAX)
		return lsm_batch_delete_range(batch, key_extent(&k, c->ino, from),
					      key_extent(&k2, c->ino, to));
	for (size_t i = 0; !err && i < gone_count; i++)
		err = lsm_batch_delete(batch, key_extent(&k, c->ino, gone[i]));
	return err;
}

/* [from, to) a hole, as above; 0 <= from < to <= 2^63 - 1. */
static int data_punch_range(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t from,
			    uint64_t to, int64_t *delta)
{
	struct extent_cursor c;
	int err = extent_open(&c, fs, ino, extent_grid_floor(from), extent_grid_ceil(to));

	if (err)
		return err;
	err = data_cut(&c, batch, from, to, false, delta);
	extent_close(&c);
	return err;
}

int data_punch(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t offset, uint64_t size,
	       int64_t *delta)
{
	*delta = 0;
	if (!size || offset >= OFFSET_MAX)
		return 0;
	return data_punch_range(fs, batch, ino, offset,
				offset + extent_min(size, OFFSET_MAX - offset), delta);
}

int data_truncate(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t size,
		  int64_t *delta)
{
	*delta = 0;
	if (size >= OFFSET_MAX)
		return 0;
	return data_punch_range(fs, batch, ino, size, OFFSET_MAX, delta);
}

int data_drop(struct lsm_batch *batch, uint64_t ino)
{
	struct key start, end;

	return lsm_batch_delete_range(batch, key_extent(&start, ino, 0),
				      extent_key_above(&end, ino));
}

/* ---- folding ---- */

/* What will be one extent: the bytes of a write, and the old ones around them. */
struct data_row {
	uint64_t from, to;           /* as far as the walk got; contiguous, within one cell */
	uint64_t best_from, best_to; /* as far as is worth writing */
	uint64_t largest;            /* of the old extents in [from, to) */
	uint64_t ratio;
	bool walked; /* beyond what was absorbed */
};

static struct data_row data_row_of(uint64_t from, uint64_t to, bool close)
{
	return (struct data_row){
		.from = from,
		.to = to,
		.best_from = from,
		.best_to = to,
		.ratio = close ? RATIO_CLOSE : RATIO,
	};
}

/* May the row go on over an old extent that has `size` bytes beside it? */
static bool data_row_wants(const struct data_row *row, uint64_t size)
{
	uint64_t have = row->to - row->from;

	if (!row->walked && (size >= SMALL || have >= SMALL))
		return false;
	if (row->ratio == RATIO && size > 2 * have)
		return false;
	return size * row->ratio <= GRID;
}

/*
 * The cursor's extent overlaps or touches the row at its start (`back`) or its
 * end: take it in, or of a large one what is on that side. False: stop here.
 */
static bool data_row_take(struct data_row *row, const struct extent_cursor *c, bool back)
{
	bool overlaps = c->start < row->to && c->end > row->from;
	uint64_t size = back ? row->from - c->start : c->end - row->to;

	if (c->lost)
		return false;
	if (overlaps && c->end - c->start < SMALL) {
		row->from = extent_min(row->from, c->start);
		row->to = extent_max(row->to, c->end);
		row->best_from = extent_min(row->best_from, c->start);
		row->best_to = extent_max(row->best_to, c->end);
		return true;
	}
	if (!data_row_wants(row, size))
		return false;
	row->walked = true;
	row->largest = extent_max(row->largest, size);
	if (back)
		row->from = c->start;
	else
		row->to = c->end;
	if (row->to - row->from >= row->ratio * row->largest) {
		row->best_from = row->from;
		row->best_to = row->to;
	}
	return true;
}

static int data_row_back(struct data_row *row, struct extent_cursor *c)
{
	int err;

	if (row->from % GRID == 0)
		return 0;
	err = extent_seek_prev(c, row->from - 1);
	while (!err && c->valid && c->end >= row->from && data_row_take(row, c, true) &&
	       row->from % GRID)
		err = extent_prev(c);
	return err;
}

static int data_row_forward(struct data_row *row, struct extent_cursor *c)
{
	int err;

	if (row->to % GRID == 0)
		return 0;
	err = extent_seek(c, row->to);
	while (!err && c->valid && c->start <= row->to && data_row_take(row, c, false) &&
	       row->to % GRID)
		err = extent_next(c);
	return err;
}

/* ---- writing ---- */

struct data_write {
	struct lsm_batch *batch;
	uint64_t ino, from, to;
	const unsigned char *data;
	bool append;
	bool one_piece;
	struct data_row head, tail; /* the first and the last piece; the tail unused if one_piece */
	struct extent_cursor c;     /* if there is anything to look up */
};

static bool data_row_is_small(const struct data_row *row)
{
	return row->to - row->from < SMALL;
}

static void data_write_init(struct data_write *w)
{
	uint64_t head_to = extent_min(w->to, extent_grid_ceil(w->from + 1));

	w->one_piece = head_to == w->to;
	w->head = data_row_of(w->from, head_to, w->append && head_to % GRID == 0);
	if (!w->one_piece)
		w->tail = data_row_of(extent_grid_floor(w->to - 1), w->to, false);
}

/* Find out what is folded into the first and the last piece. */
static int data_write_fold(struct data_write *w)
{
	struct data_row *last = w->one_piece ? &w->head : &w->tail;
	bool forward = !w->append && data_row_is_small(last);
	int err = 0;

	if (data_row_is_small(&w->head))
		err = data_row_back(&w->head, &w->c);
	if (!err && forward)
		err = data_row_forward(last, &w->c);
	return err;
}

/* Put the extent [from, to), the new bytes where there are any, else the old ones. */
static int data_write_merged(struct data_write *w, uint64_t from, uint64_t to)
{
	uint64_t new_from = extent_max(from, w->from), new_to = extent_min(to, w->to);
	unsigned char *buf = malloc(to - from);
	struct key k;
	int err = 0;

	if (!buf)
		return -ENOMEM;
	if (from < new_from)
		err = extent_read(&w->c, from, new_from, buf);
	if (!err && new_to < to)
		err = extent_read(&w->c, new_to, to, buf + (new_to - from));
	if (!err) {
		memcpy(buf + (new_from - from), w->data + (new_from - w->from), new_to - new_from);
		err = lsm_batch_put(w->batch, key_extent(&k, w->ino, from),
				    (struct lsm_slice){buf, to - from});
	}
	free(buf);
	return err;
}

/* Put every piece of [from, to), which is what is written and what is folded into it. */
static int data_write_pieces(struct data_write *w, uint64_t from, uint64_t to)
{
	int err = 0;

	while (!err && from < to) {
		uint64_t piece_to = extent_min(to, extent_grid_ceil(from + 1));
		struct key k;

		if (from < w->from || piece_to > w->to)
			err = data_write_merged(w, from, piece_to);
		else
			err = lsm_batch_put_borrowed(
				w->batch, key_extent(&k, w->ino, from),
				(struct lsm_slice){w->data + (from - w->from), piece_to - from});
		from = piece_to;
	}
	return err;
}

int data_write(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t offset,
	       const void *data, size_t size, uint64_t end, int64_t *delta)
{
	struct data_write w = {
		.batch = batch,
		.ino = ino,
		.from = offset,
		.to = offset + size,
		.data = data,
		.append = offset >= end,
	};
	uint64_t from, to;
	int err;

	*delta = 0;
	if (!size)
		return 0;
	if (offset > OFFSET_MAX || size > OFFSET_MAX - offset)
		return -EFBIG;
	data_write_init(&w);
	if (w.append && (!data_row_is_small(&w.head) || w.from % GRID == 0)) {
		*delta = (int64_t)size;
		return data_write_pieces(&w, w.from, w.to);
	}

	err = extent_open(&w.c, fs, ino, extent_grid_floor(w.from), extent_grid_ceil(w.to));
	if (err)
		return err;
	err = data_write_fold(&w);
	if (err)
		goto out;
	from = w.head.best_from;
	to = w.one_piece ? w.head.best_to : w.tail.best_to;
	*delta = (int64_t)(to - from);
	if (!w.append || from < w.from)
		err = data_cut(&w.c, batch, from, to, true, delta);
	if (!err)
		err = data_write_pieces(&w, from, to);
out:
	extent_close(&w.c);
	return err;
}

/* ---- sharing ---- */

/* Put [start, end) of the source's extent under the keys of the target, cut at its grid. */
static int data_clone_extent(struct lsm_batch *batch, const struct extent_cursor *c, uint64_t start,
			     uint64_t end, uint64_t to, uint64_t to_start)
{
	int err = 0;

	while (!err && start < end) {
		uint64_t size = extent_min(end - start, GRID - to_start % GRID);
		struct key k;

		err = lsm_batch_put_slice(batch, key_extent(&k, to, to_start), c->it,
					  start - c->start, size);
		start += size;
		to_start += size;
	}
	return err;
}

int data_clone(struct fs *fs, struct lsm_batch *batch, uint64_t from, uint64_t from_offset,
	       uint64_t to, uint64_t to_offset, uint64_t size, int64_t *delta)
{
	uint64_t from_end = from_offset + size;
	struct extent_cursor c;
	int err;

	*delta = 0;
	if (!size)
		return 0;
	if (extent_max(from_offset, to_offset) > OFFSET_MAX ||
	    size > OFFSET_MAX - extent_max(from_offset, to_offset))
		return -EINVAL;
	err = data_punch_range(fs, batch, to, to_offset, to_offset + size, delta);
	if (err)
		return err;
	err = extent_open(&c, fs, from, extent_grid_floor(from_offset), from_end);
	if (err)
		return err;
	err = extent_seek(&c, from_offset);
	while (!err && c.valid && c.start < from_end) {
		uint64_t start = extent_max(c.start, from_offset),
			 end = extent_min(c.end, from_end);

		err = data_clone_extent(batch, &c, start, end, to,
					to_offset + (start - from_offset));
		*delta += (int64_t)(end - start);
		if (!err)
			err = extent_next(&c);
	}
	extent_close(&c);
	return err;
}

/* ---- checking ---- */

int data_check(struct fs *fs, const struct lsm_snapshot *snapshot, uint64_t ino, uint64_t size,
	       data_finding_fn *finding, void *ctx, uint64_t *stored, uint64_t *lost)
{
	struct key lower, upper;
	struct lsm_iter_options options = {
		.snapshot = snapshot,
		.lower = key_extent(&lower, ino, 0),
		.upper = extent_key_above(&upper, ino),
		.no_cache = true,
	};
	uint64_t last_end = 0, count = 0;
	struct lsm_iter *it;
	int err = 0;

	*stored = *lost = 0;
	it = lsm_iter_new(fs->lsm, &options);
	if (!it)
		return -ENOMEM;
	for (lsm_iter_first(it); !err && lsm_iter_valid(it); lsm_iter_next(it)) {
		uint64_t start, bytes;
		const char *text = extent_decode(it, &start, &bytes);
		uint64_t end = text ? 0 : start + bytes;

		*stored += bytes;
		*lost += lsm_iter_lost(it) ? bytes : 0;
		if (!text && start < last_end)
			text = EXTENT_OVERLAP;
		if (!text && end > size)
			text = "an extent reaches beyond the end of the file";
		if ((text || ++count % ASK_EVERY == 0) && finding(ctx, start, text))
			err = -EINTR;
		last_end = extent_max(last_end, end);
	}
	if (!err)
		err = lsm_iter_status(it);
	lsm_iter_free(it);
	return err;
}
