/*
 * background.c - what goes on behind the writers: flushing, compaction, the
 * commit timer; and the one place where the tree's shape changes.
 *
 * Three threads. The flusher writes waiting memlogs to level 0, oldest first. The
 * compactor picks and carries out compactions, and collects segments when there
 * is nothing to compact. The committer syncs what is older than the commit
 * interval, and rotates a memtable whose tombstones should reach the tables
 * beneath them, so that the space of deleted files comes back within seconds.
 *
 * background_apply() is the switch: files synced, directory synced, edit logged
 * and synced, then the new version becomes current in memory. If logging fails
 * nobody knows whether the edit is on disk: then the old version stays current,
 * no file of either is deleted, and the next edit first starts a new manifest.
 *
 * A full disk: flush and compaction need space to give space back. A RESERVE file
 * holds some; half of it is dropped when they meet ENOSPC, writers that do not free
 * anything get ENOSPC while it is gone, and it grows again with whatever becomes free,
 * before others on the disk take that. The other half stays until the next open, which
 * has to write a memtable to a table before it can delete that one's log. So each half
 * is a memtable and something for logs and manifests, and a disk is large enough for
 * that: lsm.c sees to it.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "lsm/tree.h"

#define RESERVE_NAME "RESERVE"
#define RESERVE_BYTES_MORE (4u << 20) /* for logs and manifests, beside a memtable */
#define RESERVE_PART_MAX 8u           /* of the disk, at most */
#define MANIFEST_BYTES_MAX (4u << 20)
#define TOMBSTONES_FLUSH_MS 1500 /* many tombstones wait this long in memory */
#define RETRY_MS 1000

/* ---- files that nothing needs ---- */

void background_dead_file(struct lsm *lsm, enum file_kind kind, uint64_t number)
{
	mutex_lock(&lsm->dead_mu);
	if (lsm->dead_count == lsm->dead_room) {
		size_t room = lsm->dead_room ? lsm->dead_room * 2 : 64;
		struct dead_file *grown = realloc(lsm->dead, room * sizeof(*grown));

		if (!grown) { /* the next open deletes it */
			mutex_unlock(&lsm->dead_mu);
			return;
		}
		lsm->dead = grown;
		lsm->dead_room = room;
	}
	lsm->dead[lsm->dead_count++] = (struct dead_file){kind, number};
	mutex_unlock(&lsm->dead_mu);
}

static void unlink_dead(struct lsm *lsm, const struct dead_file *d)
{
	char name[64];
	int err;

	if (d->kind == FILE_TABLE)
		table_name(name, d->number);
	else if (d->kind == FILE_LOG)
		log_name(name, d->number);
	else
		manifest_name(name, d->number);
	err = lsm->st->ops->unlink(lsm->st, name);
	if (err && err != -ENOENT)
		report(&lsm->report, LSM_REPORT_WARNING, "cannot delete %s: %s", name,
		       strerror(-err));
}

void background_purge(struct lsm *lsm)
{
	struct dead_file *dead;
	size_t count;
	bool broken;

	mutex_lock(&lsm->manifest_mu);
	broken = lsm->manifest_broken;
	mutex_unlock(&lsm->manifest_mu);
	if (broken || lsm->opt.read_only)
		return;
	mutex_lock(&lsm->dead_mu);
	dead = lsm->dead;
	count = lsm->dead_count;
	lsm->dead = NULL;
	lsm->dead_count = lsm->dead_room = 0;
	mutex_unlock(&lsm->dead_mu);
	for (size_t i = 0; i < count; i++)
		unlink_dead(lsm, &dead[i]);
	free(dead);
}

/* ---- the manifest ---- */

/* A failed sync of the directory is final, as one of the log is. */
static int sync_directory(struct lsm *lsm)
{
	int err = storage_sync_dir(lsm->st);

	return err ? tree_fail(lsm, err, "syncing the directory") : 0;
}

