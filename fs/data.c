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
 *           then forwards; replace the longest run in which every old extent is
 *           at most 1/RATIO (1/8) of the whole run. The nearest must be
 *           smaller than SMALL, or a tiny tail after a run of 4 KiB writes would
 *           rewrite them.
 *   close   An append that fills a grid cell to its end folds with ratio 2
 *           instead of 8: nothing more will come to make the run longer.
 *
 * Appends of 100 bytes, RATIO 8 (x: an extent of 100 bytes, X: 800):
 *
 *     xxxxxxx + x   ->  X          XxxxxxxxX...: 7 X, 7 x + x  ->  one of 6400
 *
 * Cost: a fold moves every old byte to an extent at least 8 times as large as the one
 * it was in, so a byte is moved at most log8(128 KiB / size of the writes)
 * times, and once more by the close: 100-byte appends write each byte about 5
 * times in all and leave one extent per grid cell. The walk stops at an extent
 * that is more than twice the run so far: so long as the smaller ones have not
 * added up to its size the run will not fold, and most appends look
 * at a few entries only. Where a run could not fold there are fewer than about
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
	int r;

	if (!size)
		return 0;
	if (offset > OFFSET_MAX || size > OFFSET_MAX - offset)
		return -EINVAL;
	r = extent_open(&c, fs, ino, grid_floor(offset), offset + size);
	if (r)
		return r;
	r = extent_read(&c, offset, offset + size, buf);
	extent_close(&c);
	return r;
}

int data_seek(struct fs *fs, uint64_t ino, uint64_t offset, bool hole, uint64_t *out)
{
	uint64_t at = data_seek_floor(offset);
	struct extent_cursor c;
	int r;

	*out = offset;
	if (offset >= OFFSET_MAX)
		return !hole;
	r = extent_open(&c, fs, ino, grid_floor(at), OFFSET_MAX);
	if (r)
		return r;
	r = extent_seek(&c, at);
	if (hole) {
		/* `at` is the start of a block all the way: is it data? */
		while (!r && c.valid && c.start < at + DATA_SEEK_BYTES) {
			if (c.end > at)
				at = data_seek_floor(c.end + DATA_SEEK_BYTES - 1);
			r = extent_next(&c);
		}
	} else if (!r && c.valid) {
		at = max_u64(at, data_seek_floor(c.start));
	} else if (!r) {
		r = 1;
	}
	if (!r)
		*out = min_u64(max_u64(at, offset), OFFSET_MAX);
	extent_close(&c);
	return r;
}

/* ---- cutting ---- */

/*
 * Make [from, to) a hole. With `replaced` the caller puts new extents there in
 * the same batch, one at `from` and one at each multiple of the grid: keys that
 * are put again need no delete.
 */
static int cut(struct extent_cursor *c, struct lsm_batch *batch, uint64_t from, uint64_t to,
	       bool replaced, int64_t *delta)
{
	uint64_t gone[POINT_DELETES_MAX];
	size_t gone_count = 0;
	struct key k, k2;
	int r = extent_seek(c, from);

	while (!r && c->valid && c->start < to) {
		if (c->start < from)
			r = lsm_batch_put_slice(batch, key_extent(&k, c->ino, c->start), c->it, 0,
						from - c->start);
		if (!r && c->end > to)
			r = lsm_batch_put_slice(batch, key_extent(&k, c->ino, to), c->it,
						to - c->start, c->end - to);
		if (r)
			return r;
		if (c->start >= from && !(replaced && (c->start == from || c->start % GRID == 0))) {
			if (gone_count < POINT_DELETES_MAX)
				gone[gone_count] = c->start;
			gone_count++;
		}
		*delta -= (int64_t)(min_u64(c->end, to) - max_u64(c->start, from));
		/* Also behind the last one: does it overlap what stays? */
		r = extent_next(c);
	}
	if (!r && gone_count > POINT_DELETES_MAX)
		return lsm_batch_delete_range(batch, key_extent(&k, c->ino, from),
					      key_extent(&k2, c->ino, to));
	for (size_t i = 0; !r && i < gone_count; i++)
		r = lsm_batch_delete(batch, key_extent(&k, c->ino, gone[i]));
	return r;
}

/* [from, to) a hole, as above; 0 <= from < to <= 2^63 - 1. */
static int punch(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t from, uint64_t to,
		 int64_t *delta)
{
	struct extent_cursor c;
	int r = extent_open(&c, fs, ino, grid_floor(from), grid_ceil(to));

	if (r)
		return r;
	r = cut(&c, batch, from, to, false, delta);
	extent_close(&c);
	return r;
}

