/*
 * compact.c - flush and compaction: writing sorted input to new tables.
 *
 * What is kept of a key. Snapshots cut the sequences into stripes; two versions
 * in one stripe look the same to every reader, so of each stripe only the
 * newest version stays:
 *
 *     snapshots:             4         8
 *     versions of k:   @2 @3 | @5  @7  | @9         kept: @3 @7 @9
 *
 * A version is also dropped if a range tombstone of the input, newer and of the
 * same stripe, covers it. A tombstone is dropped if it is in the oldest stripe
 * and no deeper level can have the key; a range tombstone likewise for its whole
 * range. A flush never drops tombstones: older tables of level 0 may have the key.
 *
 * Outputs are cut between user keys only, at table_bytes of the table's own file
 * (never counting what is in segments, or tables would become tiny), or where an
 * output would overlap too much of the level below it. Range tombstones are
 * clipped to the part of the key space from one cut to the next, so that a table's
 * tombstones never reach beyond its bounds.
 *
 * Damage. An input that cannot be read whole ends a compaction: nothing is dropped and
 * nothing changes. The table is marked, in memory, and told once; from then on no
 * compaction takes it, nor what it overlaps on either side of it, because data may not
 * pass an older version of the same key on its way down. The rest of the tree goes
 * on. What of the marked table can be read is read where it is.
 *   If that is level 0, or what lies under all of it, level 0 cannot be emptied at all.
 * It then grows beyond l0_stop, up to L0_STUCK_FACTOR times as many tables (write.c):
 * the store stays in use long enough to copy everything out of it. Only then do
 * writes fail, with -EUCLEAN. A value in a segment that cannot be read whole is not
 * moved out of it, and that segment is not emptied again.
 *
 * A value in a segment that is being emptied is copied to the newest segment
 * under the same sequence: it is the same version in another place, so this
 * cannot bring back anything that was deleted.
 */
#include <assert.h>
#include <stdlib.h>

#include "lsm/merge.h"
#include "lsm/tree.h"

#define OVERLAP_TABLES_MAX 10 /* an output may overlap this many tables' bytes of the next level */

struct output {
	struct table_builder *builder; /* NULL: none started */
	uint64_t number;
	struct buf smallest, largest; /* user keys */
	bool largest_excluded;
	struct segment_use *uses;
	size_t uses_count, uses_room, uses_last;
	uint64_t tombstones, ranges, sequence_max;
	struct buf
		span_start; /* range tombstones belong to it from here on; size 0: from the start */
};

struct writing {
	struct compact_job *job;
	uint64_t *snapshots;
	size_t snapshots_count;
	struct output out;
	struct buf last_user;
	bool have_last;
	uint64_t last_sequence;
	size_t last_stripe;
	size_t grandparent; /* index in the level below the output */
	uint64_t grandparent_bytes;
	struct buf relocated;
	struct lsm_value moved;
};

/* ---- stripes ---- */

/* How many snapshots do not see `sequence`: 0 is the oldest stripe. */
static size_t stripe_of(const struct writing *w, uint64_t sequence)
{
	size_t i = 0;

	while (i < w->snapshots_count && w->snapshots[i] < sequence)
		i++;
	return i;
}

static uint64_t stripe_end(const struct writing *w, size_t stripe)
{
	return stripe < w->snapshots_count ? w->snapshots[stripe] : SEQUENCE_MAX;
}

static bool may_be_below(const struct writing *w, const struct key_range *r)
{
	return !w->job->version || version_has_below(w->job->version, w->job->output_level, r);
}

/* ---- one output table ---- */

static int output_start(struct writing *w)
{
	struct lsm *lsm = w->job->lsm;
	struct output *o = &w->out;
	struct table_build_options options = {
		.block_bytes = lsm->opt.block_bytes,
		.filter_bits_per_key = 10,
		/* Level 0 and 1 are rewritten soon: compressing them costs more than it saves. */
		.compression =
			w->job->output_level > 1 || lsm->opt.compression == LSM_COMPRESS_NONE ?
				lsm->opt.compression :
				LSM_COMPRESS_LZ4,
	};

	o->number = tree_new_file(lsm);
	o->smallest.size = o->largest.size = 0;
	o->largest_excluded = false;
	o->uses_count = o->uses_last = 0;
	o->tombstones = o->ranges = o->sequence_max = 0;
	return table_builder_new(lsm->st, o->number, &options, &o->builder);
}

