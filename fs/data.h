/*
 * data.h - the bytes of files too large for their record: extents.
 *
 * The key of an extent is (inode, offset), its value the bytes from there on.
 * Extents of a file never overlap; what lies between them is a hole and reads
 * as zeros. Nothing here knows a file's size: callers clamp to it.
 *
 * Functions that change something only add to `batch`. Nothing happens until the caller writes
 * it. A batch may hold one of these calls for each range of an inode, as they look at the store
 * and not at the batch. After an error a batch may hold part of the work: the caller drops it.
 * `*delta` gets the change of the bytes stored. Values are borrowed: `data` must stay until the
 * batch was written. The caller holds the inode's lock, for a change exclusively.
 * All return 0; -ENOMEM; -EUCLEAN, reported, when they meet an extent that breaks the rules or that
 * was lost; or an error of the tree.
 */
#ifndef FS_DATA_H
#define FS_DATA_H

#include "fs/extent.h"

#define DATA_SEEK_BYTES 4096u /* what a file reports as its block size: a hole is not smaller */

static inline uint64_t data_seek_floor(uint64_t offset)
{
	return offset - offset % DATA_SEEK_BYTES;
}

int data_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size);

/*
 * Write `size` bytes at `offset`. `end` is a bound: no extent of the file
 * reaches beyond it (so an append needs no look-up). May fold small neighbours
 * into larger extents.
 */
int data_write(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t offset,
	       const void *data, size_t size, uint64_t end, int64_t *delta);

/* Make [offset, offset + size) a hole, exactly. */
int data_punch(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t offset, uint64_t size,
	       int64_t *delta);

/* Drop everything at and beyond `size`. */
int data_truncate(struct fs *fs, struct lsm_batch *batch, uint64_t ino, uint64_t size,
		  int64_t *delta);

/* Drop everything of the inode, in one record, without looking (the store needs no reading). */
int data_drop(struct lsm_batch *batch, uint64_t ino);

/*
 * The first byte at or after `offset` that is data (`hole` false) or in a hole
 * (`hole` true; always found), by blocks of DATA_SEEK_BYTES: one with a byte of
 * data in it is data. Returns 0; LSM_ABSENT if there is no more data.
 */
int data_seek(struct fs *fs, uint64_t ino, uint64_t offset, bool hole, uint64_t *out);

/*
 * Make [to_offset, + size) of `to` what [from_offset, + size) of `from` is,
 * holes included, sharing what is in segments. The ranges do not overlap.
 */
int data_clone(struct fs *fs, struct lsm_batch *batch, uint64_t from, uint64_t from_offset,
	       uint64_t to, uint64_t to_offset, uint64_t size, int64_t *delta);

/*
 * Check the extents of `ino` under `snapshot` (NULL: as they are now): none overlaps
 * the next, none reaches beyond `size`. `*stored` is their sum in bytes, `*lost` that of the
 * lost ones. `finding` is called for each that breaks a rule, and now and then with `text` NULL.
 * If it returns non-zero, the check ends with -EINTR.
 */
typedef int data_finding_fn(void *ctx, uint64_t offset, const char *text);
int data_check(struct fs *fs, const struct lsm_snapshot *snapshot, uint64_t ino, uint64_t size,
	       data_finding_fn *finding, void *ctx, uint64_t *stored, uint64_t *lost);

#endif
