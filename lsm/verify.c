/*
 * verify.c - lsm_verify(): is everything on disk what was written?
 *
 * Every table is read with all values that its entries refer to. That may take hours, and the
 * tree may be in use meanwhile. Nothing that was there at the start may be missed, nothing may
 * be reported that is not so, and what is deleted meanwhile has to free its space. The rules:
 *
 *   1. Memtables are written to tables first, so that there are only tables to read. A tree
 *      that cannot write deletes nothing either: its memtables are read under one view.
 *   2. Levels are read from 0 down, each once and in one direction. Level 0 is read by
 *      ascending number, up to the number that was next at the start, the others by key.
 *      What a compaction moves goes down or stays within its keys. So it is met again behind
 *      the place it was taken from, or was met already. What is written after the start need
 *      not be met. Hence an end.
 *   3. Only the table being read is pinned: neither a view nor a version. The reference to it
 *      keeps its file, and keeps the segments it refers to from being deleted or punched
 *      (gc.c, rule 1), also when it is in no version any more. So no value can seem damaged
 *      because it is dead.
 *   4. One table may refer to gigabytes. After SLICE_BYTES of values it is let go if it is in
 *      the tree no more. Reading then goes on at the same key in the tables that have taken
 *      its place.
 *
 * The manifest is only read at an open, so it is read here too, and compared with what is
 * current, while no edit can come. It is in the page cache by then.
 *
 * Blocks and values are read past the block cache. Beside one table's index and filter, a
 * block and a value, nothing is kept in memory.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lsm/meta_check.h"
#include "lsm/view.h"

#define SLICE_BYTES (16u << 20) /* a fraction of a second; and seldom more than a table */
/* What verify_entry() returns to end table_verify(): the table is in the tree no more. */
#define VERIFY_GONE 1

struct verify {
	struct lsm *lsm;
	lsm_damage_fn *damage;
	void *damage_ctx;
	lsm_progress_fn *progress;
	void *progress_ctx;
	uint64_t done, total;
	bool damaged;
	struct lsm_value value;

	/* Where it is: level 0 up to a number, the others up to a key. */
	unsigned level;
	uint64_t number, number_end;
	struct buf from;                /* user key: all below it is done; size 0: none */
	const struct table_meta *table; /* being read; NULL: a memtable */
	uint64_t slice;                 /* bytes of values since it was last seen in the tree */
	struct meta_check meta;
};

/* ---- reporting ---- */

static void verify_found(void *ctx, const struct lsm_damage *damage)
{
	struct verify *v = ctx;

	v->damaged = true;
	if (v->damage)
		v->damage(v->damage_ctx, damage);
}

static int verify_advance(struct verify *v, uint64_t bytes)
{
	v->done += bytes;
	/* More than the total: a table was met twice, or was written after the start. */
	if (v->done > v->total)
		v->total = v->done;
	return v->progress && v->progress(v->progress_ctx, v->done, v->total) ? -EINTR : 0;
}

/* The table to be read next in `view`, or NULL at the end of the level. */
static struct table_meta *verify_next_table(const struct verify *v, const struct view *view)
{
	const struct level *l = &view->version->level[v->level];
	size_t i = l->count;

	if (v->level) {
		i = v->from.size ? version_find(view->version, v->level, buf_slice(&v->from)) : 0;
		return i < l->count ? l->tables[i] : NULL;
	}
	while (i-- > 0) /* the newest are first */
		if (l->tables[i]->number > v->number && l->tables[i]->number < v->number_end)
			return l->tables[i];
	return NULL;
}

/* ---- values ---- */

static bool verify_is_gone(struct verify *v)
{
	struct view *view = view_current(v->lsm);
	const struct level *l = &view->version->level[v->level];
	bool gone = true;

	for (size_t i = 0; gone && i < l->count; i++)
		gone = l->tables[i] != v->table;
	view_unref(view);
	return gone;
}

