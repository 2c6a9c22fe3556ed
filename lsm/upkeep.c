/*
 * upkeep.c - what an owner asks of a tree now and then: flush, compact, statistics.
 * (verify.c is the fourth.)
 */
#include <stdlib.h>

#include "lsm/tree.h"

int lsm_space(struct lsm *lsm, uint64_t *free_bytes, uint64_t *total_bytes)
{
	return lsm->st->ops->space(lsm->st, free_bytes, total_bytes);
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
	pthread_cond_broadcast(&lsm->work);
	while (!lsm->flush_error && !atomic_load(&lsm->failed) && lsm->view->memlogs_count > 1 &&
	       lsm->view->memlogs[lsm->view->memlogs_count - 1]->log_number < log)
		cond_wait(&lsm->changed, &lsm->mu);
	err = lsm->flush_error ? lsm->flush_error : atomic_load(&lsm->failed) ? -EROFS : 0;
	mutex_unlock(&lsm->mu);
	return err;
}

/* ---- compaction on demand ---- */

struct demand {
	struct lsm *lsm;
	struct key_range range;
	lsm_progress_fn *progress;
	void *ctx;
	uint64_t done, total;
	struct buf reached; /* within a level: tables up to this key are done */
	bool damaged;       /* something had to stay where it was */
};

static uint64_t oldest_snapshot(struct lsm *lsm)
{
	uint64_t s;

	mutex_lock(&lsm->mu);
	s = lsm->snapshots ? lsm->snapshots->sequence : SEQUENCE_MAX;
	mutex_unlock(&lsm->mu);
	return s;
}

/* Whether a table at the bottom still holds what a rewrite would drop. */
static bool worth_rewriting(const struct table_meta *t, uint64_t oldest)
{
	return (t->tombstones || t->ranges) && t->sequence_max <= oldest;
}

/* The next table of `level` in the range that is not done, or NULL. */
static struct table_meta *next_table(const struct demand *d, const struct version *v,
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

/* Compact one table of `level`. 0; 1: there is none left; an error. compact_mu held. */
static int demand_step(struct demand *d, unsigned level, const struct view *view)
{
	struct table_meta *t = next_table(d, view->version, level);
	bool bottom = level && level == version_deepest(view->version);
	struct pick p = {0};
	uint64_t bytes = 0;
	int err = 0;

	if (!t)
		return 1;
	if (!bottom || worth_rewriting(t, oldest_snapshot(d->lsm))) {
		err = version_pick_tables(view->version, level, bottom ? level : level + 1, &t, 1,
					  &p);
		for (size_t i = 0; i < p.inputs_count; i++)
			bytes += p.inputs[i]->bytes;
		if (!err)
			err = pick_damaged(&p) ? -EUCLEAN :
						 compact_pick(d->lsm, view->version, &p, NULL, 0);
	}
	if (err == -EUCLEAN) { /* go on with the others; a pick of level 0 is all of it */
		d->damaged = true;
		err = level ? 0 : 1;
	}
	if (!err) {
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

static int demand_level(struct demand *d, unsigned level)
{
	int err = 0;

	d->reached.size = 0;
	while (!err) {
		struct view *view;

		mutex_lock(&d->lsm->compact_mu);
		view = view_current(d->lsm);
		err = demand_step(d, level, view);
		view_unref(view);
		mutex_unlock(&d->lsm->compact_mu);
		if (d->total < d->done)
			d->total = d->done;
		if (!err && d->progress && d->progress(d->ctx, d->done, d->total))
			err = -EINTR;
	}
	return err == 1 ? 0 : err;
}

static uint64_t bytes_above_bottom(struct lsm *lsm)
{
	struct view *view = view_current(lsm);
	unsigned deepest = version_deepest(view->version);
	uint64_t bytes = 0;

	for (unsigned n = 0; n < deepest || n == 0; n++)
		bytes += view->version->level[n].bytes * (deepest > n ? deepest - n : 1);
	view_unref(view);
	return bytes;
}

static int collect_segments(struct lsm *lsm)
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
	d.total = bytes_above_bottom(lsm);
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
		err = collect_segments(lsm);
	background_purge(lsm);
	if (!err)
		err = background_tidy_manifest(lsm);
	if (!err && progress)
		progress(ctx, d.total, d.total);
	return !err && d.damaged ? -EUCLEAN : err;
}

/* ---- statistics ---- */

static int add_size(void *ctx, const char *name, uint64_t size)
{
	(void)name;
	*(uint64_t *)ctx += size;
	return 0;
}

void lsm_stats(struct lsm *lsm, struct lsm_stats *st)
{
	struct view *view = view_current(lsm);
	uint64_t segment_sizes = 0, count;
	struct segment_info *infos;
	struct cache_stats c;
	size_t n;

	*st = (struct lsm_stats){0};
	for (unsigned l = 0; l < LSM_LEVELS; l++) {
		const struct level *level = &view->version->level[l];

		st->level[l].tables = level->count;
		st->level[l].bytes = level->bytes;
		st->segment_live_bytes += level->segment_bytes;
		for (size_t i = 0; i < level->count; i++) {
			st->level[l].entries += level->tables[i]->entries;
			st->level[l].tombstones += level->tables[i]->tombstones;
			st->level[l].range_tombstones += level->tables[i]->ranges;
		}
	}
	for (size_t i = 0; i < view->memlogs_count; i++) {
		st->memtable_bytes += memtable_bytes(view->memlogs[i]->mem);
		st->memtable_entries += memtable_entries(view->memlogs[i]->mem);
		st->segment_live_bytes += atomic_load(&view->memlogs[i]->segment_bytes);
		if (view->memlogs[i]->log)
			st->log_bytes += view->memlogs[i]->log_reserved;
	}
	st->immutable_memtables = view->memlogs_count - 1;
	view_unref(view);
	segments_stats(lsm->segments, &count, &st->segment_bytes, &st->segment_bytes_written);
	st->segments = count;
	if (!segments_list(lsm->segments, &infos, &n)) {
		for (size_t i = 0; i < n; i++)
			segment_sizes += infos[i].size;
		free(infos);
	}
	if (!lsm->st->ops->list(lsm->st, add_size, &st->disk_bytes)) {
		/* Files' sizes, but of segments what they occupy. */
		st->disk_bytes =
			st->disk_bytes > segment_sizes ? st->disk_bytes - segment_sizes : 0;
		st->disk_bytes += st->segment_bytes;
	}
	cache_stats(lsm->cache, &c);
	st->cache_bytes = c.bytes;
	st->cache_bytes_max = c.bytes_max;
	st->cache_hits = c.hits;
	st->cache_misses = c.misses;
	st->user_bytes_written = atomic_load(&lsm->user_bytes);
	st->log_bytes_written = atomic_load(&lsm->log_bytes);
	st->table_bytes_written = atomic_load(&lsm->table_bytes);
	st->flushes = atomic_load(&lsm->flushes);
	st->compactions = atomic_load(&lsm->compactions);
	st->trivial_moves = atomic_load(&lsm->moves);
	st->write_slowdowns = atomic_load(&lsm->slowdowns);
	st->write_stops = atomic_load(&lsm->stops);
	st->filter_negatives = atomic_load(&lsm->env.filter_negatives);
	st->filter_false_positives = atomic_load(&lsm->env.filter_false_positives);
	st->sequence = tree_sequence(lsm);
	st->sequence_synced = atomic_load(&lsm->sequence_synced);
	st->read_only = lsm->opt.read_only || atomic_load(&lsm->failed);
}