static int output_use(struct output *o, uint64_t segment, uint64_t bytes)
{
	if (o->uses_last < o->uses_count && o->uses[o->uses_last].number == segment) {
		o->uses[o->uses_last].bytes += bytes;
		return 0;
	}
	for (o->uses_last = 0; o->uses_last < o->uses_count; o->uses_last++)
		if (o->uses[o->uses_last].number == segment) {
			o->uses[o->uses_last].bytes += bytes;
			return 0;
		}
	if (o->uses_count == o->uses_room) {
		size_t room = o->uses_room ? o->uses_room * 2 : 16;
		struct segment_use *grown = realloc(o->uses, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		o->uses = grown;
		o->uses_room = room;
	}
	o->uses[o->uses_count++] = (struct segment_use){.number = segment, .bytes = bytes};
	return 0;
}

static int compare_uses(const void *a, const void *b)
{
	uint64_t x = ((const struct segment_use *)a)->number;
	uint64_t y = ((const struct segment_use *)b)->number;

	return (x > y) - (x < y);
}

/* Widen the bounds of the output by a range tombstone. */
static int output_bounds(struct output *o, struct lsm_slice start, struct lsm_slice end)
{
	int err = 0, c;

	if (!o->smallest.size || slice_compare(start, buf_slice(&o->smallest)) < 0) {
		o->smallest.size = 0;
		err = buf_add(&o->smallest, start.data, start.size);
	}
	c = o->largest.size ? slice_compare(end, buf_slice(&o->largest)) : 1;
	if (!err && c > 0) {
		o->largest.size = 0;
		o->largest_excluded = true;
		err = buf_add(&o->largest, end.data, end.size);
	}
	return err;
}

/* Add one fragment, clipped to the span, with the sequences that are still needed. */
static int output_fragment(struct writing *w, const struct rangedel *d, struct lsm_slice start,
			   struct lsm_slice end)
{
	struct key_range r = {start, end, true};
	struct output *o = &w->out;
	size_t last_stripe = SIZE_MAX;
	int err = 0;

	for (size_t i = 0; !err && i < d->sequences_count; i++) {
		uint64_t sequence = d->sequences[i];
		size_t stripe = stripe_of(w, sequence);

		if (stripe == last_stripe)
			continue;
		last_stripe = stripe;
		if (!stripe && !may_be_below(w, &r))
			continue;
		if (!o->builder)
			err = output_start(w);
		if (!err)
			err = table_builder_add_range(o->builder, sequence, start, end);
		if (!err)
			err = output_bounds(o, start, end);
		o->ranges++;
		if (sequence > o->sequence_max)
			o->sequence_max = sequence;
	}
	return err;
}

/* The range tombstones of the span that ends at `end` (size 0: the end of all keys). */
static int output_ranges(struct writing *w, struct lsm_slice end)
{
	struct lsm_slice span = buf_slice(&w->out.span_start);
	size_t count = w->job->ranges ? rangedel_count(w->job->ranges) : 0;
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		const struct rangedel *d = rangedel_at(w->job->ranges, i);
		struct lsm_slice from = d->start, to = d->end;

		if (span.size && slice_compare(from, span) < 0)
			from = span;
		if (end.size && slice_compare(to, end) > 0)
			to = end;
		if (slice_compare(from, to) < 0)
			err = output_fragment(w, d, from, to);
	}
	return err;
}

static int output_meta(struct writing *w, uint64_t bytes)
{
	struct compact_job *job = w->job;
	struct output *o = &w->out;
	struct table_meta *t;
	int err;

	if (o->uses_count)
		qsort(o->uses, o->uses_count, sizeof(*o->uses), compare_uses);
	t = table_meta_new(buf_slice(&o->smallest), buf_slice(&o->largest), o->uses, o->uses_count);
	if (!t)
		return -ENOMEM;
	t->number = o->number;
	t->bytes = bytes;
	t->entries = table_builder_entries(o->builder);
	t->tombstones = o->tombstones;
	t->ranges = o->ranges;
	t->sequence_max = o->sequence_max;
	t->created_s = job->created_s;
	t->largest_excluded = o->largest_excluded;
	err = tree_adopt_table(job->lsm, t);
	if (!err)
		err = version_edit_add(job->edit, job->output_level, t);
	table_meta_unref(t);
	return err;
}

