/*
 * tree_open.c - opening and closing a tree: its options, its locks, and the order in which the
 * parts come and go.
 */
#include "lsm/tree_open.h"

#include <assert.h>
#include <stdlib.h>

#include "lsm/background.h"
#include "lsm/dead.h"
#include "lsm/flush.h"
#include "lsm/recover.h"
#include "lsm/repair_tables.h"
#include "lsm/storage_overlay.h"
#include "lsm/sync.h"
#include "lsm/tree_manifest.h"
#include "lsm/view.h"
#include "lsm/write.h"

/* ---- options ---- */

static void tree_default(size_t *value, size_t otherwise)
{
	if (!*value)
		*value = otherwise;
}

/* Fill in the defaults. */
static void tree_fill_options(struct lsm_options *o)
{
	tree_default(&o->memory_bytes, 256u << 20);
	if (o->memory_bytes < (4u << 20))
		o->memory_bytes = 4u << 20;
	/*
	 * One memtable takes writes and one or two are being flushed: that is 3/8 of the budget
	 * at most. They are small enough that replaying a log after a crash is quick.
	 */
	tree_default(&o->memtable_bytes,
		     o->memory_bytes / 8 < (32u << 20) ? o->memory_bytes / 8 : 32u << 20);
	tree_default(&o->block_bytes, 4096);
	tree_default(&o->table_bytes, 4u << 20);
	tree_default(&o->level1_bytes, 32u << 20);
	tree_default(&o->separate_min, 4096);
	if (!o->commit_interval_ms)
		o->commit_interval_ms = 5000;
	if (!o->compression_set)
		o->compression = LSM_COMPRESS_LZ4;
	if (!o->l0_compact)
		o->l0_compact = 4;
	if (!o->l0_slow)
		o->l0_slow = 3 * o->l0_compact;
	if (!o->l0_stop)
		o->l0_stop = 6 * o->l0_compact;
	if (!o->imm_max)
		o->imm_max = 2;
}

static struct lsm *tree_new(const struct lsm_options *options)
{
	struct lsm *lsm = calloc(1, sizeof(*lsm));
	size_t memtables;

	if (!lsm)
		return NULL;
	if (options)
		lsm->opt = *options;
	tree_fill_options(&lsm->opt);
	lsm->report = (struct report){lsm->opt.report, lsm->opt.report_ctx};
	mutex_init(&lsm->view_mu, LOCK_VIEW);
	mutex_init(&lsm->mu, LOCK_TREE);
	mutex_init(&lsm->manifest_mu, LOCK_MANIFEST);
	mutex_init(&lsm->compact_mu, LOCK_COMPACT);
	mutex_init(&lsm->write_mu, LOCK_WRITERS);
	mutex_init(&lsm->sync_mu, LOCK_SYNC);
	mutex_init(&lsm->dead_mu, LOCK_DEAD);
	cond_init(&lsm->work);
	cond_init(&lsm->tick);
	cond_init(&lsm->changed);
	cond_init(&lsm->sync_done);
	STAILQ_INIT(&lsm->writers);
	TAILQ_INIT(&lsm->snapshots);
	memtables = (lsm->opt.imm_max + 1) * lsm->opt.memtable_bytes;
	lsm->cache = cache_new(memtables + (1u << 20) < lsm->opt.memory_bytes ?
				       lsm->opt.memory_bytes - memtables :
				       1u << 20);
	return lsm;
}

/*
 * Make segments and memtables small on a small disk. A segment is deleted as a whole, and the
 * space set aside on the disk (reserve.c) has to hold a memtable twice.
 */
static void tree_fit_to_disk(struct lsm *lsm)
{
	uint64_t free_bytes, total;
	size_t bytes = 128u << 20;

	if (!lsm->st->ops->space(lsm->st, &free_bytes, &total)) {
		if (total / 32 < bytes)
			bytes = total / 32 > (1u << 20) ? (size_t)(total / 32) : 1u << 20;
		if (total / 32 < lsm->opt.memtable_bytes)
			lsm->opt.memtable_bytes =
				total / 32 > (1u << 16) ? (size_t)(total / 32) : 1u << 16;
	}
	tree_default(&lsm->opt.segment_bytes, bytes);
}

/* Keep other processes out of the store. */
static int tree_take_lock(struct lsm *lsm)
{
	long holder = 0;
	int err = lsm->st->ops->lock(lsm->st, !lsm->opt.read_only, &holder);

	if (err == -EBUSY && holder)
		report(&lsm->report, LSM_REPORT_ERROR, "the store is in use by process %ld",
		       holder);
	else if (err == -EBUSY)
		report(&lsm->report, LSM_REPORT_ERROR, "the store is in use by another process");
	lsm->locked = !err;
	return err;
}