static int record_segment(struct lsm *lsm, uint64_t number)
{
	uint64_t *grown = realloc(lsm->recorded, (lsm->recorded_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[lsm->recorded_count++] = number;
	lsm->recorded = grown;
	return 0;
}

static void unrecord_segment(struct lsm *lsm, uint64_t number)
{
	for (size_t i = 0; i < lsm->recorded_count; i++)
		if (lsm->recorded[i] == number) {
			lsm->recorded[i] = lsm->recorded[--lsm->recorded_count];
			return;
		}
}

/* Start a new manifest of what is current. manifest_mu held. */
static int new_manifest(struct lsm *lsm) REQUIRES(lsm->manifest_mu)
{
	struct view *view = view_current(lsm);
	struct manifest_state state = {.version = view->version,
				       .segments = lsm->recorded,
				       .segments_count = lsm->recorded_count};
	struct manifest *m = NULL;
	uint64_t number = tree_new_file(lsm);
	int err;

	mutex_lock(&lsm->mu);
	state.next_file = lsm->next_file;
	state.log_number = lsm->log_number;
	state.sequence_flushed = lsm->sequence_flushed;
	mutex_unlock(&lsm->mu);
	err = manifest_create(lsm->st, &state, number, &m);
	view_unref(view);
	if (err) {
		/* CURRENT may name the new one already: neither may be deleted. */
		lsm->manifest_broken = true;
		segments_hold_deletes(lsm->segments, true);
		return err == -EIO ? tree_fail(lsm, err, "starting a manifest") : err;
	}
	if (lsm->manifest) {
		background_dead_file(lsm, FILE_MANIFEST, manifest_number(lsm->manifest));
		manifest_close(lsm->manifest);
	}
	lsm->manifest = m;
	lsm->manifest_broken = false;
	segments_hold_deletes(lsm->segments, false);
	return 0;
}

/* Log an edit. manifest_mu held. */
static int log_edit(struct lsm *lsm, const struct version_edit *e) REQUIRES(lsm->manifest_mu)
{
	uint64_t next_file;
	int err = 0;

	if (!lsm->manifest || lsm->manifest_broken ||
	    manifest_bytes(lsm->manifest) > MANIFEST_BYTES_MAX)
		err = new_manifest(lsm);
	if (err)
		return err;
	mutex_lock(&lsm->mu);
	next_file = lsm->next_file;
	mutex_unlock(&lsm->mu);
	err = manifest_append(lsm->manifest, e, next_file, true);
	if (err) {
		lsm->manifest_broken = true;
		segments_hold_deletes(lsm->segments, true);
		report(&lsm->report, LSM_REPORT_WARNING,
		       "cannot write the manifest: %s; starting a new one", strerror(-err));
	}
	return err;
}

/* The empty file of a segment that the manifest names. */
static int make_segment_file(struct lsm *lsm, uint64_t number)
{
	char name[SEGMENT_NAME_BYTES];
	struct storage_file *f;
	int err;

	segment_name(name, number);
	err = storage_open_file(lsm->st, name, STORAGE_CREATE, &f);
	if (err)
		return err;
	err = storage_close(f);
	return err ? err : sync_directory(lsm);
}

int background_new_segment(void *ctx, uint64_t *number)
{
	struct version_edit e = {0};
	struct lsm *lsm = ctx;
	int err;

	mutex_lock(&lsm->manifest_mu);
	*number = tree_new_file(lsm);
	err = version_edit_segment(&e, *number, false);
	/* Not listed before it is logged, or a new manifest would name it twice. */
	if (!err)
		err = log_edit(lsm, &e);
	if (!err)
		err = record_segment(lsm, *number);
	if (!err)
		err = make_segment_file(lsm, *number);
	mutex_unlock(&lsm->manifest_mu);
	version_edit_release(&e);
	return err;
}

int background_tidy_manifest(struct lsm *lsm)
{
	struct version_edit e = {0};
	uint64_t *gone;
	size_t count;
	int err = 0;

	segments_take_deleted(lsm->segments, &gone, &count);
	mutex_lock(&lsm->manifest_mu);
	for (size_t i = 0; !err && i < count; i++) {
		unrecord_segment(lsm, gone[i]);
		err = version_edit_segment(&e, gone[i], true);
	}
	if (!err && (count || lsm->manifest_broken))
		err = log_edit(lsm, &e);
	mutex_unlock(&lsm->manifest_mu);
	version_edit_release(&e);
	free(gone);
	return err;
}

int background_close_manifest(struct lsm *lsm)
{
	int err = background_tidy_manifest(lsm);

	mutex_lock(&lsm->manifest_mu);
	if (!err && !atomic_load(&lsm->failed))
		err = new_manifest(lsm);
	mutex_unlock(&lsm->manifest_mu);
	return err;
}

/* Make `next` current, without `flushed`. mu held. */
static int install(struct lsm *lsm, const struct version_edit *e, struct version *next,
		   const struct memlog *flushed, struct view **old)
{
	const struct view *view = lsm->view;
	struct memlog **memlogs = malloc(view->memlogs_count * sizeof(*memlogs));
	size_t n = 0;
	int err;

	if (!memlogs)
		return -ENOMEM;
	for (size_t i = 0; i < view->memlogs_count; i++)
		if (view->memlogs[i] != flushed)
			memlogs[n++] = view->memlogs[i];
	err = view_install(lsm, memlogs, n, next, old);
	if (!err && e->has_log) {
		lsm->log_number = e->log_number;
		lsm->sequence_flushed = e->sequence_flushed;
	}
	free(memlogs);
	return err;
}

int background_apply(struct lsm *lsm, struct version_edit *e, struct memlog *flushed)
{
	struct version *next = NULL;
	struct view *old = NULL, *base;
	const char *reason;
	int err = 0;

	mutex_lock(&lsm->manifest_mu);
	base = view_current(lsm);
	/* After a failed sync nothing is made of what may not be on disk. */
	if (atomic_load(&lsm->failed))
		err = -EROFS;
	/* The names of the tables it adds, and of the log it makes the oldest one. */
	if (!err && (e->adds_count || e->has_log))
		err = sync_directory(lsm);
	if (!err) {
		err = version_apply(base->version, e, &next, &reason);
		if (err == -EUCLEAN)
			err = report_corrupt(&lsm->report, "the manifest", 0, "%s", reason);
	}
	if (!err)
		err = log_edit(lsm, e);
	if (!err) {
		mutex_lock(&lsm->mu);
		err = install(lsm, e, next, flushed, &old);
		pthread_cond_broadcast(&lsm->changed);
		pthread_cond_broadcast(&lsm->work);
		mutex_unlock(&lsm->mu);
		/* Logged but not current in memory: only a new manifest makes that right. */
		if (err) {
			lsm->manifest_broken = true;
			segments_hold_deletes(lsm->segments, true);
		}
	}
	mutex_unlock(&lsm->manifest_mu);
	view_unref(old);
	view_unref(base);
	version_unref(next);
	return err;
}

/* ---- flushing ---- */

static int copy_range(void *ctx, uint64_t sequence, struct lsm_slice start, struct lsm_slice end)
{
	return rangedel_add(ctx, sequence, start, end);
}

static int write_run(struct lsm *lsm, struct memlog *m, struct version_edit *e)
{
	struct compact_job job = {.lsm = lsm, .created_s = m->created_s, .edit = e};
	int err;

	job.input = memtable_iter(m->mem);
	job.ranges = rangedel_new();
	err = job.input && job.ranges ? 0 : -ENOMEM;
	if (!err)
		err = memtable_each_range(m->mem, copy_range, job.ranges);
	if (!err)
		err = rangedel_finish(job.ranges);
	if (!err)
		err = compact_write(&job);
	/* What the table refers to must be as durable as the table. */
	if (!err)
		err = tree_sync_segments(lsm);
	iter_free(job.input);
	rangedel_free(job.ranges);
	return err;
}

/*
 * The memlog's log is not needed: keep one to be recycled. Never one that was found at
 * open: if a sync of it failed before, its size on disk may not be what it seems.
 */
static void retire_log(struct lsm *lsm, const struct memlog *m)
{
	bool kept;

	mutex_lock(&lsm->mu);
	kept = m->log && !lsm->spare_log && !lsm->no_space;
	if (kept)
		lsm->spare_log = m->log_number;
	mutex_unlock(&lsm->mu);
	if (!kept)
		background_dead_file(lsm, FILE_LOG, m->log_number);
}

static void note_synced(struct lsm *lsm, uint64_t sequence)
{
	mutex_lock(&lsm->sync_mu);
	if (sequence > atomic_load(&lsm->sequence_synced))
		atomic_store(&lsm->sequence_synced, sequence);
	pthread_cond_broadcast(&lsm->sync_done);
	mutex_unlock(&lsm->sync_mu);
}

int background_flush_one(struct lsm *lsm, bool *did)
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
	err = write_run(lsm, m, &e);
	if (!err)
		err = background_apply(lsm, &e, m);
	if (!err) {
		atomic_fetch_add(&lsm->flushes, 1);
		note_synced(lsm, e.sequence_flushed);
		retire_log(lsm, m);
	}
	version_edit_release(&e);
	memlog_unref(m);
	background_purge(lsm);
	return err;
}

/* ---- disk space kept aside ---- */

void background_note_full(struct lsm *lsm)
{
	mutex_lock(&lsm->mu);
	if (!lsm->no_space)
		report(&lsm->report, LSM_REPORT_WARNING,
		       "the disk of the store is full: writes fail until space is freed");
	lsm->no_space = true;
	pthread_cond_broadcast(&lsm->work);
	mutex_unlock(&lsm->mu);
}

/*
 * Make the file as large as `bytes`; once it has half, as near to that as the disk allows.
 * -ENOSPC: it is smaller, or the disk was full and not much is free beside it.
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
		if (err) /* a part of it may have been found room for */
			f->st->ops->truncate(f, size);
	}
	/* Full is full for a while, or each freed byte would let a writer in again. */
	if (!err && (want < bytes ||
		     (atomic_load(&lsm->no_space) && held + free_bytes < bytes + bytes / 2)))
		err = -ENOSPC;
	return err;
}

