/*
 * compact.c - carrying out a compaction: tables in, tables out, one edit.
 *
 * What is kept of the input is the business of compact_write.c.
 *
 * Damage. An input that cannot be read whole ends a compaction: nothing is dropped and nothing
 * changes. The table is marked, in memory, and that is reported once. From then on no
 * compaction takes it, nor what it overlaps on either side of it, because data may not pass an
 * older version of the same key on its way down. The rest of the tree goes on. The parts of
 * the marked table that can be read are read where they are.
 *
 * If the marked table is in level 0, or lies under all of it, level 0 cannot be emptied at
 * all. It then grows beyond l0_stop, up to L0_STUCK_FACTOR times as many tables (write.c), so
 * that the store stays in use long enough to copy everything out of it. Only then do writes
 * fail, with -EUCLEAN. A segment with a value that cannot be read whole is not emptied again.
 */
#include "lsm/compact.h"

#include <assert.h>
#include <stdlib.h>

#include "lsm/apply.h"
#include "lsm/compact_write.h"
#include "lsm/merge.h"

/* ---- input ---- */

static int compact_add_ranges(struct lsm *lsm, struct table_meta *const *tables, size_t count,
			      struct rangedel_list *list)
{
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		const struct rangedel_list *from;
		struct table *t;

		if (!tables[i]->ranges)
			continue;
		err = table_acquire(&lsm->env, tables[i]->number, tables[i]->bytes, &t);
		if (err)
			break;
		from = table_ranges(t);
		for (size_t j = 0; !err && from && j < rangedel_count(from); j++) {
			const struct rangedel *d = rangedel_at(from, j);

			for (size_t k = 0; !err && k < d->sequences_count; k++)
				err = rangedel_add(list, d->sequences[k], d->start, d->end);
		}
		table_release(t);
	}
	return err;
}

static int compact_table_input(struct lsm *lsm, const struct table_meta *meta, struct iter **out)
{
	struct table *t;
	int err = table_acquire(&lsm->env, meta->number, meta->bytes, &t);

	*out = NULL;
	if (err)
		return err;
	*out = table_iter(t, false);
	table_release(t);
	return *out ? 0 : -ENOMEM;
}

/* A merge over all tables of the pick, newest first. */
static int compact_input(struct lsm *lsm, const struct pick *p, struct iter **out)
{
	struct iter **children = calloc(p->inputs_count + p->below_count, sizeof(*children));
	size_t n = 0;
	int err = children ? 0 : -ENOMEM;

	*out = NULL;
	for (size_t i = 0; !err && i < p->inputs_count; i++, n += !err)
		err = compact_table_input(lsm, p->inputs[i], &children[n]);
	for (size_t i = 0; !err && i < p->below_count; i++, n += !err)
		err = compact_table_input(lsm, p->below[i], &children[n]);
	if (!err) {
		*out = merge_iter(children, n);
		if (!*out)
			err = -ENOMEM;
	}
	for (size_t i = 0; err && i < n; i++)
		iter_free(children[i]);
	free(children);
	return err;
}

static int compact_compare_smallest(const void *a, const void *b)
{
	return slice_compare((*(struct table_meta *const *)a)->smallest,
			     (*(struct table_meta *const *)b)->smallest);
}

/* Whether the pick's inputs can just be listed in the output level. */
static bool compact_is_move(const struct version *v, struct pick *p)
{
	if (p->below_count || p->output == p->level)
		return false;
	for (size_t i = 0; i < p->inputs_count; i++) {
		struct key_range r = key_range_of(p->inputs[i]);

		/* What could be dropped there must be rewritten. */
		if ((p->inputs[i]->tombstones || p->inputs[i]->ranges) &&
		    !version_has_below(v, p->output, &r))
			return false;
	}
	qsort(p->inputs, p->inputs_count, sizeof(*p->inputs), compact_compare_smallest);
	for (size_t i = 1; i < p->inputs_count; i++)
		if (table_meta_compare(p->inputs[i - 1], p->inputs[i]->smallest) <= 0)
			return false;
	return true;
}

static int compact_edit_deletes(struct version_edit *e, const struct pick *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->inputs_count; i++)
		err = version_edit_delete(e, p->level, p->inputs[i]);
	for (size_t i = 0; !err && i < p->below_count; i++)
		err = version_edit_delete(e, p->output, p->below[i]);
	return err;
}

