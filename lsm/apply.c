/*
 * apply.c - the one place where the tree's shape changes.
 *
 * apply_edit() is the switch. The edit's files were synced before. It syncs the directory,
 * logs the edit and syncs that, and only then makes the new version current in memory. If
 * logging fails the old version stays current (see tree_manifest.c).
 */
#include "lsm/apply.h"

#include <assert.h>
#include <stdlib.h>

#include "lsm/dead.h"
#include "lsm/tree_manifest.h"
#include "lsm/view.h"

/* ---- tables ---- */

/* The last reference to a table of the tree has gone. */
static void apply_released(void *ctx, struct table_meta *t)
{
	struct lsm *lsm = ctx;

	for (size_t i = 0; i < t->uses_count; i++)
		segment_ref_drop(lsm->segments, t->uses[i].segment);
	/* When the tree is freed every table is released, and none is dead. */
	if (!lsm->closing) {
		cache_erase(lsm->cache, t->number, CACHE_TABLE);
		dead_file_add(lsm, FILE_TABLE, t->number);
	}
}

void apply_adopt_table(struct lsm *lsm, struct table_meta *t)
{
	/* A missing segment is damage that reading and verifying report; keep the rest. */
	for (size_t i = 0; i < t->uses_count; i++)
		t->uses[i].segment = segments_get(lsm->segments, t->uses[i].number);
	t->released = apply_released;
	t->released_ctx = lsm;
}

/* ---- edits ---- */

int apply_to_version(const struct lsm *lsm, const struct version *base,
		     const struct version_edit *e, struct version **next)
{
	const char *reason;
	int err = version_apply(base, e, next, &reason);

	if (err == -EUCLEAN)
		return report_corrupt(&lsm->report, "the manifest", 0, "%s", reason);
	return err;
}

/* Make `next`, the result of `e`, current, without the memlog `flushed`. */
static int apply_install(struct lsm *lsm, const struct version_edit *e, struct version *next,
			 const struct memlog *flushed, struct view **old) REQUIRES(lsm->mu)
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

int apply_edit(struct lsm *lsm, struct version_edit *e, struct memlog *flushed)
{
	struct version *next = NULL;
	struct view *old = NULL, *base;
	int err = 0;

	mutex_lock(&lsm->manifest_mu);
	base = view_current(lsm);
	assert(base->memlogs[0] != flushed);
	/* After a failed sync nothing is made of what may not be on disk. */
	if (atomic_load(&lsm->failed))
		err = -EROFS;
	/* The names of the tables that it adds, and of the log that it makes the oldest one. */
	if (!err && (e->adds_count || e->has_log))
		err = tree_sync_dir(lsm);
	if (!err)
		err = apply_to_version(lsm, base->version, e, &next);
	if (!err)
		err = tree_manifest_log(lsm, e);
	if (!err) {
		mutex_lock(&lsm->mu);
		err = apply_install(lsm, e, next, flushed, &old);
		cond_broadcast(&lsm->changed);
		cond_broadcast(&lsm->work);
		mutex_unlock(&lsm->mu);
		/* Logged but not current in memory: only a new manifest makes that right. */
		if (err)
			tree_manifest_doubt(lsm);
	}
	mutex_unlock(&lsm->manifest_mu);
	view_unref(old);
	view_unref(base);
	version_unref(next);
	return err;
}