int data_punch(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t offset, uint64_t size,
	       int64_t *delta)
{
	*delta = 0;
	if (!size || offset >= OFFSET_MAX)
		return 0;
	return punch(fs, batch, ino, offset, offset + min_u64(size, OFFSET_MAX - offset), delta);
}

int data_truncate(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t size,
		  int64_t *delta)
{
	*delta = 0;
	if (size >= OFFSET_MAX)
		return 0;
	return punch(fs, batch, ino, size, OFFSET_MAX, delta);
}

int data_drop(struct lsm_batch *batch, uint64_t ino)
{
	struct key start, end;

	return lsm_batch_delete_range(batch, key_extent(&start, ino, 0),
				      extent_key_above(&end, ino));
}

/* ---- folding ---- */

/* What will be one extent: the bytes of a write, and the old ones around them. */
struct run {
	uint64_t from, to;           /* as far as the walk got; contiguous, within one cell */
	uint64_t best_from, best_to; /* as far as is worth writing */
	uint64_t largest;            /* of the old extents in [from, to) */
	uint64_t ratio;
	bool walked; /* beyond what was absorbed */
};

static struct run run_of(uint64_t from, uint64_t to, bool close)
{
	return (struct run){
		.from = from,
		.to = to,
		.best_from = from,
		.best_to = to,
		.ratio = close ? RATIO_CLOSE : RATIO,
	};
}

/* May the run go on over an old extent that has `size` bytes beside it? */
static bool run_wants(const struct run *run, uint64_t size)
{
	uint64_t have = run->to - run->from;

	if (!run->walked && (size >= SMALL || have >= SMALL))
		return false;
	if (run->ratio == RATIO && size > 2 * have)
		return false;
	return size * run->ratio <= GRID;
}

/*
 * The cursor's extent overlaps or touches the run at its start (`back`) or its
 * end: take it in, or of a large one what is on that side. False: stop here.
 */
static bool run_take(struct run *run, const struct extent_cursor *c, bool back)
{
	bool overlaps = c->start < run->to && c->end > run->from;
	uint64_t size = back ? run->from - c->start : c->end - run->to;

	if (c->lost)
		return false;
	if (overlaps && c->end - c->start < SMALL) {
		run->from = min_u64(run->from, c->start);
		run->to = max_u64(run->to, c->end);
		run->best_from = min_u64(run->best_from, c->start);
		run->best_to = max_u64(run->best_to, c->end);
		return true;
	}
	if (!run_wants(run, size))
		return false;
	run->walked = true;
	run->largest = max_u64(run->largest, size);
	if (back)
		run->from = c->start;
	else
		run->to = c->end;
	if (run->to - run->from >= run->ratio * run->largest) {
		run->best_from = run->from;
		run->best_to = run->to;
	}
	return true;
}

static int run_back(struct run *run, struct extent_cursor *c)
{
	int r;

	if (run->from % GRID == 0)
		return 0;
	r = extent_seek_prev(c, run->from - 1);
	while (!r && c->valid && c->end >= run->from && run_take(run, c, true) && run->from % GRID)
		r = extent_prev(c);
	return r;
}

static int run_forward(struct run *run, struct extent_cursor *c)
{
	int r;

	if (run->to % GRID == 0)
		return 0;
	r = extent_seek(c, run->to);
	while (!r && c->valid && c->start <= run->to && run_take(run, c, false) && run->to % GRID)
		r = extent_next(c);
	return r;
}

/* ---- writing ---- */

struct write {
	struct lsm_batch *batch;
	uint64_t ino, from, to;
	const unsigned char *data;
	bool append;
	bool one_piece;
	struct run head, tail;  /* the first and the last piece; the tail unused if one_piece */
	struct extent_cursor c; /* if there is anything to look up */
};

static bool is_small(const struct run *run)
{
	return run->to - run->from < SMALL;
}

static void write_init(struct write *w)
{
	uint64_t head_to = min_u64(w->to, grid_ceil(w->from + 1));

	w->one_piece = head_to == w->to;
	w->head = run_of(w->from, head_to, w->append && head_to % GRID == 0);
	if (!w->one_piece)
		w->tail = run_of(grid_floor(w->to - 1), w->to, false);
}

/* Find out what is folded into the first and the last piece. */
static int write_fold(struct write *w)
{
	struct run *last = w->one_piece ? &w->head : &w->tail;
	bool forward = !w->append && is_small(last);
	int r = 0;

	if (is_small(&w->head))
		r = run_back(&w->head, &w->c);
	if (!r && forward)
		r = run_forward(last, &w->c);
	return r;
}

