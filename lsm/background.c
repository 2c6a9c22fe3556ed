/*
 * background.c - the three threads behind the writers.
 *
 * The flusher writes waiting memtables to level 0, oldest first. The compactor picks and
 * carries out compactions, and collects segments when there is nothing to compact. The
 * committer syncs what is older than the commit interval, renews the reserve, and rotates a
 * memtable whose tombstones should reach the tables beneath them, so that the space of what
 * was deleted comes back within seconds.
 */
#include "lsm/background.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "lsm/compact.h"
#include "lsm/dead.h"
#include "lsm/flush.h"
#include "lsm/gc.h"
#include "lsm/reserve.h"
#include "lsm/snapshot.h"
#include "lsm/tree_manifest.h"
#include "lsm/view.h"
#include "lsm/write.h"

#define TOMBSTONES_FLUSH_MS 1500 /* many tombstones wait this long in memory */
#define RETRY_MS 1000

/* Set `t` to `ms` milliseconds from now. */
static void background_deadline(struct timespec *t, unsigned ms)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += ms / 1000;
	t->tv_nsec += (long)(ms % 1000) * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_nsec -= 1000000000;
		t->tv_sec++;
	}
}

/*
 * Note how `what`, a flush or compaction, ended, in `*slot`. An error is reported when it is
 * new there. Returns whether to try again at once: there was no space, and some was set free.
 */
static bool background_note(struct lsm *lsm, int err, int *slot, const char *what)
{
	bool again = err == -ENOSPC && reserve_drop(lsm);

	mutex_lock(&lsm->mu);
	if (err == -ECANCELED || again)
		err = 0;
	/* The failure that makes the tree read-only is reported by tree_fail(). */
	if (err && !atomic_load(&lsm->failed) && *slot != err)
		report(&lsm->report, LSM_REPORT_ERROR, "%s failed: %s", what, strerror(-err));
	*slot = err;
	cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
	return again;
}

static void *background_flusher(void *arg)
{
	struct lsm *lsm = arg;
	struct timespec until;
	bool did, failing = false;
	int err;

	for (;;) {
		mutex_lock(&lsm->mu);
		background_deadline(&until, RETRY_MS);
		if (failing && !lsm->stop)
			cond_wait_until(&lsm->work, &lsm->mu, &until);
		while (!lsm->stop && lsm->view->memlogs_count < 2)
			cond_wait(&lsm->work, &lsm->mu);
		if (lsm->stop) {
			mutex_unlock(&lsm->mu);
			return NULL;
		}
		mutex_unlock(&lsm->mu);
		err = flush_oldest(lsm, &did);
		failing = err && !background_note(lsm, err, &lsm->flush_error, "writing a table");
		if (!err)
			background_note(lsm, 0, &lsm->flush_error, "");
	}
}

/* Note whether damage keeps level 0 from being compacted. */
static void background_note_stuck(struct lsm *lsm, bool stuck)
{
	mutex_lock(&lsm->mu);
	if (stuck && !lsm->l0_stuck)
		report(&lsm->report, LSM_REPORT_ERROR,
		       "damage keeps new tables from being compacted: copy what you need to "
		       "another store before this one is full");
	lsm->l0_stuck = stuck;
	cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
}

/* Carry out one compaction, if there is any, or one step of collecting segments. */
static int background_compact(struct lsm *lsm, bool *did)
{
	struct pick_options o = {
		.level1_bytes = lsm->opt.level1_bytes,
		.segment_factor = 32, /* 1 GiB of separated bytes in a level 1 of 32 MiB */
		.table_bytes = lsm->opt.table_bytes,
		.l0_compact = lsm->opt.l0_compact,
		.now_s = tree_now_s(),
		.tombstone_age_s = 600,
		.tombstones_min = atomic_load(&lsm->no_space) ? 1 : 64,
		.oldest_snapshot = snapshot_oldest(lsm),
	};
	struct buf cursors[LSM_LEVELS] = {0};
	struct view *view;
	struct pick p = {0};
	int err = 0;

	mutex_lock(&lsm->compact_mu);
	mutex_lock(&lsm->mu);
	for (unsigned l = 0; l < LSM_LEVELS; l++) {
		err = err ? err : buf_add(&cursors[l], lsm->cursor[l].data, lsm->cursor[l].size);
		o.cursor[l] = buf_slice(&cursors[l]);
	}
	mutex_unlock(&lsm->mu);
	view = view_current(lsm);
	if (!err)
		err = version_pick(view->version, &o, &p);
	if (!err)
		background_note_stuck(lsm, p.l0_stuck);
	*did = !err && p.reason != PICK_NONE;
	if (*did)
		err = compact_pick(lsm, view->version, &p, NULL, 0);
	if (*did && err == -EUCLEAN)
		err = 0; /* it was reported; the next pick is another one */
	pick_release(&p);
	view_unref(view);
	if (!err && !*did)
		err = gc_step(lsm, did);
	mutex_unlock(&lsm->compact_mu);
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		buf_release(&cursors[l]);
	dead_files_unlink(lsm);
	return err;
}

