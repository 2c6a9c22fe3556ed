/*
 * flush.c - writing memtables to tables of level 0, oldest first, so that the tables of level 0
 * are in the order of their entries' sequences.
 */
#include "lsm/flush.h"

#include "lsm/apply.h"
#include "lsm/compact_write.h"
#include "lsm/dead.h"
#include "lsm/sync.h"
#include "lsm/view.h"
#include "lsm/write.h"

static int flush_copy_range(void *ctx, uint64_t sequence, struct lsm_slice start,
			    struct lsm_slice end)
{
	return rangedel_add(ctx, sequence, start, end);
}

/* Write a memtable to a table, which the edit then adds. */
static int flush_write(struct lsm *lsm, struct memlog *m, struct version_edit *e)
{
	struct compact_job job = {.lsm = lsm, .created_s = m->created_s, .edit = e};
	int err;

	job.input = memtable_iter(m->mem);
	job.ranges = rangedel_new();
	err = job.input && job.ranges ? 0 : -ENOMEM;
	if (!err)
		err = memtable_each_range(m->mem, flush_copy_range, job.ranges);
	if (!err)
		err = rangedel_finish(job.ranges);
	if (!err)
		err = compact_write(&job);
	/* The values that the table refers to must be as durable as the table. */
	if (!err)
		err = tree_sync_segments(lsm);
	iter_free(job.input);
	rangedel_free(job.ranges);
	return err;
}

/*
 * The log of a memlog is not needed any more: keep one to be recycled. Never keep one that was
 * found at open: if a sync of it failed before, its size on disk may not be what it seems.
 */
static void flush_retire_log(struct lsm *lsm, const struct memlog *m)
{
	bool kept;

	mutex_lock(&lsm->mu);
	kept = m->log && !lsm->spare_log && !lsm->no_space;
	if (kept)
		lsm->spare_log = m->log_number;
	mutex_unlock(&lsm->mu);
	if (!kept)
		dead_file_add(lsm, FILE_LOG, m->log_number);
}

int flush_oldest(struct lsm *lsm, bool *did)
{
	struct view *view = view_current(lsm);
	struct memlog *m = view->memlogs[view->memlogs_count - 1];
	struct version_edit e = {0};
	int err;

	*did = view->memlogs_count > 1;
	if (!*did) {
		view_unref(view);
		return 0;
	}
	memlog_ref(m);
	e.has_log = true;
	e.log_number = view->memlogs[view->memlogs_count - 2]->log_number;
	e.sequence_flushed = atomic_load(&m->sequence_last);
	/* An empty memlog says nothing about sequences. */
	if (!e.sequence_flushed) {
		mutex_lock(&lsm->mu);
		e.sequence_flushed = lsm->sequence_flushed;
		mutex_unlock(&lsm->mu);
	}
	view_unref(view);
	err = flush_write(lsm, m, &e);
	if (!err)
		err = apply_edit(lsm, &e, m);
	if (!err) {
		atomic_fetch_add(&lsm->flushes, 1);
		sync_note(lsm, e.sequence_flushed);
		flush_retire_log(lsm, m);
	}
	version_edit_release(&e);
	memlog_unref(m);
	dead_files_unlink(lsm);
	return err;
}

int flush_waiting(struct lsm *lsm)
{
	bool did = true;
	int err = 0;

	while (!err && did)
		err = flush_oldest(lsm, &did);
	return err;
}

int lsm_flush(struct lsm *lsm)
{
	uint64_t log;
	int err;

	if (lsm->opt.read_only)
		return -EROFS;
	err = write_rotate(lsm);
	if (err)
		return err;
	mutex_lock(&lsm->mu);
	log = lsm->view->memlogs[0]->log_number;
	lsm->flush_error = 0;
	cond_broadcast(&lsm->work);
	while (!lsm->flush_error && !atomic_load(&lsm->failed) && lsm->view->memlogs_count > 1 &&
	       lsm->view->memlogs[lsm->view->memlogs_count - 1]->log_number < log)
		cond_wait(&lsm->changed, &lsm->mu);
	err = lsm->flush_error ? lsm->flush_error : atomic_load(&lsm->failed) ? -EROFS : 0;
	mutex_unlock(&lsm->mu);
	return err;
}