static uint64_t reserve_bytes(const struct lsm *lsm, uint64_t disk_bytes)
{
	uint64_t bytes = 2 * (lsm->opt.memtable_bytes + RESERVE_BYTES_MORE);

	return bytes < disk_bytes / RESERVE_PART_MAX ? bytes : disk_bytes / RESERVE_PART_MAX;
}

void background_reserve(struct lsm *lsm)
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
		background_note_full(lsm);
	if (err)
		return;
	mutex_lock(&lsm->mu);
	lsm->reserve_there = true;
	if (lsm->no_space)
		report(&lsm->report, LSM_REPORT_INFO, "the disk has room again");
	lsm->no_space = false;
	pthread_cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
}

/* Give back what there is above half of the reserve, that one is for the next open. */
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

bool background_reserve_drop(struct lsm *lsm)
{
	uint64_t spare;

	mutex_lock(&lsm->mu);
	lsm->reserve_there = false;
	spare = lsm->spare_log;
	lsm->spare_log = 0;
	mutex_unlock(&lsm->mu);
	background_note_full(lsm);
	if (spare)
		background_dead_file(lsm, FILE_LOG, spare);
	/* What is dead in the segment being written to could not be given back. */
	segments_seal(lsm->segments, 0);
	background_purge(lsm);
	return reserve_shrink(lsm) || spare;
}

