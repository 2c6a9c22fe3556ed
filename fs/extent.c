/*
 * extent.c - extents: their rules, and going over those of one file.
 *
 * The rules of extents
 *
 * An extent is one entry of the tree: the key 'D' ino64 offset64, the value the
 * bytes of the file from `offset` on. Of one file's extents it always holds:
 *
 *   1. None is empty.
 *   2. None crosses a multiple of DATA_EXTENT_BYTES_MAX (the grid); so none is
 *      larger than that, and no extent before a multiple reaches past it.
 *   3. None reaches beyond 2^63 - 1, the largest size of a file.
 *   4. None reaches past the start of the next; what lies between is a hole.
 *
 * The file's bytes 0..9 and 131072..131073 as two extents of inode 5:
 *
 *   44 0000000000000005 0000000000000000 -> 10 bytes
 *   44 0000000000000005 0000000000020000 ->  2 bytes
 *
 * Rule 2 is why a look-up is cheap: what covers byte x starts in [grid below x,
 * x], so an iterator has bounds on both sides, and reading from a multiple on
 * needs no look backwards. A store written with another grid stays valid as
 * long as the new one is a multiple of it.
 *
 * An extent that breaks a rule is damage: data_check() names it, and all others report it and
 * return -EUCLEAN when they meet it. Of two that overlap nobody can tell which bytes are the
 * newer ones. An extent may even lie inside of another, with or without more beside it, and
 * then the last one that starts before byte x says nothing about what covers x. So before a
 * seek to the middle of a cell of the grid all keys of that cell are gone over, once: what was
 * found good stays good, as every change keeps the rules. fs->cells_good remembers the last
 * cells that were found good, for 1 GiB of files, by a hash of 64 bits.
 *
 * Lost extents
 *
 * What a repair found lost is an extent too, of a value that cannot be read
 * (lsm_batch_put_lost()): it is cut, shared, overwritten and counted as any other, but
 * reading it is -EUCLEAN. Folding leaves it alone, so that a write beside it works.
 */
#include "fs/extent.h"

#include <assert.h>

struct lsm_slice extent_key_above(struct key *k, uint64_t ino)
{
	static const unsigned char tail[9] = {255, 255, 255, 255, 255, 255, 255, 255, 255};

	return key_make(k, KEY_EXTENT, ino, tail, sizeof(tail));
}

int extent_open(struct extent_cursor *c, struct fs *fs, uint64_t ino, uint64_t lower,
		uint64_t upper)
{
	struct lsm_iter_options options = {
		.lower = key_extent(&c->lower, ino, lower),
		.upper = key_extent(&c->upper, ino, upper),
	};

	c->fs = fs;
	c->ino = ino;
	c->valid = false;
	c->it = lsm_iter_new(fs->lsm, &options);
	return c->it ? 0 : -ENOMEM;
}

void extent_close(struct extent_cursor *c)
{
	lsm_iter_free(c->it);
}

const char *extent_decode(const struct lsm_iter *it, uint64_t *start, uint64_t *size)
{
	struct lsm_slice key = lsm_iter_key(it);

	*start = 0;
	*size = lsm_iter_size(it);
	if (key.size != 1 + 8 + 8)
		return "the key of an extent has a wrong size";
	*start = key_get_u64((const unsigned char *)key.data + 9);
	if (!*size)
		return "an extent is empty";
	if (*start > OFFSET_MAX || *size > OFFSET_MAX - *start)
		return "an extent reaches beyond the largest offset";
	if (*size > GRID - *start % GRID)
		return "an extent crosses the grid";
	return NULL;
}

static int extent_corrupt(struct extent_cursor *c, const char *why)
{
	c->valid = false;
	return fs_corrupt(c->fs, lsm_iter_key(c->it), why);
}

/* The iterator was moved: see where to. */
static int extent_load(struct extent_cursor *c)
{
	const char *why;
	uint64_t size;

	c->valid = lsm_iter_valid(c->it);
	if (!c->valid)
		return lsm_iter_status(c->it);
	why = extent_decode(c->it, &c->start, &size);
	if (why)
		return extent_corrupt(c, why);
	c->end = c->start + size;
	c->lost = lsm_iter_lost(c->it);
	return 0;
}

int extent_next(struct extent_cursor *c)
{
	uint64_t end = c->end;
	int err;

	assert(c->valid);
	lsm_iter_next(c->it);
	err = extent_load(c);
	if (!err && c->valid && c->start < end)
		err = extent_corrupt(c, EXTENT_OVERLAP);
	return err;
}

int extent_prev(struct extent_cursor *c)
{
	uint64_t start = c->start;
	int err;

	assert(c->valid);
	lsm_iter_prev(c->it);
	err = extent_load(c);
	if (!err && c->valid && c->end > start)
		err = extent_corrupt(c, "an extent overlaps the one behind");
	return err;
}

int extent_seek_prev(struct extent_cursor *c, uint64_t offset)
{
	struct key k;

	lsm_iter_seek_prev(c->it, key_extent(&k, c->ino, offset));
	return extent_load(c);
}

/* What stands in fs->cells_good for a cell that was found good. */
static uint64_t extent_cell_tag(uint64_t ino, uint64_t cell)
{
	uint64_t h = ino * 0x9e3779b97f4a7c15u + cell / GRID;

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	return h ? h : 1;
}

/* Go over all extents of the cell that begins at `cell`, unless it is known to be good. */
static int extent_check_cell(struct fs *fs, uint64_t ino, uint64_t cell)
{
	uint64_t tag = extent_cell_tag(ino, cell);
	_Atomic uint64_t *slot = &fs->cells_good[tag % EXTENT_CELLS_GOOD];
	struct extent_cursor c;
	struct key k;
	int err;

	if (atomic_load_explicit(slot, memory_order_relaxed) == tag)
		return 0;
	err = extent_open(&c, fs, ino, cell, cell + GRID);
	if (err)
		return err;
	lsm_iter_seek(c.it, key_extent(&k, ino, cell));
	err = extent_load(&c);
	while (!err && c.valid)
		err = extent_next(&c);
	extent_close(&c);
	if (!err)
		atomic_store_explicit(slot, tag, memory_order_relaxed);
	return err;
}

int extent_seek(struct extent_cursor *c, uint64_t offset)
{
	struct key k;
	int err;

	if (offset % GRID) {
		err = extent_check_cell(c->fs, c->ino, extent_grid_floor(offset));
		if (!err)
			err = extent_seek_prev(c, offset);
		if (err || (c->valid && c->end > offset))
			return err;
		if (c->valid)
			return extent_next(c);
	}
	lsm_iter_seek(c->it, key_extent(&k, c->ino, offset));
	return extent_load(c);
}

int extent_read(struct extent_cursor *c, uint64_t from, uint64_t to, unsigned char *buf)
{
	uint64_t pos = from;
	int err = extent_seek(c, from);

	while (!err && c->valid && c->start < to) {
		uint64_t start = extent_max(c->start, pos), end = extent_min(c->end, to);

		memset(buf + (pos - from), 0, start - pos);
		if (c->lost)
			return extent_corrupt(c, "its bytes were lost before a repair");
		err = lsm_iter_read(c->it, start - c->start, buf + (start - from), end - start);
		if (err)
			return err;
		pos = end;
		/* Also behind the last one: what overlaps it may have the right bytes. */
		err = extent_next(c);
	}
	if (!err)
		memset(buf + (pos - from), 0, to - pos);
	return err;
}