/* Finish the table of the span that ends before `end`; there may be none. */
static int output_finish(struct writing *w, struct lsm_slice end)
{
	struct output *o = &w->out;
	uint64_t bytes;
	int err = output_ranges(w, end);

	if (!err && o->builder) {
		err = table_builder_finish(o->builder, &bytes);
		if (!err) {
			atomic_fetch_add(&w->job->lsm->table_bytes, bytes);
			err = output_meta(w, bytes);
		}
	}
	table_builder_free(o->builder);
	o->builder = NULL;
	o->span_start.size = 0;
	w->grandparent_bytes = 0;
	return err ? err : buf_add(&o->span_start, end.data, end.size);
}

static void output_release(struct output *o)
{
	table_builder_free(o->builder);
	buf_release(&o->smallest);
	buf_release(&o->largest);
	buf_release(&o->span_start);
	free(o->uses);
}

/* ---- entries ---- */

static bool is_relocated(const struct compact_job *job, uint64_t segment)
{
	for (size_t i = 0; i < job->relocate_count; i++)
		if (job->relocate[i] == segment)
			return true;
	return false;
}

/* Copy a value out of a segment that is being emptied; `ref` then refers to the copy. */
static int relocate(struct writing *w, struct segment_ref *ref, struct lsm_slice *value)
{
	struct lsm *lsm = w->job->lsm;
	struct segment_write write;
	struct segment *g;
	size_t chunks = (ref->size + SEGMENT_CHUNK - 1) / SEGMENT_CHUNK;
	uint8_t *sums;
	int err = tree_value(lsm, IKEY_PUT_REF, *value, &w->moved);

	if (err == -EUCLEAN) { /* told by then; it stays where it is */
		segments_set_stuck(lsm->segments, ref->segment);
		return 0;
	}
	if (err)
		return err;
	sums = malloc(chunks * 4);
	if (!sums)
		return -ENOMEM;
	write.data = (struct lsm_slice){w->moved.data, w->moved.size};
	err = segments_write(lsm->segments, &write, 1, &g);
	if (!err) {
		*ref = (struct segment_ref){.segment = segment_number(g),
					    .offset = write.offset,
					    .stored = (uint32_t)write.data.size,
					    .size = (uint32_t)write.data.size,
					    .sums = sums};
		segment_sums(ref->segment, ref->offset, write.data.data, write.data.size, sums);
		w->relocated.size = 0;
		err = segment_ref_encode(ref, &w->relocated);
		*value = buf_slice(&w->relocated);
		/* The job holds it until its table does: sealed and unreferenced, it would go. */
		if (!err)
			err = compact_pin(w->job, g);
		if (err)
			segment_ref_drop(lsm->segments, g);
	}
	ref->sums = NULL;
	free(sums);
	return err;
}

static int emit(struct writing *w, struct lsm_slice ikey, struct lsm_slice value)
{
	struct output *o = &w->out;
	struct lsm_slice user = ikey_user(ikey);
	struct segment_ref ref;
	int err = o->builder ? 0 : output_start(w);

	if (!err && ikey_type(ikey) == IKEY_PUT_REF) {
		if (segment_ref_decode(value, &ref))
			err = report_corrupt_key(&w->job->lsm->report, user,
						 "malformed segment reference");
		if (!err && is_relocated(w->job, ref.segment))
			err = relocate(w, &ref, &value);
		if (!err && ref.segment != SEGMENT_LOST)
			err = output_use(o, ref.segment, segment_ref_bytes(&ref));
	}
	if (!err)
		err = table_builder_add(o->builder, ikey, value);
	if (!err && !o->smallest.size)
		err = buf_add(&o->smallest, user.data, user.size);
	if (err)
		return err;
	o->tombstones += ikey_type(ikey) == IKEY_DELETE;
	if (ikey_sequence(ikey) > o->sequence_max)
		o->sequence_max = ikey_sequence(ikey);
	o->largest.size = 0;
	o->largest_excluded = false;
	return buf_add(&o->largest, user.data, user.size);
}

/* Whether the entry is still needed; keeps track of the versions of a key. */
static bool needed(struct writing *w, struct lsm_slice ikey, bool new_user)
{
	struct lsm_slice user = ikey_user(ikey);
	struct key_range r = {user, user, false};
	uint64_t sequence = ikey_sequence(ikey);
	size_t stripe = stripe_of(w, sequence);

	if (!new_user && stripe == w->last_stripe)
		return false;
	w->last_stripe = stripe;
	if (w->job->ranges &&
	    rangedel_covering(w->job->ranges, user, stripe_end(w, stripe)) > sequence)
		return false;
	return ikey_type(ikey) != IKEY_DELETE || stripe || may_be_below(w, &r);
}