static void *background_compactor(void *arg)
{
	struct lsm *lsm = arg;
	struct timespec until;
	bool did = true;
	int err = 0;

	for (;;) {
		mutex_lock(&lsm->mu);
		if (!lsm->stop && (err || !did)) {
			background_deadline(&until, RETRY_MS);
			cond_wait_until(&lsm->work, &lsm->mu, &until);
		}
		if (lsm->stop) {
			mutex_unlock(&lsm->mu);
			return NULL;
		}
		mutex_unlock(&lsm->mu);
		err = background_compact(lsm, &did);
		if (!err)
			err = tree_manifest_tidy(lsm);
		if (background_note(lsm, err, &lsm->compact_error, "compaction"))
			err = 0;
	}
}

static void *background_committer(void *arg)
{
	unsigned tick_ms, waited_ms = 0, commit_ms = 0;
	struct lsm *lsm = arg;
	struct timespec until;
	bool many;

	tick_ms = lsm->opt.commit_interval_ms < 500 ? lsm->opt.commit_interval_ms : 500;
	for (;;) {
		mutex_lock(&lsm->mu);
		background_deadline(&until, tick_ms);
		while (!lsm->stop && cond_wait_until(&lsm->tick, &lsm->mu, &until) != -ETIMEDOUT)
			;
		many = lsm->tombstones_pending >= (lsm->no_space ? 1 : TOMBSTONES_MANY);
		if (lsm->stop) {
			mutex_unlock(&lsm->mu);
			return NULL;
		}
		mutex_unlock(&lsm->mu);
		reserve_renew(lsm);
		waited_ms = many ? waited_ms + tick_ms : 0;
		if (waited_ms >= TOMBSTONES_FLUSH_MS) {
			waited_ms = 0;
			/* The next write meets and returns any other failure. */
			if (write_rotate(lsm) == -ENOSPC)
				(void)reserve_drop(lsm);
		}
		commit_ms += tick_ms;
		if (commit_ms >= lsm->opt.commit_interval_ms) {
			commit_ms = 0;
			/* A failed sync makes the tree read-only, and has been reported. */
			if (tree_sequence(lsm) > atomic_load(&lsm->sequence_synced))
				(void)lsm_sync(lsm);
		}
	}
}

/* Make the threads that run end, and wait for them. */
static void background_join(struct lsm *lsm, bool compactor, bool committer)
{
	mutex_lock(&lsm->mu);
	lsm->stop = true;
	cond_broadcast(&lsm->work);
	cond_broadcast(&lsm->tick);
	cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
	pthread_join(lsm->flusher, NULL);
	if (compactor)
		pthread_join(lsm->compactor, NULL);
	if (committer)
		pthread_join(lsm->committer, NULL);
}

int background_start(struct lsm *lsm)
{
	bool compactor = false;
	int err;

	assert(!lsm->threads_started && !lsm->opt.read_only);
	err = pthread_create(&lsm->flusher, NULL, background_flusher, lsm);
	if (err)
		return -err;
	err = pthread_create(&lsm->compactor, NULL, background_compactor, lsm);
	compactor = !err;
	if (!err)
		err = pthread_create(&lsm->committer, NULL, background_committer, lsm);
	lsm->threads_started = !err;
	if (err)
		background_join(lsm, compactor, false);
	return -err;
}

void background_stop(struct lsm *lsm)
{
	if (!lsm->threads_started)
		return;
	atomic_store(&lsm->stopping, true);
	background_join(lsm, true, true);
	lsm->threads_started = false;
	atomic_store(&lsm->stopping, false);
}
