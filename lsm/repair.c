/*
 * repair.c - opening a damaged store with all that can be read of it, and committing that.
 *
 * lsm_repair_open() is an ordinary open on an overlay (storage_overlay.c), so nothing of it is
 * on disk before the commit. It differs in what it does about damage:
 *
 *   CURRENT   the newest manifest that is whole takes its place
 *   manifest  if there is none, all tables of the directory are rewritten to level 0 and merged
 *             into the deepest level at once. Then the order of versions is that of their
 *             sequences, whatever level a table was in. A table that was dead may bring back
 *             what had been deleted: no file says otherwise. The same is done if no store can
 *             be made of what the newest manifest says.
 *   tables    damaged ones are replaced by what can be read of them (repair_tables.c)
 *   log       all whole records, in the order of sequences (replay.c)
 *   segments  nothing is done: reading such a value reports it, and the layer above knows what
 *             its values are
 *
 * Before the commit the store that it would leave is opened, and its new tables are read. If
 * that fails the store stays as it was.
 *
 * Older versions. Below a lost block of a table, a deeper level may have an older version of a
 * key that the block had. It would come to light, and be wrong. The table's filter is a block
 * of its own, and still says which keys the table had. (It errs for one key in a hundred, which
 * is then lost without need.) So a key is deleted when
 *
 *   - it is within what the lost block may have held,
 *   - its newest version that is left is not above the highest sequence of the table, nor in
 *     what is left of the table (this does not hold for the block's last key: behind a lost
 *     block there are only older versions of it), and
 *   - the filter knows it.
 *
 * Without a filter (the table is missing or was cut off) older versions stay: the alternative
 * would be to give up all that the table's range covers. The range is reported.
 */
#include <stdlib.h>
#include <string.h>

#include "lsm/compact.h"
#include "lsm/get.h"
#include "lsm/repair_tables.h"
#include "lsm/storage_overlay.h"
#include "lsm/table/filter.h"
#include "lsm/tree_open.h"
#include "lsm/view.h"

/* Merge all of level 0 into the deepest level. */
static int repair_merge_all(struct lsm *lsm)
{
	struct pick p = {.reason = PICK_MANUAL, .output = LSM_LEVELS - 1};
	struct view *view;
	int err = 0;

	mutex_lock(&lsm->compact_mu);
	view = view_current(lsm);
	p.inputs_count = view->version->level[0].count;
	if (p.inputs_count) {
		p.inputs = calloc(p.inputs_count, sizeof(struct table_meta *));
		if (p.inputs)
			memcpy(p.inputs, view->version->level[0].tables,
			       p.inputs_count * sizeof(struct table_meta *));
		err = p.inputs ? compact_pick(lsm, view->version, &p, NULL, 0) : -ENOMEM;
	}
	view_unref(view);
	mutex_unlock(&lsm->compact_mu);
	pick_release(&p);
	return err;
}

/* ---- older versions ---- */

/* `*stale`: the lost part had a newer version of `key` than the one that is left. */
static int repair_is_stale(struct lsm *lsm, const struct lost_table *t,
			   const struct lost_part *part, struct lsm_slice key, bool *stale)
{
	struct lsm_value value = {0};
	enum ikey_type type;
	struct table *table;
	uint64_t sequence;
	int err;

	*stale = false;
	if (!filter_may_match(buf_slice(&t->filter), filter_hash(key)))
		return 0;
	/* The first key belongs to the block before, unless there is none. */
	if (!part->whole && !slice_compare(key, buf_slice(&part->first)) && part != t->parts)
		return 0;
	err = get_newest(lsm, key, &sequence);
	if (err || sequence > t->sequence_max)
		return err < 0 ? err : 0;
	*stale = true;
	if (!t->number || (!part->whole && !slice_compare(key, buf_slice(&part->last))))
		return 0;
	err = table_acquire(&lsm->env, t->number, t->bytes, &table);
	if (err)
		return err;
	err = table_get(table, key, SEQUENCE_MAX, &type, &sequence, &value);
	table_release(table);
	lsm_value_release(&value);
	if (!err)
		*stale = false;
	return err < 0 ? err : 0;
}

