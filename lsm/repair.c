/*
 * repair.c - opening a damaged store with all that can be read of it.
 *
 * lsm_repair_open() is an ordinary open on an overlay (storage_overlay.c), so nothing of
 * it is on disk before the commit, and it differs in what it does about damage:
 *
 *   CURRENT   the newest manifest that is whole takes its place
 *   manifest  if there is none, all tables of the directory are rewritten to level 0 and
 *             merged into the deepest level at once: then the order of versions is that
 *             of their sequences, whatever level a table was of. A table that was dead
 *             may bring back what had been deleted; nothing can tell.
 *             So it is, too, if no store can be made of what the newest one says.
 *   tables    a table that is damaged, or of which the manifest says what is not so, is
 *             replaced, on its level, by one of all its blocks that can be read, also
 *             without its index (table_salvage.c). Level 0 is ordered by number, so
 *             there all newer ones are written again behind it.
 *   log       all whole records, in the order of sequences (recover.c)
 *   segments  nothing: who reads such a value is told, and the layer above knows what
 *             its values are
 *
 * Before the commit what it would leave is opened, and its new tables are read: if that
 * fails the store stays as it was.
 *
 * Older versions. Behind a lost block of a table, a deeper level may have an older
 * version of a key that the block had: it would come to light, and be wrong. The table's
 * filter is a block of its own, and still tells which keys the table had (but for one
 * key in a hundred, which then is lost without need). So a key is deleted when
 *
 *   - it is within what the lost block may have held,
 *   - its newest version that is left is not above the highest sequence of the table,
 *     nor in what is left of the table (the block's last key aside: behind a lost block
 *     there are only older versions of it), and
 *   - the filter knows it.
 *
 * Where there is no filter to ask (a table that is missing or was cut off) older
 * versions stay: the alternative would be to give up all that the table's range covers.
 * What the table is said to have held is told.
 */
#include <stdlib.h>

#include "lsm/table/filter.h"
#include "lsm/storage_overlay.h"
#include "lsm/tree.h"

/* A part of a table that cannot be read; keys are inclusive. */
struct lost {
	struct buf first, last;
	bool whole; /* all of the table, not a block */
};

struct lost_table {
	uint64_t number, bytes; /* of what took its place; number 0: nothing */
	uint64_t sequence_max;
	struct buf filter;
	struct lost *parts;
	size_t parts_count;
};

struct repair {
	lsm_damage_fn *damage;
	void *damage_ctx;
	bool damaged, rebuilt;
	bool no_manifest;   /* to be done as if there were none */
	uint64_t made_from; /* tables from this number on are the repair's */
	struct lost_table *tables;
	size_t tables_count;
};

void repair_free(struct repair *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->tables_count; i++) {
		struct lost_table *t = &r->tables[i];

		for (size_t j = 0; j < t->parts_count; j++) {
			buf_release(&t->parts[j].first);
			buf_release(&t->parts[j].last);
		}
		free(t->parts);
		buf_release(&t->filter);
	}
	free(r->tables);
	free(r);
}

static void tell(struct repair *r, const struct lsm_damage *d)
{
	r->damaged = true;
	if (r->damage)
		r->damage(r->damage_ctx, d);
}

void repair_tell(struct repair *r, const char *file, uint64_t offset, const char *reason)
{
	tell(r, &(struct lsm_damage){.file = file, .offset = offset, .reason = reason});
}

/* ---- one table ---- */

/* A table while it is read. */
struct reading {
	struct lsm *lsm;
	struct lost_table *lost; /* NULL: a table of which nothing is known but the file */
	struct lsm_slice smallest, largest;
	struct memtable *mem;
	bool damaged, silent;
	int err;
};

static void on_damage(void *ctx, const struct lsm_damage *d)
{
	struct reading *r = ctx;
	struct lost_table *t = r->lost;
	struct lost *grown, *part;

	r->damaged = true;
	if (r->silent)
		return;
	tell(r->lsm->repair, d);
	if (!t || !d->first_key.size || !d->last_key.size || r->err)
		return;
	grown = realloc(t->parts, (t->parts_count + 1) * sizeof(*grown));
	if (!grown) {
		r->err = -ENOMEM;
		return;
	}
	t->parts = grown;
	part = &grown[t->parts_count++];
	*part = (struct lost){0};
	if (buf_add(&part->first, d->first_key.data, d->first_key.size) ||
	    buf_add(&part->last, d->last_key.data, d->last_key.size))
		r->err = -ENOMEM;
	part->whole = !slice_compare(d->first_key, r->smallest) &&
		      !slice_compare(d->last_key, r->largest);
}

static int compare_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	meta_check_entry(ctx, ikey, value);
	return 0;
}

static int on_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	struct reading *r = ctx;
	struct segment_ref ref;

	if (!ikey_valid(ikey) ||
	    (ikey_type(ikey) == IKEY_PUT_REF && segment_ref_decode(value, &ref))) {
		r->damaged = true;
		repair_tell(r->lsm->repair, "a table", 0, "malformed entry");
		return 0;
	}
	return memtable_add(r->mem, ikey_sequence(ikey), ikey_type(ikey), ikey_user(ikey), value);
}

