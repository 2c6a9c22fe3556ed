/*
 * count.c - the number of inodes in use. It is exact also after a crash, and costs a create
 * nothing.
 *
 * A clean close writes the number under 'S' "count". The next open takes it and
 * deletes the key before anything else is written, so it is never there beside
 * a number that is out of date. Without it (the last process was killed) a
 * thread counts all records once, under a snapshot taken before the first
 * write. What is made and removed meanwhile is added to the same counter, so
 * when the thread is done the sum is right again. Until then statfs shows too
 * little, and count_wait() waits for the exact number.
 *
 * What has a name is counted. A file that was unlinked but is open is not.
 */
#include "fs/count.h"

#include <errno.h>

/* Add up the records under `kind`. */
static int count_kind(struct fs *fs, enum key_kind kind)
{
	unsigned char lower = (unsigned char)kind, upper = lower + 1;
	struct lsm_iter_options o = {.snapshot = fs->count.snapshot,
				     .lower = {&lower, 1},
				     .upper = {&upper, 1},
				     .no_cache = true};
	struct lsm_iter *it = lsm_iter_new(fs->lsm, &o);
	int err = it ? 0 : -ENOMEM;
	int64_t n = 0;

	if (!it)
		return err;
	for (lsm_iter_first(it); !err && lsm_iter_valid(it); lsm_iter_next(it)) {
		unsigned char first = RECORD_INODE;

		if (atomic_load_explicit(&fs->count.stop, memory_order_relaxed))
			err = -EINTR;
		else if (kind == KEY_NAME && lsm_iter_size(it))
			err = lsm_iter_read(it, 0, &first, 1);
		n += !err && first == RECORD_INODE;
	}
	if (!err)
		err = lsm_iter_status(it);
	lsm_iter_free(it);
	if (!err)
		atomic_fetch_add(&fs->count.files, n);
	return err;
}

static void *count_main(void *arg)
{
	struct fs *fs = arg;
	int err;

	err = count_kind(fs, KEY_INODE);
	if (!err)
		err = count_kind(fs, KEY_NAME);
	lsm_snapshot_drop(fs->lsm, fs->count.snapshot);
	fs->count.snapshot = NULL;
	fs->count.error = err;
	if (err && err != -EINTR)
		fs_report(fs, LSM_REPORT_WARNING, "cannot count the files in use");
	return NULL;
}

int count_open(struct fs *fs)
{
	struct lsm_value value = {0};
	struct lsm_batch *b = NULL;
	int err;

	err = mutex_init(&fs->count.join_lock, LOCK_COUNT_JOIN);
	if (err)
		return err;
	err = lsm_get(fs->lsm, NULL, SLICE(SUPER_COUNT), &value);
	if (!err && value.size == 8) {
		atomic_store(&fs->count.files, (int64_t)key_get_u64(value.data));
		if (!fs->read_only) {
			b = fs_batch_get(fs);
			err = b ? lsm_batch_delete(b, SLICE(SUPER_COUNT)) : -ENOMEM;
			if (!err)
				err = fs_commit(fs, b, LSM_FREES);
		}
	} else if (err >= 0 || err == -EUCLEAN) {
		/* Not there, or damaged: counting mends it. */
		fs->count.snapshot = lsm_snapshot_take(fs->lsm);
		err = fs->count.snapshot ? 0 : -ENOMEM;
		if (!err)
			err = -pthread_create(&fs->count.thread, NULL, count_main, fs);
		if (!err)
			fs->count.running = true;
		else if (fs->count.snapshot)
			lsm_snapshot_drop(fs->lsm, fs->count.snapshot);
	}
	fs_batch_put(fs, b);
	lsm_value_release(&value);
	if (err)
		mutex_destroy(&fs->count.join_lock);
	return err;
}

int count_wait(struct fs *fs)
{
	mutex_lock(&fs->count.join_lock);
	if (fs->count.running)
		pthread_join(fs->count.thread, NULL);
	fs->count.running = false;
	mutex_unlock(&fs->count.join_lock);
	return fs->count.error;
}

void count_close(struct fs *fs)
{
	struct lsm_batch *b;
	unsigned char bytes[8];

	atomic_store(&fs->count.stop, true);
	if (!count_wait(fs) && !fs->read_only) {
		key_put_u64(bytes, count_files(fs));
		b = fs_batch_get(fs);
		/* If this fails, the next open counts. */
		if (b && !lsm_batch_put(b, SLICE(SUPER_COUNT), (struct lsm_slice){bytes, 8}))
			(void)fs_commit(fs, b, 0);
		fs_batch_put(fs, b);
	}
	mutex_destroy(&fs->count.join_lock);
}
