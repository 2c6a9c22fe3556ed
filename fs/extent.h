/*
 * extent.h - the extents of one file, one after another. See the top of extent.c.
 */
#ifndef FS_EXTENT_H
#define FS_EXTENT_H

#include "fs/core.h"

#define DATA_EXTENT_BYTES_MAX (128u << 10)

#define GRID ((uint64_t)DATA_EXTENT_BYTES_MAX)
#define OFFSET_MAX ((uint64_t)INT64_MAX)
#define SMALL 4096u /* bytes: the tree puts values of this size and more into segments */

static inline uint64_t extent_grid_floor(uint64_t offset)
{
	return offset - offset % GRID;
}

/* The first multiple above or at `offset`, which is at most 2^63 - 1. */
static inline uint64_t extent_grid_ceil(uint64_t offset)
{
	return extent_grid_floor(offset + GRID - 1);
}

static inline uint64_t extent_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t extent_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* An iterator over the extents of one file, and the one it stands on. */
struct extent_cursor {
	struct fs *fs;
	struct lsm_iter *it;
	uint64_t ino;
	struct key lower, upper;
	bool valid;
	bool lost;           /* if valid: see the top of extent.c */
	uint64_t start, end; /* if valid */
};

/* A key above those of all extents of `ino`. */
struct lsm_slice extent_key_above(struct key *k, uint64_t ino);

#define EXTENT_OVERLAP "an extent overlaps the one before"

/* What the iterator stands on. Returns NULL, or in words which of the rules it breaks. */
const char *extent_decode(const struct lsm_iter *it, uint64_t *start, uint64_t *size);

/*
 * Begin a cursor over the extents that start in [lower, upper), where `lower` is a multiple
 * of the grid or no extent before it matters. It stands on none yet. Returns 0 or -ENOMEM;
 * close it only after a success.
 */
int extent_open(struct extent_cursor *c, struct fs *fs, uint64_t ino, uint64_t lower,
		uint64_t upper);
void extent_close(struct extent_cursor *c);

/*
 * Move the cursor. `c->valid` says if there is an extent. Returns 0; -EUCLEAN, reported, where an
 * extent breaks the rules; or what the tree says.
 */
int extent_next(struct extent_cursor *c);
int extent_prev(struct extent_cursor *c);
/* To the last extent that starts at or before `offset`. */
int extent_seek_prev(struct extent_cursor *c, uint64_t offset);
/*
 * To the first extent that ends after `offset`. An overlap in the cell that `offset` is in is
 * found, wherever in it.
 */
int extent_seek(struct extent_cursor *c, uint64_t offset);

/* The file's bytes [from, to), which is within the cursor's bounds, into `buf`. */
int extent_read(struct extent_cursor *c, uint64_t from, uint64_t to, unsigned char *buf);

#endif