/* Write what can be read of a table to a new one of `level`, which the edit then adds. */
static int rewrite(struct reading *r, uint64_t number, uint64_t bytes, unsigned level,
		   uint64_t created_s, struct version_edit *edit)
{
	struct compact_job job = {
		.lsm = r->lsm, .output_level = level, .created_s = created_s, .edit = edit};
	struct table_env *env = &r->lsm->env;
	struct buf filter = {0};
	int err;

	r->mem = memtable_new();
	job.ranges = rangedel_new();
	job.input = r->mem ? memtable_iter(r->mem) : NULL;
	err = job.ranges && job.input ? 0 : -ENOMEM;
	r->silent = true;
	if (!err)
		err = table_verify(env, number, bytes, r->smallest, r->largest, on_damage, r,
				   on_entry, r);
	if (!err || err == -EUCLEAN)
		err = table_salvage(env, number, bytes, r->smallest, r->largest, on_entry, r,
				    r->lost ? &r->lost->filter : &filter, job.ranges);
	if (!err)
		err = rangedel_finish(job.ranges);
	if (!err)
		err = compact_write(&job);
	iter_free(job.input);
	rangedel_free(job.ranges);
	memtable_unref(r->mem);
	r->mem = NULL;
	buf_release(&filter);
	return err;
}

/*
 * Look at a table, and if it is damaged, or `always`, put what can be read of it in its
 * place: the edit then adds at most one table to `level`. `t` is what is known of it, or
 * NULL.
 */
static int salvage(struct reading *r, const struct table_meta *t, uint64_t number, uint64_t bytes,
		   unsigned level, uint64_t created_s, bool always, struct version_edit *edit)
{
	struct table_env *env = &r->lsm->env;
	char name[TABLE_NAME_BYTES];
	struct meta_check meta;
	const char *wrong;
	int err = meta_check_begin(&meta, t);

	if (err)
		return err;
	table_name(name, number);
	err = table_verify(env, number, bytes, r->smallest, r->largest, on_damage, r, compare_entry,
			   &meta);
	wrong = meta_check_end(&meta, !err);
	/* Nothing of it is lost. */
	if (wrong && !r->damaged) {
		repair_tell(r->lsm->repair, name, 0, wrong);
		r->damaged = true;
	}
	if (err == -EIO) {
		on_damage(r, &(struct lsm_damage){.file = name,
						  .first_key = r->smallest,
						  .last_key = r->largest,
						  .reason = "cannot be opened"});
		return r->err;
	}
	if (err && err != -EUCLEAN)
		return err;
	if (r->err || (!r->damaged && !always))
		return r->err;
	return rewrite(r, number, bytes, level, created_s, edit);
}

/* ---- the tables of a manifest ---- */

/* Table `t` of `level` is or may be damaged. `*again`: it, and what is newer, is rewritten. */
static int repair_table(struct lsm *lsm, unsigned level, struct table_meta *t, bool *again,
			struct version_edit *edit)
{
	struct lost_table *grown, *lost;
	struct reading r = {.lsm = lsm, .smallest = t->smallest, .largest = t->largest};
	size_t adds = edit->adds_count;
	int err;