/* ---- the threads ---- */

static void deadline_in(struct timespec *t, unsigned ms)
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
 * Note how a flush or compaction ended, in `*slot` (which is told once). True:
 * it failed for want of space, and some was set free, so try again at once.
 */
static bool note_result(struct lsm *lsm, int err, int *slot, const char *what)
{
	bool again = err == -ENOSPC && background_reserve_drop(lsm);

	mutex_lock(&lsm->mu);
	if (err == -ECANCELED || again)
		err = 0;
	if (err && err != -EROFS && *slot != err) /* what made it read-only has been told */
		report(&lsm->report, LSM_REPORT_ERROR, "%s failed: %s", what, strerror(-err));
	*slot = err;
	pthread_cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
	return again;
}

static void *flusher(void *arg)
{
	struct lsm *lsm = arg;
	struct timespec until;
	bool did, failing = false;
	int err;

	for (;;) {
		mutex_lock(&lsm->mu);
		deadline_in(&until, RETRY_MS);
		if (failing && !lsm->stop)
			cond_wait_until(&lsm->work, &lsm->mu, &until);
		while (!lsm->stop && lsm->view->memlogs_count < 2)
			cond_wait(&lsm->work, &lsm->mu);
		if (lsm->stop) {
			mutex_unlock(&lsm->mu);
			return NULL;
		}
		mutex_unlock(&lsm->mu);
		err = background_flush_one(lsm, &did);
		failing = err && !note_result(lsm, err, &lsm->flush_error, "writing a table");
		if (!err)
			note_result(lsm, 0, &lsm->flush_error, "");
	}
}

static void note_stuck(struct lsm *lsm, bool stuck)
{
	mutex_lock(&lsm->mu);
	if (stuck && !lsm->l0_stuck)
		report(&lsm->report, LSM_REPORT_ERROR,
		       "damage keeps new tables from being compacted: copy what you need to "
		       "another store before this one is full");
	lsm->l0_stuck = stuck;
	pthread_cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
}