static void verify_found_value(struct verify *v, struct lsm_slice key, struct lsm_slice stored,
			       int err)
{
	struct lsm_damage d = {.first_key = key,
			       .last_key = key,
			       .file = "a table",
			       .reason = "malformed reference to a segment"};
	char name[SEGMENT_NAME_BYTES];
	struct segment_ref ref;

	if (!segment_ref_decode(stored, &ref)) {
		segment_name(name, ref.segment);
		d.file = name;
		d.offset = ref.offset;
		d.reason = err == -EIO ? "the device cannot read the value in the segment" :
					 "the value in the segment is damaged or missing";
	}
	verify_found(v, &d);
}

/* Each entry: a value in a segment is read and compared with its checksums. */
static int verify_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice stored)
{
	struct verify *v = ctx;
	struct lsm_slice key = ikey_user(ikey);
	struct segment_ref ref;
	int err;

	meta_check_entry(&v->meta, ikey, stored);
	if (ikey_type(ikey) != IKEY_PUT_REF ||
	    (v->table && v->from.size && slice_compare(key, buf_slice(&v->from)) < 0))
		return 0;
	if (!segment_ref_decode(stored, &ref) && ref.segment == SEGMENT_LOST)
		return 0; /* a repair put it there: nothing is wrong with it */
	err = tree_value(v->lsm, key, IKEY_PUT_REF, stored, &v->value);
	if (err && err != -EUCLEAN && err != -EIO)
		return err;
	if (err)
		verify_found_value(v, key, stored, err);
	err = verify_advance(v, v->value.size);
	v->slice += v->value.size;
	if (err || !v->table || v->slice < SLICE_BYTES)
		return err;
	v->slice = 0;
	if (!verify_is_gone(v))
		return 0;
	/* Never go on at the same key again, so that there is an end. */
	if (v->level && v->from.size && !slice_compare(key, buf_slice(&v->from)))
		return 0;
	v->from.size = 0;
	err = buf_add(&v->from, key.data, key.size);
	return err ? err : VERIFY_GONE;
}

/* ---- tables ---- */

static int verify_table(struct verify *v, struct table_meta *t)
{
	char name[TABLE_NAME_BYTES];
	const char *wrong;
	int err = meta_check_begin(&v->meta, t);

	if (err)
		return err;
	v->table = t;
	v->slice = 0;
	err = table_verify(&v->lsm->env, t->number, t->bytes, t->smallest, t->largest, verify_found,
			   v, verify_entry, v);
	wrong = meta_check_end(&v->meta, !err);
	v->meta.t = NULL;
	if (wrong) {
		table_name(name, t->number);
		verify_found(v, &(struct lsm_damage){.file = name, .reason = wrong});
	}
	v->table = NULL;
	v->number = t->number;
	if (err == VERIFY_GONE)
		return 0;
	if (err && err != -EUCLEAN)
		return err;
	v->from.size = 0;
	err = buf_add(&v->from, t->largest.data, t->largest.size);
	/* An excluded end may be where the next one starts. */
	if (!err && !t->largest_excluded)
		err = buf_add(&v->from, "", 1);
	return err ? err : verify_advance(v, t->bytes);
}

static int verify_level(struct verify *v, unsigned level)
{
	int err = 0;

	v->level = level;
	v->number = 0;
	v->from.size = 0;
	while (!err) {
		struct view *view = view_current(v->lsm);
		struct table_meta *t = verify_next_table(v, view);

		if (t)
			table_meta_ref(t);
		view_unref(view);
		if (!t)
			break;
		if (!level)
			v->from.size = 0;
		err = verify_table(v, t);
		table_meta_unref(t);
	}
	return err;
}