	grown = realloc(lsm->repair->tables, (lsm->repair->tables_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	lsm->repair->tables = grown;
	lost = &grown[lsm->repair->tables_count++];
	*lost = (struct lost_table){.sequence_max = t->sequence_max};
	r.lost = lost;
	err = salvage(&r, t, t->number, t->bytes, level, t->created_s, *again, edit);
	if (!err && (r.damaged || *again))
		err = version_edit_delete(edit, level, t);
	if (edit->adds_count > adds) {
		lost->number = edit->adds[adds].table->number;
		lost->bytes = edit->adds[adds].table->bytes;
	}
	*again |= r.damaged && !level;
	if (!lost->parts_count) { /* nothing is in doubt */
		buf_release(&lost->filter);
		free(lost->parts);
		lsm->repair->tables_count--;
	}
	return err;
}

/* ---- without a manifest ---- */

static int table_size(struct lsm *lsm, uint64_t number, uint64_t *bytes)
{
	char name[TABLE_NAME_BYTES];
	struct storage_file *f;
	int err;

	table_name(name, number);
	err = storage_open_file(lsm->st, name, STORAGE_READ, &f);
	if (err)
		return err;
	err = lsm->st->ops->size(f, bytes, NULL);
	storage_close(f);
	return err;
}

static int take_table(struct lsm *lsm, uint64_t number, struct version_edit *edit)
{
	struct reading r = {.lsm = lsm};
	uint64_t bytes;
	int err = table_size(lsm, number, &bytes);

	if (!err)
		err = salvage(&r, NULL, number, bytes, 0, tree_now_s(), true, edit);
	return err;
}

static uint64_t sequence_of(const struct version *v)
{
	uint64_t max = 0;

	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < v->level[l].count; i++)
			if (v->level[l].tables[i]->sequence_max > max)
				max = v->level[l].tables[i]->sequence_max;
	return max;
}

int repair_tables(struct lsm *lsm, struct manifest_state *s, const uint64_t *list, size_t count)
{
	struct version_edit edit = {0};
	struct version *next;
	const char *reason;
	int err = 0;

	lsm->repair->made_from = lsm->next_file;
	for (unsigned l = 0; l < LSM_LEVELS; l++) {
		const struct level *level = &s->version->level[l];
		bool again = false;

		/* Level 0 from its oldest on. */
		for (size_t i = level->count; !err && i-- > 0;)
			err = repair_table(lsm, l, level->tables[i], &again, &edit);
	}
	for (size_t i = 0; !err && i < count; i++)
		err = take_table(lsm, list[i], &edit);
	if (!err) {
		err = version_apply(s->version, &edit, &next, &reason);
		if (err == -EUCLEAN)
			err = report_corrupt(&lsm->report, "the manifest", 0, "%s", reason);
	}
	if (!err) {
		version_unref(s->version);
		s->version = next;
	}
	version_edit_release(&edit);
	if (!err && list) {
		lsm->repair->rebuilt = true;
		s->sequence_flushed = sequence_of(s->version);
	}
	return err;
}

/* Merge all of level 0 into the deepest level. */
static int merge_all(struct lsm *lsm)
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

/* Whether the version of `key` that is left is one that the lost part had a newer one of. */
static int is_stale(struct lsm *lsm, const struct lost_table *t, const struct lost *part,
		    struct lsm_slice key, bool *stale)
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
	err = tree_newest(lsm, key, &sequence);
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

static int hide_part(struct lsm *lsm, const struct lost_table *t, const struct lost *part,
		     struct lsm_batch *b)
{
	struct lsm_iter_options o = {.lower = buf_slice(&part->first), .no_cache = true};
	struct lsm_iter *it = lsm_iter_new(lsm, &o);
	int err = it ? 0 : -ENOMEM;

	if (it)
		lsm_iter_first(it);
	while (!err && lsm_iter_valid(it) &&
	       slice_compare(lsm_iter_key(it), buf_slice(&part->last)) <= 0) {
		bool stale;

		err = is_stale(lsm, t, part, lsm_iter_key(it), &stale);
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

static int hide_stale(struct lsm *lsm)
{
	struct lsm_batch *b = lsm_batch_new();
	int err = b ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < lsm->repair->tables_count; i++) {
		const struct lost_table *t = &lsm->repair->tables[i];

		for (size_t j = 0; !err && t->filter.size && j < t->parts_count; j++)
			err = hide_part(lsm, t, &t->parts[j], b);
	}
	if (!err && lsm_batch_count(b))
		err = lsm_write(lsm, b, 0);
	lsm_batch_free(b);
	return err;
}

/* ---- what was made ---- */

static void on_wrong(void *ctx, const struct lsm_damage *d)
{
	const struct lsm *lsm = ctx;

	report(&lsm->report, LSM_REPORT_ERROR, "what the repair made is wrong: %s: %s", d->file,
	       d->reason);
}

/* Open what a commit would leave, and read the tables that are new. */
static int check_made(struct lsm *lsm)
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
						   t->largest, on_wrong, lsm, NULL, NULL);
		}
	view_unref(view);
	(void)lsm_close(made); /* only read from */
	overlay_preview(lsm->st, false);
	return err;
}

/* ---- the interface ---- */

static int open_once(const char *path, const struct lsm_options *options, const struct repair *how,
		     bool *damaged, struct lsm **out)
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
		err = merge_all(*out);
	if (!err)
		err = hide_stale(*out);
	*damaged = r->damaged;
	if (err) {
		(void)lsm_close(*out);
		*out = NULL;
	}
	return err;
}

bool repair_without_manifest(const struct repair *r)
{
	return r->no_manifest;
}

int lsm_repair_open(const char *path, const struct lsm_options *options, lsm_damage_fn *damage,
		    void *damage_ctx, bool *damaged, struct lsm **out)
{
	struct lsm_options o = options ? *options : (struct lsm_options){0};
	struct repair how = {.damage = damage, .damage_ctx = damage_ctx};
	int err;

	*damaged = false;
	o.read_only = o.create = false;
	err = open_once(path, &o, &how, damaged, out);
	if (err != -EUCLEAN)
		return err;
	how.no_manifest = true;
	return open_once(path, &o, &how, damaged, out);
}

int lsm_repair_commit(struct lsm *lsm, uint64_t *kept_bytes)
{
	uint64_t bytes = 0;
	int err = tree_settle(lsm, true);

	if (!err)
		err = check_made(lsm);
	if (!err)
		err = overlay_commit(lsm->st, &bytes);
	if (kept_bytes)
		*kept_bytes = bytes;
	tree_free(lsm);
	return err;
}