static uint64_t compact_created_s(const struct pick *p)
{
	uint64_t s = UINT64_MAX;

	for (size_t i = 0; i < p->inputs_count; i++)
		if (p->inputs[i]->created_s < s)
			s = p->inputs[i]->created_s;
	for (size_t i = 0; i < p->below_count; i++)
		if (p->below[i]->created_s < s)
			s = p->below[i]->created_s;
	return s;
}

static int compact_rewrite(struct compact_job *job, const struct pick *p)
{
	struct lsm *lsm = job->lsm;
	int err;

	job->ranges = rangedel_new();
	if (!job->ranges)
		return -ENOMEM;
	err = compact_add_ranges(lsm, p->inputs, p->inputs_count, job->ranges);
	if (!err)
		err = compact_add_ranges(lsm, p->below, p->below_count, job->ranges);
	if (!err)
		err = rangedel_finish(job->ranges);
	if (!err)
		err = compact_input(lsm, p, &job->input);
	if (!err)
		err = compact_write(job);
	if (!err && job->relocate_count)
		err = tree_sync_segments(lsm);
	iter_free(job->input);
	rangedel_free(job->ranges);
	return err;
}

/* ---- damage ---- */

static void compact_on_damage(void *ctx, const struct lsm_damage *d)
{
	(void)d; /* reading it has reported what is wrong */
	*(bool *)ctx = true;
}

void compact_mark(struct lsm *lsm, struct table_meta *t)
{
	char name[TABLE_NAME_BYTES];

	if (atomic_exchange(&t->damaged, true))
		return;
	table_name(name, t->number);
	report(&lsm->report, LSM_REPORT_ERROR,
	       "%s is damaged and is not compacted any more; what is whole of it stays readable",
	       name);
}

/* Find out which tables of the pick cannot be read whole. */
static void compact_mark_damaged(struct lsm *lsm, struct table_meta *const *tables, size_t count,
				 bool *any)
{
	for (size_t i = 0; i < count; i++) {
		const struct table_meta *t = tables[i];
		bool damaged = false;

		(void)table_verify(&lsm->env, t->number, t->bytes, t->smallest, t->largest,
				   compact_on_damage, &damaged, NULL, NULL);
		if (damaged)
			compact_mark(lsm, tables[i]);
		*any |= damaged;
	}
}

/* A compaction met damage. After this it is not picked again. */
static void compact_mark_pick(struct lsm *lsm, const struct pick *p)
{
	bool any = false;

	compact_mark_damaged(lsm, p->inputs, p->inputs_count, &any);
	compact_mark_damaged(lsm, p->below, p->below_count, &any);
	/* Each for itself is whole, so they contradict each other. */
	for (size_t i = 0; !any && i < p->inputs_count; i++)
		compact_mark(lsm, p->inputs[i]);
}

/* ---- a pick ---- */

int compact_pick(struct lsm *lsm, struct version *v, struct pick *p, const uint64_t *relocate,
		 size_t relocate_count)
{
	struct version_edit edit = {0};
	struct compact_job job = {.lsm = lsm,
				  .version = v,
				  .output_level = p->output,
				  .relocate = relocate,
				  .relocate_count = relocate_count,
				  .created_s = compact_created_s(p),
				  .cut = true,
				  .edit = &edit};
	bool move = !relocate_count && compact_is_move(v, p);
	int err;

	mutex_assert_held(&lsm->compact_mu);
	assert(p->inputs_count > 0 && p->output < LSM_LEVELS);
	err = compact_edit_deletes(&edit, p);
	if (!err && move)
		for (size_t i = 0; !err && i < p->inputs_count; i++)
			err = version_edit_add(&edit, p->output, p->inputs[i]);
	else if (!err)
		err = compact_rewrite(&job, p);
	if (!err)
		err = apply_edit(lsm, &edit, NULL);
	if (err == -EUCLEAN)
		compact_mark_pick(lsm, p);
	if (!err) {
		atomic_fetch_add(move ? &lsm->moves : &lsm->compactions, 1);
		if (p->level) {
			mutex_lock(&lsm->mu);
			lsm->cursor[p->level].size = 0;
			/* Out of memory only makes the next turn start over. */
			(void)buf_add(&lsm->cursor[p->level],
				      p->inputs[p->inputs_count - 1]->largest.data,
				      p->inputs[p->inputs_count - 1]->largest.size);
			mutex_unlock(&lsm->mu);
		}
	}
	compact_job_release(&job);
	version_edit_release(&edit);
	return err;
}