/* Put the extent [from, to), the new bytes where there are any, else the old ones. */
static int write_merged(struct write *w, uint64_t from, uint64_t to)
{
	uint64_t new_from = max_u64(from, w->from), new_to = min_u64(to, w->to);
	unsigned char *buf = malloc(to - from);
	struct key k;
	int r = 0;

	if (!buf)
		return -ENOMEM;
	if (from < new_from)
		r = extent_read(&w->c, from, new_from, buf);
	if (!r && new_to < to)
		r = extent_read(&w->c, new_to, to, buf + (new_to - from));
	if (!r) {
		memcpy(buf + (new_from - from), w->data + (new_from - w->from), new_to - new_from);
		r = lsm_batch_put(w->batch, key_extent(&k, w->ino, from),
				  (struct lsm_slice){buf, to - from});
	}
	free(buf);
	return r;
}

/* Put every piece of [from, to), which is what is written and what is folded into it. */
static int write_pieces(struct write *w, uint64_t from, uint64_t to)
{
	int r = 0;

	while (!r && from < to) {
		uint64_t piece_to = min_u64(to, grid_ceil(from + 1));
		struct key k;

		if (from < w->from || piece_to > w->to)
			r = write_merged(w, from, piece_to);
		else
			r = lsm_batch_put_borrowed(
				w->batch, key_extent(&k, w->ino, from),
				(struct lsm_slice){w->data + (from - w->from), piece_to - from});
		from = piece_to;
	}
	return r;
}

int data_write(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t offset,
	       const void *data, size_t size, uint64_t end, int64_t *delta)
{
	struct write w = {
		.batch = batch,
		.ino = ino,
		.from = offset,
		.to = offset + size,
		.data = data,
		.append = offset >= end,
	};
	uint64_t from, to;
	int r;

	*delta = 0;
	if (!size)
		return 0;
	if (offset > OFFSET_MAX || size > OFFSET_MAX - offset)
		return -EFBIG;
	write_init(&w);
	if (w.append && (!is_small(&w.head) || w.from % GRID == 0)) {
		*delta = (int64_t)size;
		return write_pieces(&w, w.from, w.to);
	}

	r = extent_open(&w.c, fs, ino, grid_floor(w.from), grid_ceil(w.to));
	if (r)
		return r;
	r = write_fold(&w);
	if (r)
		goto out;
	from = w.head.best_from;
	to = w.one_piece ? w.head.best_to : w.tail.best_to;
	*delta = (int64_t)(to - from);
	if (!w.append || from < w.from)
		r = cut(&w.c, batch, from, to, true, delta);
	if (!r)
		r = write_pieces(&w, from, to);
out:
	extent_close(&w.c);
	return r;
}

/* ---- sharing ---- */

/* Put [start, end) of the source's extent under the keys of the target, cut at its grid. */
static int clone_extent(struct lsm_batch *batch, const struct extent_cursor *c, uint64_t start,
			uint64_t end, uint64_t to, uint64_t to_start)
{
	int r = 0;

	while (!r && start < end) {
		uint64_t size = min_u64(end - start, GRID - to_start % GRID);
		struct key k;

		r = lsm_batch_put_slice(batch, key_extent(&k, to, to_start), c->it,
					start - c->start, size);
		start += size;
		to_start += size;
	}
	return r;
}

int data_clone(struct fs *fs, struct lsm_batch *batch, uint64_t from, uint64_t from_offset,
	       uint64_t to, uint64_t to_offset, uint64_t size, int64_t *delta)
{
	uint64_t from_end = from_offset + size;
	struct extent_cursor c;
	int r;

	*delta = 0;
	if (!size)
		return 0;
	if (max_u64(from_offset, to_offset) > OFFSET_MAX ||
	    size > OFFSET_MAX - max_u64(from_offset, to_offset))
		return -EINVAL;
	r = punch(fs, batch, to, to_offset, to_offset + size, delta);
	if (r)
		return r;
	r = extent_open(&c, fs, from, grid_floor(from_offset), from_end);
	if (r)
		return r;
	r = extent_seek(&c, from_offset);
	while (!r && c.valid && c.start < from_end) {
		uint64_t start = max_u64(c.start, from_offset), end = min_u64(c.end, from_end);

		r = clone_extent(batch, &c, start, end, to, to_offset + (start - from_offset));
		*delta += (int64_t)(end - start);
		if (!r)
			r = extent_next(&c);
	}
	extent_close(&c);
	return r;
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
	int r = 0;

	*stored = *lost = 0;
	it = lsm_iter_new(fs->lsm, &options);
	if (!it)
		return -ENOMEM;
	for (lsm_iter_first(it); !r && lsm_iter_valid(it); lsm_iter_next(it)) {
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
			r = -EINTR;
		last_end = max_u64(last_end, end);
	}
	if (!r)
		r = lsm_iter_status(it);
	lsm_iter_free(it);
	return r;
}