/* The values that only memtables refer to. */
static int verify_memlogs(struct verify *v)
{
	struct view *view = view_current(v->lsm);
	int err = 0;

	for (size_t i = 0; !err && i < view->memlogs_count; i++) {
		struct iter *it = memtable_iter(view->memlogs[i]->mem);

		if (!it)
			err = -ENOMEM;
		else
			for (it->ops->first(it); !err && it->valid; it->ops->next(it))
				err = verify_entry(v, it->key, it->value);
		iter_free(it);
	}
	view_unref(view);
	return err;
}

/* ---- the manifest ---- */

#define WHY_BYTES 512u

/* Keep the text until the lock is released: the callback may take its time. */
static void verify_on_report(void *ctx, enum lsm_report_level level, const char *text)
{
	if (level == LSM_REPORT_ERROR)
		snprintf(ctx, WHY_BYTES, "%s", text);
}

static bool verify_same_tables(const struct version *a, const struct version *b)
{
	for (unsigned n = 0; n < LSM_LEVELS; n++) {
		if (a->level[n].count != b->level[n].count)
			return false;
		for (size_t i = 0; i < a->level[n].count; i++)
			if (a->level[n].tables[i]->number != b->level[n].tables[i]->number)
				return false;
	}
	return true;
}

/* Would the next open find the tables that are current now? */
static int verify_manifest(struct verify *v)
{
	struct lsm *lsm = v->lsm;
	char why[WHY_BYTES] = "";
	struct report silent = {0}, report = {verify_on_report, why};
	struct manifest_state state;
	struct view *view = NULL;
	int err = 0;

	if (lsm->opt.read_only) /* as it was read at the open */
		return 0;
	/* A slow disk should be waited for without the lock. */
	if (!manifest_read(lsm->st, &silent, &state))
		manifest_state_release(&state);
	mutex_lock(&lsm->manifest_mu);
	if (lsm->manifest_broken) /* a new one will be written */
		goto out;
	err = manifest_read(lsm->st, &report, &state);
	if (err) {
		if (!*why && (err == -EUCLEAN || err == -ENOENT || err == -EIO))
			snprintf(why, sizeof(why), "cannot be read: %s", strerror(-err));
		goto out;
	}
	view = view_current(lsm);
	if (state.torn)
		snprintf(why, sizeof(why), "it ends in a damaged edit");
	else if (!verify_same_tables(state.version, view->version))
		snprintf(why, sizeof(why), "it names other tables than there are");
	manifest_state_release(&state);
out:
	mutex_unlock(&lsm->manifest_mu);
	view_unref(view);
	if (*why)
		verify_found(v, &(struct lsm_damage){.file = "the manifest", .reason = why});
	return *why ? 0 : err;
}

static void verify_begin(struct verify *v)
{
	struct view *view = view_current(v->lsm);
	const char *why;

	for (unsigned n = 0; n < LSM_LEVELS; n++)
		v->total += view->version->level[n].bytes + view->version->level[n].segment_bytes;
	if (!version_valid(view->version, &why))
		verify_found(v, &(struct lsm_damage){.file = "the manifest", .reason = why});
	view_unref(view);
}

int lsm_verify(struct lsm *lsm, lsm_damage_fn *damage, void *damage_ctx, lsm_progress_fn *progress,
	       void *progress_ctx)
{
	struct verify v = {.lsm = lsm,
			   .damage = damage,
			   .damage_ctx = damage_ctx,
			   .progress = progress,
			   .progress_ctx = progress_ctx};
	int err = 0;

	/* If the flush fails (a full disk, a failed log), the memtables have to be read. */
	if (lsm_flush(lsm))
		err = verify_memlogs(&v);
	v.number_end = tree_new_file(lsm);
	verify_begin(&v);
	if (!err)
		err = verify_manifest(&v);
	for (unsigned n = 0; !err && n < LSM_LEVELS; n++)
		err = verify_level(&v, n);
	buf_release(&v.from);
	lsm_value_release(&v.value);
	return err ? err : v.damaged ? -EUCLEAN : 0;
}
