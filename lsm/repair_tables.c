/*
 * repair_tables.c - reading damaged tables, and making tables of what is left.
 *
 * A table that is damaged, or of which the manifest says something that is not so, is
 * replaced on its level by a new one. That one has all blocks that can be read, also without
 * the table's index (table_salvage.c). Level 0 is ordered by number, so there all newer tables
 * are written again behind it.
 */
#include "lsm/repair_tables.h"

#include <stdlib.h>

#include "lsm/apply.h"
#include "lsm/base/array.h"
#include "lsm/compact_write.h"
#include "lsm/memtable.h"
#include "lsm/meta_check.h"

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

static void repair_damage(struct repair *r, const struct lsm_damage *d)
{
	r->damaged = true;
	if (r->damage)
		r->damage(r->damage_ctx, d);
}

void repair_report(struct repair *r, const char *file, uint64_t offset, const char *reason)
{
	repair_damage(r, &(struct lsm_damage){.file = file, .offset = offset, .reason = reason});
}

bool repair_without_manifest(const struct repair *r)
{
	return r->no_manifest;
}

/* ---- one table ---- */

/* A table while it is read. */
struct repair_reading {
	struct lsm *lsm;
	struct lost_table *lost; /* NULL: nothing is known of the table but its file */
	struct lsm_slice smallest, largest;
	struct memtable *mem;
	bool damaged; /* something of it cannot be read, or the manifest is wrong about it */
	bool silent;  /* the damage was reported before */
	int err;      /* of keeping what was reported */
};

static void repair_on_damage(void *ctx, const struct lsm_damage *d)
{
	struct repair_reading *r = ctx;
	struct lost_table *t = r->lost;
	struct lost_part *part;

	r->damaged = true;
	if (r->silent)
		return;
	repair_damage(r->lsm->repair, d);
	if (!t || !d->first_key.size || !d->last_key.size || r->err)
		return;
	if (array_reserve(t->parts, t->parts_room, t->parts_count + 1)) {
		r->err = -ENOMEM;
		return;
	}
	part = &t->parts[t->parts_count++];
	*part = (struct lost_part){0};
	if (buf_add(&part->first, d->first_key.data, d->first_key.size) ||
	    buf_add(&part->last, d->last_key.data, d->last_key.size))
		r->err = -ENOMEM;
	part->whole = !slice_compare(d->first_key, r->smallest) &&
		      !slice_compare(d->last_key, r->largest);
}

static int repair_compare_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	meta_check_entry(ctx, ikey, value);
	return 0;
}

static int repair_on_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	struct repair_reading *r = ctx;
	struct segment_ref ref;

	if (!ikey_valid(ikey) ||
	    (ikey_type(ikey) == IKEY_PUT_REF && segment_ref_decode(value, &ref))) {
		r->damaged = true;
		repair_report(r->lsm->repair, "a table", 0, "malformed entry");
		return 0;
	}
	return memtable_add(r->mem, ikey_sequence(ikey), ikey_type(ikey), ikey_user(ikey), value);
}