/* Delete, through `b`, the keys of the lost part of which only older versions are left. */
static int repair_hide_part(struct lsm *lsm, const struct lost_table *t,
			    const struct lost_part *part, struct lsm_batch *b)
{
	struct lsm_iter_options o = {.lower = buf_slice(&part->first), .no_cache = true};
	struct lsm_iter *it = lsm_iter_new(lsm, &o);
	int err = it ? 0 : -ENOMEM;

	if (it)
		lsm_iter_first(it);
	while (!err && lsm_iter_valid(it) &&
	       slice_compare(lsm_iter_key(it), buf_slice(&part->last)) <= 0) {
		bool stale;

		err = repair_is_stale(lsm, t, part, lsm_iter_key(it), &stale);
		if (!err && stale)
			err = lsm_batch_delete(b, lsm_iter_key(it));
		if (!err && lsm_batch_count(b) >= 1000) {
			err = lsm_write(lsm, b, 0);
			lsm_batch_clear(b);
		}
		lsm_iter_next(it);
	}
	if (!err && it)
		err = lsm_iter_status(it);
	lsm_iter_free(it);
	return err;
}

static int repair_hide_stale(struct lsm *lsm)
{
	struct lsm_batch *b = lsm_batch_new();
	int err = b ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < lsm->repair->tables_count; i++) {
		const struct lost_table *t = &lsm->repair->tables[i];

		for (size_t j = 0; !err && t->filter.size && j < t->parts_count; j++)
			err = repair_hide_part(lsm, t, &t->parts[j], b);
	}
	if (!err && lsm_batch_count(b))
		err = lsm_write(lsm, b, 0);
	lsm_batch_free(b);
	return err;
}

/* ---- checking the result ---- */

static void repair_on_wrong(void *ctx, const struct lsm_damage *d)
{
	const struct lsm *lsm = ctx;

	report(&lsm->report, LSM_REPORT_ERROR, "what the repair made is wrong: %s: %s", d->file,
	       d->reason);
}

/* Open the store that a commit would leave, and read the tables that are new. */
static int repair_check_made(struct lsm *lsm)
{
	struct lsm_options o = lsm->opt;
	struct lsm *made = NULL;
	struct view *view;
	int err;

	o.storage = lsm->st;
	o.read_only = true;
	o.discard_damage = false;
	overlay_preview(lsm->st, true);
	err = lsm_open(NULL, &o, &made);
	view = err ? NULL : view_current(made);
	for (unsigned l = 0; !err && l < LSM_LEVELS; l++)
		for (size_t i = 0; !err && i < view->version->level[l].count; i++) {
			const struct table_meta *t = view->version->level[l].tables[i];

			if (t->number >= lsm->repair->made_from)
				err = table_verify(&made->env, t->number, t->bytes, t->smallest,
						   t->largest, repair_on_wrong, lsm, NULL, NULL);
		}
	view_unref(view);
	(void)lsm_close(made); /* only read from */
	overlay_preview(lsm->st, false);
	return err;
}

/* ---- the interface ---- */

static int repair_open_once(const char *path, const struct lsm_options *options,
			    const struct repair *how, bool *damaged, struct lsm **out)
{
	struct repair *r = malloc(sizeof(*r));
	int err;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	*r = *how;
	err = tree_open(path, options, r, out);
	if (err)
		return err;
	if (r->rebuilt)
		err = repair_merge_all(*out);
	if (!err)
		err = repair_hide_stale(*out);
	*damaged = r->damaged;
	if (err) {
		(void)lsm_close(*out);
		*out = NULL;
	}
	return err;
}

int lsm_repair_open(const char *path, const struct lsm_options *options, lsm_damage_fn *damage,
		    void *damage_ctx, bool *damaged, struct lsm **out)
{
	struct lsm_options o = options ? *options : (struct lsm_options){0};
	struct repair how = {.damage = damage, .damage_ctx = damage_ctx};
	int err;

	*damaged = false;
	o.read_only = o.create = false;
	err = repair_open_once(path, &o, &how, damaged, out);
	if (err != -EUCLEAN)
		return err;
	how.no_manifest = true;
	return repair_open_once(path, &o, &how, damaged, out);
}

int lsm_repair_commit(struct lsm *lsm, uint64_t *kept_bytes)
{
	uint64_t bytes = 0;
	int err = tree_stop(lsm, true);

	if (!err)
		err = repair_check_made(lsm);
	if (!err)
		err = overlay_commit(lsm->st, &bytes);
	if (kept_bytes)
		*kept_bytes = bytes;
	tree_free(lsm);
	return err;
}
