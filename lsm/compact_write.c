/*
 * compact_write.c - writing sorted input to new tables, for flush, compaction and repair.
 *
 * What is kept of a key. Snapshots cut the sequences into stripes. Two versions in one stripe
 * look the same to every reader, so of each stripe only the newest version stays:
 *
 *     snapshots:             4         8
 *     versions of k:   @2 @3 | @5  @7  | @9         kept: @3 @7 @9
 *
 * A version is also dropped if a range tombstone of the input covers it that is newer and of
 * the same stripe. A tombstone is dropped if it is in the oldest stripe and no deeper level
 * can have the key. The same goes for a range tombstone and its whole range. A flush never
 * drops tombstones: older tables of level 0 may have the key.
 *
 * Outputs are cut between user keys only, at table_bytes of the table's own file, or where an
 * output would overlap too much of the level below it. What is in segments does not count, or
 * tables would become tiny. Range tombstones are clipped to the part of the key space from one
 * cut to the next, so that a table's tombstones never reach beyond its bounds.
 *
 * A value in a segment that is being emptied is copied to the newest segment under the same
 * sequence. It is the same version in another place, so this cannot bring back anything that
 * was deleted. A value that cannot be read whole is not moved.
 */
#include "lsm/compact_write.h"

#include <assert.h>
#include <stdlib.h>

#include "lsm/apply.h"
#include "lsm/base/array.h"
#include "lsm/snapshot.h"

/* An output may overlap this many tables' bytes of the next level. */
#define OVERLAP_TABLES_MAX 10

struct output {
	struct table_builder *builder; /* NULL: none started */
	uint64_t number;
	struct buf smallest, largest; /* user keys */
	bool largest_excluded;
	struct segment_use *uses;
	size_t uses_count, uses_room, uses_last;
	uint64_t tombstones, ranges, sequence_max;
	/* Range tombstones belong to it from this key on; size 0: from the first key. */
	struct buf span_start;
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
static size_t output_stripe(const struct writing *w, uint64_t sequence)
{
	size_t i = 0;

	while (i < w->snapshots_count && w->snapshots[i] < sequence)
		i++;
	return i;
}

static uint64_t output_stripe_end(const struct writing *w, size_t stripe)
{
	return stripe < w->snapshots_count ? w->snapshots[stripe] : SEQUENCE_MAX;
}

static bool output_may_be_below(const struct writing *w, const struct key_range *r)
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
	if (array_reserve(o->uses, o->uses_room, o->uses_count + 1))
		return -ENOMEM;
	o->uses[o->uses_count++] = (struct segment_use){.number = segment, .bytes = bytes};
	return 0;
}

static int output_compare_uses(const void *a, const void *b)
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
		size_t stripe = output_stripe(w, sequence);

		if (stripe == last_stripe)
			continue;
		last_stripe = stripe;
		if (!stripe && !output_may_be_below(w, &r))
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
		qsort(o->uses, o->uses_count, sizeof(*o->uses), output_compare_uses);
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
	apply_adopt_table(job->lsm, t);
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

static bool output_is_relocated(const struct compact_job *job, uint64_t segment)
{
	for (size_t i = 0; i < job->relocate_count; i++)
		if (job->relocate[i] == segment)
			return true;
	return false;
}

/* Keep `g`, whose reference the job takes over, until the job ends. */
static int output_pin(struct compact_job *job, struct segment *g)
{
	if (job->pinned_count && job->pinned[job->pinned_count - 1] == g) {
		segment_ref_drop(job->lsm->segments, g);
		return 0;
	}
	if (array_reserve(job->pinned, job->pinned_room, job->pinned_count + 1))
		return -ENOMEM;
	job->pinned[job->pinned_count++] = g;
	return 0;
}