/* One thing to compact, if there is any. */
static int compact_step(struct lsm *lsm, bool *did)
{
	struct pick_options o = {
		.level1_bytes = lsm->opt.level1_bytes,
		.segment_factor = 32, /* 1 GiB of separated bytes in a level 1 of 32 MiB */
		.table_bytes = lsm->opt.table_bytes,
		.l0_compact = lsm->opt.l0_compact,
		.now_s = tree_now_s(),
		.tombstone_age_s = 600,
		.tombstones_min = atomic_load(&lsm->no_space) ? 1 : 64,
		.oldest_snapshot = SEQUENCE_MAX,
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
	if (lsm->snapshots)
		o.oldest_snapshot = lsm->snapshots->sequence;
	mutex_unlock(&lsm->mu);
	view = view_current(lsm);
	if (!err)
		err = version_pick(view->version, &o, &p);
	if (!err)
		note_stuck(lsm, p.l0_stuck);
	*did = !err && p.reason != PICK_NONE;
	if (*did)
		err = compact_pick(lsm, view->version, &p, NULL, 0);
	if (*did && err == -EUCLEAN)
		err = 0; /* told; the next pick is another one */
	pick_release(&p);
	view_unref(view);
	if (!err && !*did)
		err = gc_step(lsm, did);
	mutex_unlock(&lsm->compact_mu);
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		buf_release(&cursors[l]);
	background_purge(lsm);
	return err;
}

static void *compactor(void *arg)
{
	struct lsm *lsm = arg;
	struct timespec until;
	bool did = true;
	int err = 0;

	for (;;) {
		mutex_lock(&lsm->mu);
		if (!lsm->stop && (err || !did)) {
			deadline_in(&until, RETRY_MS);
			cond_wait_until(&lsm->work, &lsm->mu, &until);
		}
		if (lsm->stop) {
			mutex_unlock(&lsm->mu);
			return NULL;
		}
		mutex_unlock(&lsm->mu);
		err = compact_step(lsm, &did);
		if (!err)
			err = background_tidy_manifest(lsm);
		if (note_result(lsm, err, &lsm->compact_error, "compaction"))
			err = 0;
	}
}

static void *committer(void *arg)
{
	unsigned tick_ms, waited_ms = 0, commit_ms = 0;
	struct lsm *lsm = arg;
	struct timespec until;
	bool many;

	tick_ms = lsm->opt.commit_interval_ms < 500 ? lsm->opt.commit_interval_ms : 500;
	for (;;) {
		mutex_lock(&lsm->mu);
		deadline_in(&until, tick_ms);
		while (!lsm->stop && cond_wait_until(&lsm->tick, &lsm->mu, &until) != -ETIMEDOUT)
			;
		many = lsm->tombstones_pending >= (lsm->no_space ? 1 : TOMBSTONES_MANY);
		if (lsm->stop) {
			mutex_unlock(&lsm->mu);
			return NULL;
		}
		mutex_unlock(&lsm->mu);
		background_reserve(lsm);
		waited_ms = many ? waited_ms + tick_ms : 0;
		if (waited_ms >= TOMBSTONES_FLUSH_MS) {
			waited_ms = 0;
			/* Other failures show in the next write, which meets the same. */
			if (write_rotate(lsm) == -ENOSPC)
				(void)background_reserve_drop(lsm);
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

int background_start(struct lsm *lsm)
{
	int err = pthread_create(&lsm->flusher, NULL, flusher, lsm);

	if (err)
		return -err;
	err = pthread_create(&lsm->compactor, NULL, compactor, lsm);
	if (!err) {
		err = pthread_create(&lsm->committer, NULL, committer, lsm);
		if (!err) {
			lsm->threads_started = true;
			return 0;
		}
	}
	mutex_lock(&lsm->mu);
	lsm->stop = true;
	pthread_cond_broadcast(&lsm->work);
	mutex_unlock(&lsm->mu);
	pthread_join(lsm->flusher, NULL);
	if (lsm->compactor)
		pthread_join(lsm->compactor, NULL);
	return -err;
}

void background_stop(struct lsm *lsm)
{
	if (!lsm->threads_started)
		return;
	atomic_store(&lsm->stopping, true);
	mutex_lock(&lsm->mu);
	lsm->stop = true;
	pthread_cond_broadcast(&lsm->work);
	pthread_cond_broadcast(&lsm->tick);
	pthread_cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
	pthread_join(lsm->flusher, NULL);
	pthread_join(lsm->compactor, NULL);
	pthread_join(lsm->committer, NULL);
	lsm->threads_started = false;
	atomic_store(&lsm->stopping, false);
}
