/*
 * reserve.c - disk space that is kept aside.
 *
 * On a full disk flush and compaction need space before they can set any free. The file
 * RESERVE holds some. Half of it is dropped when they meet ENOSPC. While it is gone, writers
 * that do not free anything get ENOSPC. It grows again with whatever becomes free, before
 * other users of the disk take that.
 *
 * The other half stays until the next open, which has to write a memtable to a table before it
 * can delete that memtable's log. So each half has the size of a memtable, and some more for
 * logs and manifests. tree_open.c keeps memtables small enough for the disk.
 */
#include "lsm/reserve.h"

#include <assert.h>

#include "lsm/dead.h"

#define RESERVE_BYTES_MORE (4u << 20) /* for logs and manifests, beside a memtable */
#define RESERVE_PART_MAX 8u           /* one part in so many of the disk, at most */

void reserve_note_full(struct lsm *lsm)
{
	mutex_lock(&lsm->mu);
	if (!lsm->no_space)
		report(&lsm->report, LSM_REPORT_WARNING,
		       "the disk of the store is full: writes fail until space is freed");
	lsm->no_space = true;
	cond_broadcast(&lsm->work);
	mutex_unlock(&lsm->mu);
}

/*
 * Make the file as large as `bytes`. Once it has half, make it as large as the disk allows.
 * -ENOSPC: it is smaller than `bytes`, or the disk was full and has little room beside it.
 */
static int reserve_grow(struct lsm *lsm, struct storage_file *f, uint64_t bytes,
			uint64_t free_bytes)
{
	uint64_t size, held, want = bytes;
	int err = f->st->ops->size(f, &size, &held);

	if (err)
		return err;
	if (held + free_bytes < bytes) {
		if (held < bytes / 2)
			return -ENOSPC;
		want = held + free_bytes - free_bytes / 8;
	}
	if (want > size) {
		err = f->st->ops->allocate(f, want);
		if (err) /* it may have found room for a part of it */
			f->st->ops->truncate(f, size);
	}
	/* Full is full for a while, or each freed byte would let a writer in again. */
	if (!err && (want < bytes ||
		     (atomic_load(&lsm->no_space) && held + free_bytes < bytes + bytes / 2)))
		err = -ENOSPC;
	return err;
}

/* The whole size of the reserve. */
static uint64_t reserve_bytes(const struct lsm *lsm, uint64_t disk_bytes)
{
	uint64_t bytes = 2 * (lsm->opt.memtable_bytes + RESERVE_BYTES_MORE);

	return bytes < disk_bytes / RESERVE_PART_MAX ? bytes : disk_bytes / RESERVE_PART_MAX;
}

void reserve_renew(struct lsm *lsm)
{
	uint64_t free_bytes, total;
	struct storage_file *f;
	bool there;
	int err;

	mutex_lock(&lsm->mu);
	there = lsm->reserve_there && !lsm->no_space;
	mutex_unlock(&lsm->mu);
	if (there || lsm->opt.read_only || lsm->repair ||
	    lsm->st->ops->space(lsm->st, &free_bytes, &total))
		return;
	err = storage_open_file(lsm->st, RESERVE_NAME, STORAGE_WRITE, &f);
	if (err == -ENOENT)
		err = storage_open_file(lsm->st, RESERVE_NAME, STORAGE_CREATE, &f);
	if (!err) {
		err = reserve_grow(lsm, f, reserve_bytes(lsm, total), free_bytes);
		storage_close(f);
	}
	if (err == -ENOSPC)
		reserve_note_full(lsm);
	if (err)
		return;
	mutex_lock(&lsm->mu);
	lsm->reserve_there = true;
	if (lsm->no_space)
		report(&lsm->report, LSM_REPORT_INFO, "the disk has room again");
	lsm->no_space = false;
	cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
}

/* Shrink the reserve to half. The other half is kept for the next open. */
static bool reserve_shrink(struct lsm *lsm)
{
	uint64_t size = 0, half = 0, free_bytes, total;
	struct storage_file *f;
	int err = storage_open_file(lsm->st, RESERVE_NAME, STORAGE_WRITE, &f);

	if (err)
		return false;
	err = f->st->ops->size(f, &size, NULL);
	if (!err)
		err = lsm->st->ops->space(lsm->st, &free_bytes, &total);
	if (!err)
		half = reserve_bytes(lsm, total) / 2;
	if (!err && size > half)
		err = f->st->ops->truncate(f, half);
	storage_close(f);
	return !err && size > half;
}

bool reserve_drop(struct lsm *lsm)
{
	uint64_t spare;

	mutex_lock(&lsm->mu);
	lsm->reserve_there = false;
	spare = lsm->spare_log;
	lsm->spare_log = 0;
	mutex_unlock(&lsm->mu);
	reserve_note_full(lsm);
	if (spare)
		dead_file_add(lsm, FILE_LOG, spare);
	/* Dead values in the segment that is written to could not be freed otherwise. */
	segments_seal(lsm->segments, 0);
	dead_files_unlink(lsm);
	return reserve_shrink(lsm) || spare;
}

void reserve_remove(struct lsm *lsm)
{
	assert(!lsm->threads_started);
	lsm->st->ops->unlink(lsm->st, RESERVE_NAME);
}