/* Copy a value out of a segment that is being emptied; `ref` then refers to the copy. */
static int output_relocate(struct writing *w, struct lsm_slice user, struct segment_ref *ref,
			   struct lsm_slice *value)
{
	struct lsm *lsm = w->job->lsm;
	struct segment_write write;
	struct segment *g;
	size_t chunks = (ref->size + SEGMENT_CHUNK - 1) / SEGMENT_CHUNK;
	uint8_t *sums;
	int err = tree_value(lsm, user, IKEY_PUT_REF, *value, &w->moved);

	if (err == -EUCLEAN) { /* it was reported, and stays where it is */
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
		/* The job keeps it until its table does: sealed and unreferenced, it would go. */
		if (!err)
			err = output_pin(w->job, g);
		if (err)
			segment_ref_drop(lsm->segments, g);
	}
	ref->sums = NULL;
	free(sums);
	return err;
}

static int output_emit(struct writing *w, struct lsm_slice ikey, struct lsm_slice value)
{
	struct output *o = &w->out;
	struct lsm_slice user = ikey_user(ikey);
	struct segment_ref ref;
	int err = o->builder ? 0 : output_start(w);

	if (!err && ikey_type(ikey) == IKEY_PUT_REF) {
		err = tree_ref_decode(w->job->lsm, user, value, &ref);
		if (!err && output_is_relocated(w->job, ref.segment))
			err = output_relocate(w, user, &ref, &value);
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
static bool output_needs(struct writing *w, struct lsm_slice ikey, bool new_user)
{
	struct lsm_slice user = ikey_user(ikey);
	struct key_range r = {user, user, false};
	uint64_t sequence = ikey_sequence(ikey);
	size_t stripe = output_stripe(w, sequence);

	if (!new_user && stripe == w->last_stripe)
		return false;
	w->last_stripe = stripe;
	if (w->job->ranges &&
	    rangedel_covering(w->job->ranges, user, output_stripe_end(w, stripe)) > sequence)
		return false;
	return ikey_type(ikey) != IKEY_DELETE || stripe || output_may_be_below(w, &r);
}

/* Whether the output should end before `user`. */
static bool output_cut_before(struct writing *w, struct lsm_slice user)
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

static int output_entry(struct writing *w, struct lsm_slice ikey, struct lsm_slice value)
{
	struct lsm_slice user;
	bool new_user;
	int err = 0, order;

	if (!ikey_valid(ikey))
		return report_corrupt(&w->job->lsm->report, "table", 0, "malformed key");
	user = ikey_user(ikey);
	order = w->have_last ? slice_compare(user, buf_slice(&w->last_user)) : 1;
	/* A repair without a manifest may merge a table with one that was made of it. */
	if (!order && w->job->lsm->repair && ikey_sequence(ikey) == w->last_sequence)
		return 0;
	if (order < 0 || (order == 0 && ikey_sequence(ikey) >= w->last_sequence))
		return report_corrupt(&w->job->lsm->report, "table", 0, "keys out of order");
	w->last_sequence = ikey_sequence(ikey);
	new_user = order > 0;
	if (new_user) {
		if (output_cut_before(w, user))
			err = output_finish(w, user);
		w->have_last = true;
		w->last_user.size = 0;
		if (!err)
			err = buf_add(&w->last_user, user.data, user.size);
	}
	if (!err && output_needs(w, ikey, new_user))
		err = output_emit(w, ikey, value);
	return err;
}

int compact_write(struct compact_job *job)
{
	struct writing w = {.job = job};
	struct iter *in = job->input;
	int err;

	assert(job->input && job->edit && job->output_level < LSM_LEVELS);
	assert(job->version || !job->cut);
	err = snapshot_sequences(job->lsm, &w.snapshots, &w.snapshots_count);

	if (err)
		return err;
	for (in->ops->first(in); !err && in->valid; in->ops->next(in)) {
		err = output_entry(&w, in->key, in->value);
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

void compact_job_release(struct compact_job *job)
{
	for (size_t i = 0; i < job->pinned_count; i++)
		segment_ref_drop(job->lsm->segments, job->pinned[i]);
	free(job->pinned);
	job->pinned = NULL;
	job->pinned_count = job->pinned_room = 0;
}