/* Whether the output should end before `user`. */
static bool cut_before(struct writing *w, struct lsm_slice user)
{
	const struct compact_job *job = w->job;
	const struct level *below;
	bool crossed = false;

	if (!job->cut)
		return false;
	if (job->output_level + 1 < LSM_LEVELS) {
		below = &job->version->level[job->output_level + 1];
		for (; w->grandparent < below->count &&
		       table_meta_compare(below->tables[w->grandparent], user) > 0;
		     w->grandparent++) {
			if (w->out.builder)
				w->grandparent_bytes += below->tables[w->grandparent]->bytes;
			crossed = true;
		}
	}
	if (!w->out.builder)
		return false;
	return table_builder_bytes(w->out.builder) >= job->lsm->opt.table_bytes ||
	       (crossed &&
		w->grandparent_bytes > OVERLAP_TABLES_MAX * (uint64_t)job->lsm->opt.table_bytes);
}

static int write_entry(struct writing *w, struct lsm_slice ikey, struct lsm_slice value)
{
	struct lsm_slice user;
	bool new_user;
	int err = 0, order;

	if (!ikey_valid(ikey))
		return report_corrupt(&w->job->lsm->report, "table", 0, "malformed key");
	user = ikey_user(ikey);
	order = w->have_last ? slice_compare(user, buf_slice(&w->last_user)) : 1;
	/* Without a manifest tables are merged of which one may be made of another. */
	if (!order && w->job->lsm->repair && ikey_sequence(ikey) == w->last_sequence)
		return 0;
	if (order < 0 || (order == 0 && ikey_sequence(ikey) >= w->last_sequence))
		return report_corrupt(&w->job->lsm->report, "table", 0, "keys out of order");
	w->last_sequence = ikey_sequence(ikey);
	new_user = order > 0;
	if (new_user) {
		if (cut_before(w, user))
			err = output_finish(w, user);
		w->have_last = true;
		w->last_user.size = 0;
		if (!err)
			err = buf_add(&w->last_user, user.data, user.size);
	}
	if (!err && needed(w, ikey, new_user))
		err = emit(w, ikey, value);
	return err;
}

int compact_write(struct compact_job *job)
{
	struct writing w = {.job = job};
	struct iter *in = job->input;
	int err = tree_snapshots(job->lsm, &w.snapshots, &w.snapshots_count);

	if (err)
		return err;
	for (in->ops->first(in); !err && in->valid; in->ops->next(in)) {
		err = write_entry(&w, in->key, in->value);
		if (!err && atomic_load(&job->lsm->stopping) && job->version)
			err = -ECANCELED;
	}
	if (!err)
		err = in->err;
	if (!err)
		err = output_finish(&w, (struct lsm_slice){NULL, 0});
	output_release(&w.out);
	buf_release(&w.last_user);
	buf_release(&w.relocated);
	lsm_value_release(&w.moved);
	free(w.snapshots);
	return err;
}

/* ---- a compaction ---- */

