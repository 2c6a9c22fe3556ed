/*
 * core.c - what every part of fs/ uses: reports, batches, inode numbers.
 */
#include "fs/core.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * So many numbers are set aside with one write; after a crash they are never
 * used. Few enough not to matter out of 2^64, many enough that a create seldom
 * writes more than itself.
 */
#define INO_STEP 4096u
/* A batch that had more in it keeps that memory; it is freed instead of kept. */
#define BATCH_KEEP_BYTES (64u << 10)

void fs_report(struct fs *fs, enum lsm_report_level level, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (!fs->report)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fs->report(fs->report_ctx, level, text);
}

int fs_corrupt(struct fs *fs, struct lsm_slice key, const char *why)
{
	const unsigned char *k = key.data;
	uint64_t ino = key.size >= 9 ? key_get_u64(k + 1) : 0;

	if (key.size > 9 && k[0] == KEY_NAME)
		fs_report(fs, LSM_REPORT_ERROR, "damaged: name \"%.*s\" in directory %llu: %s",
			  (int)(key.size - 9), (const char *)k + 9, (unsigned long long)ino, why);
	else if (key.size == 17 && k[0] == KEY_EXTENT)
		fs_report(fs, LSM_REPORT_ERROR, "damaged: content of inode %llu at byte %llu: %s",
			  (unsigned long long)ino, (unsigned long long)key_get_u64(k + 9), why);
	else
		fs_report(fs, LSM_REPORT_ERROR, "damaged: record '%c' of inode %llu: %s",
			  key.size ? k[0] : '?', (unsigned long long)ino, why);
	return -EUCLEAN;
}

struct lsm_batch *fs_batch_get(struct fs *fs)
{
	struct lsm_batch *b = NULL;

	mutex_lock(&fs->pool_lock);
	if (fs->pool_count)
		b = fs->pool[--fs->pool_count];
	mutex_unlock(&fs->pool_lock);
	return b ? b : lsm_batch_new();
}

void fs_batch_put(struct fs *fs, struct lsm_batch *b)
{
	bool small;

	if (!b)
		return;
	small = lsm_batch_bytes(b) <= BATCH_KEEP_BYTES;
	lsm_batch_clear(b);
	if (small) {
		mutex_lock(&fs->pool_lock);
		if (fs->pool_count < BATCH_POOL) {
			fs->pool[fs->pool_count++] = b;
			b = NULL;
		}
		mutex_unlock(&fs->pool_lock);
	}
	lsm_batch_free(b);
}

int fs_commit(struct fs *fs, struct lsm_batch *b, unsigned flags)
{
	return lsm_batch_count(b) ? lsm_write(fs->lsm, b, flags) : 0;
}

int fs_finish(struct fs *fs, int err, bool sync)
{
	if (!err && (sync || fs->sync) && !fs->read_only)
		err = lsm_sync(fs->lsm);
	return fs_errno(err);
}

/* ---- inode numbers ---- */

int fs_ino_new(struct fs *fs, uint64_t *ino)
{
	int err = 0;

	*ino = 0;
	mutex_lock(&fs->ino_lock);
	if (fs->ino_next >= fs->ino_bound) {
		struct lsm_batch *b = fs_batch_get(fs);
		unsigned char bytes[8];

		key_put_u64(bytes, fs->ino_next + INO_STEP);
		err = b ? lsm_batch_put(b, SLICE(SUPER_NEXT), (struct lsm_slice){bytes, 8}) :
			  -ENOMEM;
		/* Order makes this safe without a sync: what uses a number comes later. */
		if (!err)
			err = fs_commit(fs, b, 0);
		if (!err)
			fs->ino_bound = fs->ino_next + INO_STEP;
		fs_batch_put(fs, b);
	}
	if (!err)
		*ino = fs->ino_next++;
	mutex_unlock(&fs->ino_lock);
	return err;
}
