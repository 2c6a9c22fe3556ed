/*
 * sync.c - making what was written survive power loss.
 *
 * One thread syncs at a time, for all that wait. The sync covers everything published when it
 * starts. It works in this order, so that the log on disk is never ahead of what it refers to,
 * and no log is durable before the one before it:
 *
 *   1. the segments, which the log's records refer to;
 *   2. the directory, if a log was created since;
 *   3. the logs, oldest first.
 *
 * A sync that fails is never tried again: what the kernel then holds may not be what the disk
 * holds. The tree becomes read-only, and the next open recovers.
 */
#include "lsm/sync.h"

#include "lsm/view.h"

/*
 * Sync everything up to the last published sequence, which `*reached` gets. Only the thread
 * that set `syncing` calls this.
 */
static int sync_all(struct lsm *lsm, uint64_t *reached)
{
	struct view *view = view_current(lsm);
	uint64_t last;
	int err;

	/*
	 * In this order: a write that is published after the view was taken may be in a memlog
	 * that the view does not have. Such a write's sequence is above those of the view's
	 * newest memlog.
	 */
	*reached = tree_sequence(lsm);
	last = atomic_load(&view->memlogs[0]->sequence_last);
	if (last && *reached > last)
		*reached = last;
	err = tree_sync_segments(lsm);
	if (!err && atomic_exchange(&lsm->dir_dirty, false)) {
		err = storage_sync_dir(lsm->st);
		if (err)
			atomic_store(&lsm->dir_dirty, true);
	}
	for (size_t i = view->memlogs_count; !err && i-- > 0;) {
		struct memlog *m = view->memlogs[i];

		if (!m->log || m->log_synced)
			continue;
		err = wal_sync(m->log);
		/* Older ones are not written to any more. */
		if (!err && i > 0)
			m->log_synced = true;
	}
	view_unref(view);
	return err;
}

int sync_up_to(struct lsm *lsm, uint64_t sequence)
{
	uint64_t reached = 0;
	int err = 0;

	mutex_lock(&lsm->sync_mu);
	while (!err && atomic_load(&lsm->sequence_synced) < sequence) {
		if (lsm->syncing) {
			cond_wait(&lsm->sync_done, &lsm->sync_mu);
			continue;
		}
		/* Not -EROFS: what is to be synced was written, and may be lost. */
		if (atomic_load(&lsm->failed)) {
			err = -EIO;
			break;
		}
		lsm->syncing = true;
		mutex_unlock(&lsm->sync_mu);
		err = sync_all(lsm, &reached);
		if (err)
			tree_fail(lsm, err, "syncing the log");
		mutex_lock(&lsm->sync_mu);
		lsm->syncing = false;
		if (!err && reached > atomic_load(&lsm->sequence_synced))
			atomic_store(&lsm->sequence_synced, reached);
		cond_broadcast(&lsm->sync_done);
	}
	mutex_unlock(&lsm->sync_mu);
	return err;
}

void sync_note(struct lsm *lsm, uint64_t sequence)
{
	mutex_lock(&lsm->sync_mu);
	if (sequence > atomic_load(&lsm->sequence_synced))
		atomic_store(&lsm->sequence_synced, sequence);
	cond_broadcast(&lsm->sync_done);
	mutex_unlock(&lsm->sync_mu);
}

int lsm_sync(struct lsm *lsm)
{
	if (lsm->opt.read_only)
		return 0;
	if (atomic_load(&lsm->failed))
		return -EROFS;
	return sync_up_to(lsm, tree_sequence(lsm));
}
