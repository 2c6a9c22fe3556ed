/*
 * stats.c - what a store reports about itself: lsm_stats(), lsm_space().
 */
#include <stdlib.h>

#include "lsm/view.h"

int lsm_space(struct lsm *lsm, uint64_t *free_bytes, uint64_t *total_bytes)
{
	return lsm->st->ops->space(lsm->st, free_bytes, total_bytes);
}

static int stats_add_size(void *ctx, const char *name, uint64_t size)
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
			st->log_bytes += atomic_load(&view->memlogs[i]->log_reserved);
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
	if (!lsm->st->ops->list(lsm->st, stats_add_size, &st->disk_bytes)) {
		/* The sizes of all files, but for segments the space that they occupy. */
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