/* Write what can be read of a table to a new one of `level`, which the edit then adds. */
static int repair_rewrite(struct repair_reading *r, uint64_t number, uint64_t bytes, unsigned level,
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
		err = table_verify(env, number, bytes, r->smallest, r->largest, repair_on_damage, r,
				   repair_on_entry, r);
	if (!err || err == -EUCLEAN)
		err = table_salvage(env, number, bytes, r->smallest, r->largest, repair_on_entry, r,
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
 * Read a table. If it is damaged, or with `always`, the edit adds a table to `level` that has
 * what can be read of it, if there is anything. `t`: what the manifest says of it, or NULL.
 */
static int repair_salvage(struct repair_reading *r, const struct table_meta *t, uint64_t number,
			  uint64_t bytes, unsigned level, uint64_t created_s, bool always,
			  struct version_edit *edit)
{
	struct table_env *env = &r->lsm->env;
	char name[TABLE_NAME_BYTES];
	struct meta_check meta;
	const char *wrong;
	int err = meta_check_begin(&meta, t);

	if (err)
		return err;
	table_name(name, number);
	err = table_verify(env, number, bytes, r->smallest, r->largest, repair_on_damage, r,
			   repair_compare_entry, &meta);
	wrong = meta_check_end(&meta, !err);
	/* The table is whole, but the manifest is wrong about it: nothing is lost. */
	if (wrong && !r->damaged) {
		repair_report(r->lsm->repair, name, 0, wrong);
		r->damaged = true;
	}
	if (err == -EIO) {
		repair_on_damage(r, &(struct lsm_damage){.file = name,
							 .first_key = r->smallest,
							 .last_key = r->largest,
							 .reason = "cannot be opened"});
		return r->err;
	}
	if (err && err != -EUCLEAN)
		return err;
	if (r->err || (!r->damaged && !always))
		return r->err;
	return repair_rewrite(r, number, bytes, level, created_s, edit);
}

/* ---- the tables of a manifest ---- */

/*
 * Repair table `t` of `level`, if it is damaged. `*again`: it is rewritten in any case; set when
 * a table of level 0 was rewritten, as all newer ones must then be, too.
 */
static int repair_table(struct lsm *lsm, unsigned level, struct table_meta *t, bool *again,
			struct version_edit *edit)
{
	struct repair *repair = lsm->repair;
	struct lost_table *lost;
	struct repair_reading r = {.lsm = lsm, .smallest = t->smallest, .largest = t->largest};
	size_t adds = edit->adds_count;
	int err;

	if (array_reserve(repair->tables, repair->tables_room, repair->tables_count + 1))
		return -ENOMEM;
	lost = &repair->tables[repair->tables_count++];
	*lost = (struct lost_table){.sequence_max = t->sequence_max};
	r.lost = lost;
	err = repair_salvage(&r, t, t->number, t->bytes, level, t->created_s, *again, edit);
	if (!err && (r.damaged || *again))
		err = version_edit_delete(edit, level, t);
	if (edit->adds_count > adds) {
		lost->number = edit->adds[adds].table->number;
		lost->bytes = edit->adds[adds].table->bytes;
	}
	*again |= r.damaged && !level;
	if (!lost->parts_count) { /* no keys are lost */
		buf_release(&lost->filter);
		free(lost->parts);
		repair->tables_count--;
	}
	return err;
}

/* ---- without a manifest ---- */

static int repair_table_size(struct lsm *lsm, uint64_t number, uint64_t *bytes)
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

static int repair_take_table(struct lsm *lsm, uint64_t number, struct version_edit *edit)
{
	struct repair_reading r = {.lsm = lsm};
	uint64_t bytes;
	int err = repair_table_size(lsm, number, &bytes);

	if (!err)
		err = repair_salvage(&r, NULL, number, bytes, 0, tree_now_s(), true, edit);
	return err;
}

static uint64_t repair_sequence_max(const struct version *v)
{
	uint64_t max = 0;

	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < v->level[l].count; i++)
			if (v->level[l].tables[i]->sequence_max > max)
				max = v->level[l].tables[i]->sequence_max;
	return max;
}

/* ---- all tables ---- */

/* Make the tables of `s` what the edit says. */
static int repair_apply(const struct lsm *lsm, struct manifest_state *s,
			const struct version_edit *edit)
{
	struct version *next;
	int err = apply_to_version(lsm, s->version, edit, &next);

	if (!err) {
		version_unref(s->version);
		s->version = next;
	}
	return err;
}

int repair_tables_named(struct lsm *lsm, struct manifest_state *s)
{
	struct version_edit edit = {0};
	int err = 0;

	lsm->repair->made_from = lsm->next_file;
	for (unsigned l = 0; l < LSM_LEVELS; l++) {
		const struct level *level = &s->version->level[l];
		bool again = false;

		/* Level 0 from its oldest on. */
		for (size_t i = level->count; !err && i-- > 0;)
			err = repair_table(lsm, l, level->tables[i], &again, &edit);
	}
	if (!err)
		err = repair_apply(lsm, s, &edit);
	version_edit_release(&edit);
	return err;
}

int repair_tables_found(struct lsm *lsm, struct manifest_state *s, const uint64_t *numbers,
			size_t count)
{
	struct version_edit edit = {0};
	int err = 0;

	lsm->repair->made_from = lsm->next_file;
	for (size_t i = 0; !err && i < count; i++)
		err = repair_take_table(lsm, numbers[i], &edit);
	if (!err)
		err = repair_apply(lsm, s, &edit);
	version_edit_release(&edit);
	if (!err) {
		lsm->repair->rebuilt = true;
		s->sequence_flushed = repair_sequence_max(s->version);
	}
	return err;
}
