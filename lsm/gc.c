/*
 * gc.c - freeing the space of dead values in segments.
 *
 * A segment that nothing refers to is deleted as a whole by segments.c, at once. This file
 * deals with those that are partly dead. No count says which bytes of a segment are alive.
 * That is found by reading the tables that refer to the segment, and each table's meta says
 * which segments these are. So it cannot be wrong after a crash, and values that several keys
 * share need no reference counts of their own.
 *
 * The rules for punching holes into a sealed segment:
 *   1. no memtable and no writer refers to it (its only references are tables');
 *   2. the version looked at is the only one alive, so no reader can still reach a value that
 *      the version does not have, nor make a new reference to one;
 *   3. every table that refers to it was read whole, without an error. A table for which that
 *      failed is marked, and the segments it refers to are left alone.
 * New references can then only come from live ones (lsm_batch_put_slice), so what is dead now
 * stays dead.
 *
 * A segment with very little left alive is emptied instead: its values move when the tables
 * that refer to it are rewritten in place (compact_write.c), and the last reference deletes it.
 * Otherwise a store would gather files with a few blocks each.
 */
#include "lsm/gc.h"

#include <assert.h>
#include <stdlib.h>

#include "lsm/compact.h"
#include "lsm/view.h"

#define GARBAGE_BYTES_MIN (1u << 20) /* less dead than this is not worth reading tables for */
#define EMPTY_BELOW 16               /* empty a segment when less than 1/16 of it is alive */
#define SEGMENTS_AT_ONCE 16

struct live_range {
	uint64_t start, end;
};

struct candidate {
	struct segment_info info;
	struct buf ranges; /* struct live_range */
};

/* ---- which segments ---- */

static void gc_add_live(const struct version *v, struct segment_info *infos, size_t count)
{
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < v->level[l].count; i++) {
			const struct table_meta *t = v->level[l].tables[i];
			size_t at = 0; /* both lists ascend */

			for (size_t u = 0; u < t->uses_count; u++) {
				while (at < count && infos[at].number < t->uses[u].number)
					at++;
				if (at < count && infos[at].number == t->uses[u].number)
					infos[at].live += t->uses[u].bytes;
			}
		}
}

/* How many tables refer to the segment; -1 if one of them is known to be damaged. */
static int gc_table_refs(const struct version *v, uint64_t segment)
{
	int refs = 0;

	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < v->level[l].count; i++)
			for (size_t u = 0; u < v->level[l].tables[i]->uses_count; u++) {
				if (v->level[l].tables[i]->uses[u].number != segment)
					continue;
				if (atomic_load(&v->level[l].tables[i]->damaged))
					return -1;
				refs++;
			}
	return refs;
}

/*
 * Worth punching: enough of what is on disk is dead, and more of it than when it was last
 * punched. (Where the storage cannot punch holes, the space on disk never shrinks.)
 */
static bool gc_worth_punching(const struct lsm *lsm, const struct segment_info *s)
{
	uint64_t min = lsm->opt.segment_bytes / 16;

	if (min > GARBAGE_BYTES_MIN)
		min = GARBAGE_BYTES_MIN;
	return s->allocated > s->live + min &&
	       (s->punched_at_live == UINT64_MAX || s->live + min <= s->punched_at_live);
}

/* ---- what is alive in them ---- */

/* Note what the reference in the entry at `it` keeps alive of the candidates. */
static int gc_collect(const struct lsm *lsm, struct candidate *list, size_t count,
		      const struct iter *it)
{
	struct segment_ref ref;
	int err = tree_ref_decode(lsm, ikey_user(it->key), it->value, &ref);

	for (size_t i = 0; !err && i < count; i++)
		if (list[i].info.number == ref.segment) {
			struct live_range r = {ref.offset, ref.offset + segment_ref_bytes(&ref)};

			return buf_add(&list[i].ranges, &r, sizeof(r));
		}
	return err;
}

static bool gc_table_uses(const struct table_meta *t, const struct candidate *list, size_t count)
{
	for (size_t u = 0; u < t->uses_count; u++)
		for (size_t i = 0; i < count; i++)
			if (t->uses[u].number == list[i].info.number)
				return true;
	return false;
}

static int gc_read_table(struct lsm *lsm, const struct table_meta *meta, struct candidate *list,
			 size_t count)
{
	struct table *t;
	struct iter *it;
	int err = table_acquire(&lsm->env, meta->number, meta->bytes, &t);

	if (err)
		return err;
	it = table_iter(t, false);
	table_release(t);
	if (!it)
		return -ENOMEM;
	for (it->ops->first(it); !err && it->valid; it->ops->next(it))
		if (ikey_type(it->key) == IKEY_PUT_REF)
			err = gc_collect(lsm, list, count, it);
	if (!err)
		err = it->err;
	iter_free(it);
	return err;
}