/* Descriptors have run out: close files of segments and tables that are not in use. */
static bool tree_relieve(void *ctx)
{
	struct lsm *lsm = ctx;
	struct cache_stats c;
	uint64_t before;

	cache_stats(lsm->cache, &c);
	before = c.bytes;
	cache_set_limit(lsm->cache, 0);
	cache_set_limit(lsm->cache, c.bytes_max);
	cache_stats(lsm->cache, &c);
	return segments_close_idle(lsm->segments) || c.bytes < before;
}

/* Put an overlay over the storage. It keeps the changes of a repair apart. */
static int tree_overlay(struct lsm *lsm)
{
	struct storage *st = overlay_new(lsm->st, lsm->st_owned);

	if (!st)
		return -ENOMEM;
	lsm->st = st;
	lsm->st_owned = true;
	return 0;
}

int tree_open(const char *path, const struct lsm_options *options, struct repair *repair,
	      struct lsm **out)
{
	struct lsm *lsm = tree_new(options);
	int err = 0;

	*out = NULL;
	if (!lsm) {
		repair_free(repair);
		return -ENOMEM;
	}
	lsm->repair = repair;
	if (!lsm->cache) {
		err = -ENOMEM;
	} else if (lsm->opt.storage) {
		lsm->st = lsm->opt.storage;
	} else {
		lsm->st_owned = true;
		err = storage_dir_open(path, lsm->opt.create && !lsm->opt.read_only,
				       lsm->opt.read_only, &lsm->st);
	}
	if (!err && repair)
		err = tree_overlay(lsm);
	if (!err)
		err = recover_probe(lsm);
	if (!err)
		err = tree_take_lock(lsm);
	if (!err) {
		lsm->env.st = lsm->st;
		lsm->env.cache = lsm->cache;
		lsm->env.report = &lsm->report;
		tree_fit_to_disk(lsm);
		lsm->segments = segments_new(lsm->st, &lsm->report, lsm->opt.segment_bytes,
					     tree_manifest_new_segment, lsm);
		lsm->st->relieve = tree_relieve;
		lsm->st->relieve_ctx = lsm;
		err = lsm->segments ? recover(lsm) : -ENOMEM;
	}
	if (!err && !lsm->opt.read_only)
		err = background_start(lsm);
	if (err) {
		tree_free(lsm);
		return err;
	}
	*out = lsm;
	return 0;
}

/* ---- closing ---- */

/* Write the memtables to tables, so that the next open has nothing to replay. */
static int tree_flush_all(struct lsm *lsm)
{
	int err = flush_waiting(lsm);

	if (!err)
		err = write_rotate(lsm);
	return err ? err : flush_waiting(lsm);
}

int tree_stop(struct lsm *lsm, bool flush)
{
	int err, flushed;

	background_stop(lsm);
	if (lsm->opt.read_only)
		return 0;
	err = atomic_load(&lsm->failed) ? -EROFS : sync_up_to(lsm, tree_sequence(lsm));
	if (!err) {
		flushed = tree_flush_all(lsm);
		if (!flushed)
			flushed = tree_manifest_close(lsm);
		/* Synced is enough: tables only make the next open faster. */
		err = flush ? flushed : 0;
	}
	dead_files_unlink(lsm);
	return err;
}

void tree_free(struct lsm *lsm)
{
	assert(!lsm->threads_started && STAILQ_EMPTY(&lsm->writers));
	lsm->closing = true;
	/* The references that are dropped now do not make any file dead. */
	if (lsm->segments)
		segments_hold_deletes(lsm->segments, true);
	view_unref(lsm->view);
	lsm->view = NULL;
	manifest_close(lsm->manifest);
	if (lsm->st)
		lsm->st->relieve = NULL;
	segments_free(lsm->segments);
	if (lsm->cache)
		cache_free(lsm->cache);
	if (lsm->st && lsm->locked)
		lsm->st->ops->unlock(lsm->st);
	if (lsm->st && lsm->st_owned)
		lsm->st->ops->free(lsm->st);
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		buf_release(&lsm->cursor[l]);
	repair_free(lsm->repair);
	free(lsm->recorded);
	free(lsm->dead);
	mutex_destroy(&lsm->view_mu);
	mutex_destroy(&lsm->mu);
	mutex_destroy(&lsm->manifest_mu);
	mutex_destroy(&lsm->compact_mu);
	mutex_destroy(&lsm->write_mu);
	mutex_destroy(&lsm->sync_mu);
	mutex_destroy(&lsm->dead_mu);
	cond_destroy(&lsm->work);
	cond_destroy(&lsm->tick);
	cond_destroy(&lsm->changed);
	cond_destroy(&lsm->sync_done);
	free(lsm);
}