int compact_pin(struct compact_job *job, struct segment *g)
{
	struct segment **grown;

	if (job->pinned_count && job->pinned[job->pinned_count - 1] == g) {
		segment_ref_drop(job->lsm->segments, g);
		return 0;
	}
	grown = realloc(job->pinned, (job->pinned_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[job->pinned_count++] = g;
	job->pinned = grown;
	return 0;
}

static void compact_unpin(struct compact_job *job)
{
	for (size_t i = 0; i < job->pinned_count; i++)
		segment_ref_drop(job->lsm->segments, job->pinned[i]);
	free(job->pinned);
}

static int add_ranges(struct lsm *lsm, struct table_meta *const *tables, size_t count,
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

static int table_input(struct lsm *lsm, const struct table_meta *meta, struct iter **out)
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
static int pick_input(struct lsm *lsm, const struct pick *p, struct iter **out)
{
	struct iter **children = calloc(p->inputs_count + p->below_count, sizeof(*children));
	size_t n = 0;
	int err = children ? 0 : -ENOMEM;

	*out = NULL;
	for (size_t i = 0; !err && i < p->inputs_count; i++, n += !err)
		err = table_input(lsm, p->inputs[i], &children[n]);
	for (size_t i = 0; !err && i < p->below_count; i++, n += !err)
		err = table_input(lsm, p->below[i], &children[n]);
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

static int compare_smallest(const void *a, const void *b)
{
	return slice_compare((*(struct table_meta *const *)a)->smallest,
			     (*(struct table_meta *const *)b)->smallest);
}

/* Whether the pick's inputs can just be listed in the output level. */
static bool is_move(const struct version *v, struct pick *p)
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
	qsort(p->inputs, p->inputs_count, sizeof(*p->inputs), compare_smallest);
	for (size_t i = 1; i < p->inputs_count; i++)
		if (table_meta_compare(p->inputs[i - 1], p->inputs[i]->smallest) <= 0)
			return false;
	return true;
}

static int edit_tables(struct version_edit *e, const struct pick *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->inputs_count; i++)
		err = version_edit_delete(e, p->level, p->inputs[i]);
	for (size_t i = 0; !err && i < p->below_count; i++)
		err = version_edit_delete(e, p->output, p->below[i]);
	return err;
}

static uint64_t oldest(const struct pick *p)
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

static int rewrite(struct compact_job *job, const struct pick *p)
{
	struct lsm *lsm = job->lsm;
	int err;

	job->ranges = rangedel_new();
	if (!job->ranges)
		return -ENOMEM;
	err = add_ranges(lsm, p->inputs, p->inputs_count, job->ranges);
	if (!err)
		err = add_ranges(lsm, p->below, p->below_count, job->ranges);
	if (!err)
		err = rangedel_finish(job->ranges);
	if (!err)
		err = pick_input(lsm, p, &job->input);
	if (!err)
		err = compact_write(job);
	if (!err && job->relocate_count)
		err = tree_sync_segments(lsm);
	iter_free(job->input);
	rangedel_free(job->ranges);
	return err;
}

static void note_damage(void *ctx, const struct lsm_damage *d)
{
	(void)d; /* reading it has told what is wrong */
	*(bool *)ctx = true;
}

void compact_mark(struct lsm *lsm, struct table_meta *t)
{
	char name[TABLE_NAME_BYTES];

	if (atomic_exchange(&t->damaged, true))
		return;
	table_name(name, t->number);
	report(&lsm->report, LSM_REPORT_ERROR,
	       "%s is damaged and is not compacted any more; what it can still tell stays readable",
	       name);
}

/* Find out which tables of the pick cannot be read whole. */
static void mark_damaged(struct lsm *lsm, struct table_meta *const *tables, size_t count, bool *any)
{
	for (size_t i = 0; i < count; i++) {
		const struct table_meta *t = tables[i];
		bool damaged = false;

		(void)table_verify(&lsm->env, t->number, t->bytes, t->smallest, t->largest,
				   note_damage, &damaged, NULL, NULL);
		if (damaged)
			compact_mark(lsm, tables[i]);
		*any |= damaged;
	}
}

/* A compaction met damage. After this it is not picked again. */
static void mark_pick(struct lsm *lsm, const struct pick *p)
{
	bool any = false;

	mark_damaged(lsm, p->inputs, p->inputs_count, &any);
	mark_damaged(lsm, p->below, p->below_count, &any);
	/* Each for itself is whole, so they contradict each other. */
	for (size_t i = 0; !any && i < p->inputs_count; i++)
		compact_mark(lsm, p->inputs[i]);
}

int compact_pick(struct lsm *lsm, struct version *v, struct pick *p, const uint64_t *relocate,
		 size_t relocate_count)
{
	struct version_edit edit = {0};
	struct compact_job job = {.lsm = lsm,
				  .version = v,
				  .output_level = p->output,
				  .relocate = relocate,
				  .relocate_count = relocate_count,
				  .created_s = oldest(p),
				  .cut = true,
				  .edit = &edit};
	bool move = !relocate_count && is_move(v, p);
	int err = edit_tables(&edit, p);

	if (!err && move)
		for (size_t i = 0; !err && i < p->inputs_count; i++)
			err = version_edit_add(&edit, p->output, p->inputs[i]);
	else if (!err)
		err = rewrite(&job, p);
	if (!err)
		err = background_apply(lsm, &edit, NULL);
	if (err == -EUCLEAN)
		mark_pick(lsm, p);
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
	compact_unpin(&job);
	version_edit_release(&edit);
	return err;
}