static int gc_compare_ranges(const void *a, const void *b)
{
	const struct live_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* Punch everything of the segment that is not in its (sorted) live ranges. */
static int gc_punch(struct lsm *lsm, struct candidate *c)
{
	struct live_range *r = (struct live_range *)c->ranges.data;
	size_t count = c->ranges.size / sizeof(*r);
	uint64_t at = 0, size = (c->info.size + SEGMENT_CHUNK - 1) / SEGMENT_CHUNK * SEGMENT_CHUNK;
	int err = 0;

	if (count)
		qsort(r, count, sizeof(*r), gc_compare_ranges);
	for (size_t i = 0; !err && i <= count; i++) {
		uint64_t start = i < count ? r[i].start : size;

		if (start > at)
			err = segments_punch(lsm->segments, c->info.number, at, start - at);
		if (i < count && r[i].end > at)
			at = r[i].end;
	}
	if (!err)
		segments_set_mark(lsm->segments, c->info.number, c->info.live);
	return err;
}

/* ---- the step ---- */

/* Rule 2: no reader holds an older view of the tables, nor an older memlog. */
static bool gc_only_view(struct lsm *lsm, const struct view *view)
{
	bool only;

	mutex_lock(&lsm->mu);
	/* A version's only reference is that of its view, and all other views are gone. */
	only = lsm->view == view && atomic_load(&view->version->refs) == 1 &&
	       atomic_load(&lsm->views_alive) == 1;
	mutex_unlock(&lsm->mu);
	return only;
}

static int gc_punch_candidates(struct lsm *lsm, const struct view *view, struct candidate *list,
			       size_t count)
{
	int err = 0;

	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; !err && i < view->version->level[l].count; i++)
			if (gc_table_uses(view->version->level[l].tables[i], list, count)) {
				err = gc_read_table(lsm, view->version->level[l].tables[i], list,
						    count);
				if (err == -EUCLEAN)
					compact_mark(lsm, view->version->level[l].tables[i]);
			}
	for (size_t i = 0; !err && i < count; i++)
		err = gc_punch(lsm, &list[i]);
	return err;
}

/* Rewrite in place the first table that refers to `segment`, moving its values elsewhere. */
static int gc_empty_segment(struct lsm *lsm, const struct view *view, uint64_t segment, bool *did)
	REQUIRES(lsm->compact_mu)
{
	struct pick p;
	int err;

	for (unsigned l = 1; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < view->version->level[l].count; i++) {
			struct table_meta *t = view->version->level[l].tables[i];

			for (size_t u = 0; u < t->uses_count; u++) {
				if (t->uses[u].number != segment)
					continue;
				err = version_pick_tables(view->version, l, l, &t, 1, &p);
				if (!err)
					err = compact_pick(lsm, view->version, &p, &segment, 1);
				pick_release(&p);
				*did = !err;
				return err;
			}
		}
	return 0;
}

int gc_step(struct lsm *lsm, bool *did)
{
	struct candidate list[SEGMENTS_AT_ONCE] = {0};
	struct view *view = view_current(lsm);
	struct segment_info *infos;
	uint64_t to_empty = 0;
	size_t count, chosen = 0;
	int err;

	mutex_assert_held(&lsm->compact_mu);
	*did = false;
	err = segments_list(lsm->segments, &infos, &count);
	if (err)
		goto out;
	gc_add_live(view->version, infos, count);
	for (size_t i = 0; i < count; i++) {
		struct segment_info *g = &infos[i];

		/* Rule 1: only tables refer to it. */
		if (g->refs != gc_table_refs(view->version, g->number))
			continue;
		if (!g->sealed) {
			/* It is being written to: it can be collected once it is sealed. */
			if (gc_worth_punching(lsm, g) && g->live < g->size / 2) {
				segments_seal(lsm->segments, g->number);
				*did = true;
			}
			continue;
		}
		if (g->live && g->live < lsm->opt.segment_bytes / EMPTY_BELOW &&
		    g->size >= lsm->opt.segment_bytes / 2 && !to_empty && !g->stuck)
			to_empty = g->number;
		else if (gc_worth_punching(lsm, g) && chosen < SEGMENTS_AT_ONCE)
			list[chosen++].info = *g;
	}
	if (chosen && gc_only_view(lsm, view)) {
		err = gc_punch_candidates(lsm, view, list, chosen);
		*did = !err;
	}
	if (!err && !*did && to_empty)
		err = gc_empty_segment(lsm, view, to_empty, did);
	/* It was reported and marked: next time those segments are left out. */
	if (err == -EUCLEAN) {
		err = 0;
		*did = true;
	}
	for (size_t i = 0; i < chosen; i++)
		buf_release(&list[i].ranges);
	free(infos);
out:
	view_unref(view);
	return err;
}
