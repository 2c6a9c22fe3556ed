/*
 * demand.c - compaction on demand: lsm_compact(). It goes from level 0 down, one table at a
 * time, so that it can be stopped between two of them and other work is not held up.
 */
#include <assert.h>
#include <stdlib.h>

#include "lsm/compact.h"
#include "lsm/dead.h"
#include "lsm/gc.h"
#include "lsm/snapshot.h"
#include "lsm/tree_manifest.h"
#include "lsm/view.h"

struct demand {
	struct lsm *lsm;
	struct key_range range;
	lsm_progress_fn *progress;
	void *ctx;
	uint64_t done, total;
	struct buf reached; /* within a level: tables up to this key are done */
	bool damaged;       /* some table had to stay where it was */
};

/* Whether a table at the bottom still holds what a rewrite would drop. */
static bool demand_worth_rewriting(const struct table_meta *t, uint64_t oldest)
{
	return (t->tombstones || t->ranges) && t->sequence_max <= oldest;
}

/* The next table of `level` in the range that is not done, or NULL. */
static struct table_meta *demand_next(const struct demand *d, const struct version *v,
				      unsigned level)
{
	const struct level *l = &v->level[level];

	for (size_t i = 0; i < l->count; i++) {
		struct table_meta *t = l->tables[i];

		if (table_meta_overlaps(t, &d->range) &&
		    (!d->reached.size || !level ||
		     slice_compare(t->smallest, buf_slice(&d->reached)) >= 0))
			return t;
	}
	return NULL;
}

/* Compact one table of `level`. `*more`: there was one in the range that was not done. */
static int demand_step(struct demand *d, unsigned level, const struct view *view, bool *more)
	REQUIRES(d->lsm->compact_mu)
{
	struct table_meta *t = demand_next(d, view->version, level);
	bool bottom = level && level == version_deepest(view->version);
	struct pick p = {0};
	bool damaged = false;
	uint64_t bytes = 0;
	int err = 0;

	*more = t != NULL;
	if (!t)
		return 0;
	if (!bottom || demand_worth_rewriting(t, snapshot_oldest(d->lsm))) {
		err = version_pick_tables(view->version, level, bottom ? level : level + 1, &t, 1,
					  &p);
		for (size_t i = 0; i < p.inputs_count; i++)
			bytes += p.inputs[i]->bytes;
		damaged = !err && pick_damaged(&p);
		if (!err && !damaged)
			err = compact_pick(d->lsm, view->version, &p, NULL, 0);
	}
	if (damaged || err == -EUCLEAN) {
		/* Go on with the other tables. In level 0 a pick has all of them. */
		d->damaged = true;
		err = 0;
		*more = level > 0;
	}
	if (!err && *more) {
		d->reached.size = 0;
		/* Past its end: an excluded end may be where the next one starts. */
		err = buf_add(&d->reached, t->largest.data, t->largest.size);
		if (!err && !t->largest_excluded)
			err = buf_add(&d->reached, "", 1);
	}
	d->done += bytes;
	pick_release(&p);
	return err;
}

/* Compact all tables of `level` that are in the range. */
static int demand_level(struct demand *d, unsigned level)
{
	bool more = true;
	int err = 0;

	d->reached.size = 0;
	while (!err && more) {
		struct view *view;

		mutex_lock(&d->lsm->compact_mu);
		view = view_current(d->lsm);
		err = demand_step(d, level, view, &more);
		view_unref(view);
		mutex_unlock(&d->lsm->compact_mu);
		if (d->total < d->done)
			d->total = d->done;
		if (!err && more && d->progress && d->progress(d->ctx, d->done, d->total))
			err = -EINTR;
	}
	return err;
}

/* About how many bytes have to be written, for progress. */
static uint64_t demand_bytes(struct lsm *lsm)
{
	struct view *view = view_current(lsm);
	unsigned deepest = version_deepest(view->version);
	uint64_t bytes = 0;

	for (unsigned n = 0; n < deepest || n == 0; n++)
		bytes += view->version->level[n].bytes * (deepest > n ? deepest - n : 1);
	view_unref(view);
	return bytes;
}

/* Free what is dead in segments. */
static int demand_gc(struct lsm *lsm)
{
	bool did = true;
	int err = 0;

	while (!err && did) {
		mutex_lock(&lsm->compact_mu);
		err = gc_step(lsm, &did);
		mutex_unlock(&lsm->compact_mu);
	}
	return err;
}

int lsm_compact(struct lsm *lsm, struct lsm_slice start, struct lsm_slice end,
		lsm_progress_fn *progress, void *ctx)
{
	struct demand d = {
		.lsm = lsm, .range = {start, end, true}, .progress = progress, .ctx = ctx};
	int err;

	if (lsm->opt.read_only)
		return -EROFS;
	err = lsm_flush(lsm);
	d.total = demand_bytes(lsm);
	for (unsigned level = 0; !err && level < LSM_LEVELS; level++) {
		struct view *view = view_current(lsm);
		unsigned deepest = version_deepest(view->version);

		view_unref(view);
		if (level > deepest)
			break;
		err = demand_level(&d, level);
	}
	buf_release(&d.reached);
	if (!err)
		err = demand_gc(lsm);
	dead_files_unlink(lsm);
	if (!err)
		err = tree_manifest_tidy(lsm);
	if (!err && progress)
		progress(ctx, d.total, d.total);
	return !err && d.damaged ? -EUCLEAN : err;
}
