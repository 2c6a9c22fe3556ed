/*
 * version.c - versions of the tree, their edits, and the choice of compactions.
 *
 * Invariants (version_valid checks them):
 *   1. level 0 is ordered by table number, newest first;
 *   2. a deeper level is ordered by key, and its tables are disjoint: one may
 *      end (excluded: a range tombstone's end) where the next one starts;
 *   3. all versions of a user key in one level > 0 are in one table;
 *   4. a version of a key in one level is newer than every version of it in a deeper
 *      level; within level 0, a version in one table is newer than one in an older table.
 *
 * Because of invariant 4 a look-up stops at the first level that knows a key, and a
 * compaction out of level 0 takes all of that level.
 */
#include "lsm/version.h"

#include <assert.h>
#include <stdlib.h>

#include "lsm/base/array.h"
#include "lsm/base/report.h"

struct table_meta *table_meta_new(struct lsm_slice smallest, struct lsm_slice largest,
				  const struct segment_use *uses, size_t uses_count)
{
	size_t keys = smallest.size + largest.size;
	struct table_meta *t = calloc(1, sizeof(*t) + uses_count * sizeof(*uses) + keys);
	uint8_t *bytes;

	if (!t)
		return NULL;
	atomic_init(&t->refs, 1);
	t->uses = (struct segment_use *)(t + 1);
	t->uses_count = uses_count;
	if (uses_count)
		memcpy(t->uses, uses, uses_count * sizeof(*uses));
	bytes = (uint8_t *)(t->uses + uses_count);
	if (smallest.size)
		memcpy(bytes, smallest.data, smallest.size);
	t->smallest = (struct lsm_slice){bytes, smallest.size};
	bytes += smallest.size;
	if (largest.size)
		memcpy(bytes, largest.data, largest.size);
	t->largest = (struct lsm_slice){bytes, largest.size};
	return t;
}

void table_meta_ref(struct table_meta *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void table_meta_unref(struct table_meta *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (t->released)
		t->released(t->released_ctx, t);
	free(t);
}

uint64_t table_meta_segment_bytes(const struct table_meta *t)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < t->uses_count; i++)
		sum += t->uses[i].bytes;
	return sum;
}

/* ---- edits ---- */

static void version_changes_release(struct version_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		table_meta_unref(changes[i].table);
	free(changes);
}

void version_edit_release(struct version_edit *e)
{
	version_changes_release(e->adds, e->adds_count);
	version_changes_release(e->deletes, e->deletes_count);
	free(e->new_segments);
	free(e->dead_segments);
	*e = (struct version_edit){0};
}

int version_edit_add(struct version_edit *e, unsigned level, struct table_meta *t)
{
	assert(level < LSM_LEVELS);
	if (array_reserve(e->adds, e->adds_room, e->adds_count + 1))
		return -ENOMEM;
	table_meta_ref(t);
	e->adds[e->adds_count++] = (struct version_change){level, t};
	return 0;
}

int version_edit_delete(struct version_edit *e, unsigned level, struct table_meta *t)
{
	assert(level < LSM_LEVELS);
	if (array_reserve(e->deletes, e->deletes_room, e->deletes_count + 1))
		return -ENOMEM;
	table_meta_ref(t);
	e->deletes[e->deletes_count++] = (struct version_change){level, t};
	return 0;
}

int version_edit_segment(struct version_edit *e, uint64_t number, bool dead)
{
	if (dead) {
		if (array_reserve(e->dead_segments, e->dead_segments_room,
				  e->dead_segments_count + 1))
			return -ENOMEM;
		e->dead_segments[e->dead_segments_count++] = number;
	} else {
		if (array_reserve(e->new_segments, e->new_segments_room, e->new_segments_count + 1))
			return -ENOMEM;
		e->new_segments[e->new_segments_count++] = number;
	}
	return 0;
}

/* ---- versions ---- */

struct version *version_new(void)
{
	struct version *v = calloc(1, sizeof(*v));

	if (v)
		atomic_init(&v->refs, 1);
	return v;
}

void version_ref(struct version *v)
{
	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

void version_unref(struct version *v)
{
	if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned l = 0; l < LSM_LEVELS; l++) {
		for (size_t i = 0; i < v->level[l].count; i++)
			table_meta_unref(v->level[l].tables[i]);
		free(v->level[l].tables);
	}
	free(v);
}

static int table_meta_newest_first(const void *a, const void *b)
{
	const struct table_meta *x = *(struct table_meta *const *)a;
	const struct table_meta *y = *(struct table_meta *const *)b;

	return (x->number < y->number) - (x->number > y->number);
}

static int table_meta_by_key(const void *a, const void *b)
{
	const struct table_meta *x = *(struct table_meta *const *)a;
	const struct table_meta *y = *(struct table_meta *const *)b;

	return slice_compare(x->smallest, y->smallest);
}

static bool version_edit_deletes(const struct version_edit *e, unsigned level, uint64_t number)
{
	for (size_t i = 0; i < e->deletes_count; i++)
		if (e->deletes[i].level == level && e->deletes[i].table->number == number)
			return true;
	return false;
}

/* Add `t` to a level that has room for it, and take a reference. */
static void version_level_add(struct level *level, struct table_meta *t)
{
	table_meta_ref(t);
	level->tables[level->count++] = t;
	level->bytes += t->bytes;
	level->segment_bytes += table_meta_segment_bytes(t);
}

static int version_level_apply(const struct level *base, unsigned l, const struct version_edit *e,
			       struct level *out)
{
	size_t room = base->count + e->adds_count;
	bool changed = false;

	if (!room)
		return 0;
	out->tables = calloc(room, sizeof(*out->tables));
	if (!out->tables)
		return -ENOMEM;
	for (size_t i = 0; i < base->count; i++)
		if (!e->deletes_count || !version_edit_deletes(e, l, base->tables[i]->number))
			version_level_add(out, base->tables[i]);
	for (size_t i = 0; i < e->adds_count; i++)
		if (e->adds[i].level == l) {
			version_level_add(out, e->adds[i].table);
			changed = true;
		}
	if (changed)
		qsort(out->tables, out->count, sizeof(*out->tables),
		      l ? table_meta_by_key : table_meta_newest_first);
	return 0;
}

int version_apply(const struct version *base, const struct version_edit *e, struct version **out,
		  const char **reason)
{
	struct version *v = version_new();
	const char *why;
	int err = v ? 0 : -ENOMEM;

	*out = NULL;
	for (unsigned l = 0; !err && l < LSM_LEVELS; l++)
		err = version_level_apply(&base->level[l], l, e, &v->level[l]);
	if (!err && !version_valid(v, &why))
		err = report_malformed(reason, why);
	if (err) {
		version_unref(v);
		return err;
	}
	*out = v;
	return 0;
}

int table_meta_compare(const struct table_meta *t, struct lsm_slice key)
{
	int c;

	if (slice_compare(key, t->smallest) < 0)
		return -1;
	c = slice_compare(key, t->largest);
	return c > 0 || (c == 0 && t->largest_excluded) ? 1 : 0;
}

struct key_range key_range_of(const struct table_meta *t)
{
	return (struct key_range){t->smallest, t->largest, t->largest_excluded};
}

void key_range_add(struct key_range *r, const struct table_meta *t)
{
	int c;

	if (slice_compare(t->smallest, r->start) < 0)
		r->start = t->smallest;
	c = slice_compare(t->largest, r->end);
	if (c > 0 || (c == 0 && !t->largest_excluded)) {
		r->end = t->largest;
		r->end_excluded = t->largest_excluded;
	}
}

bool table_meta_overlaps(const struct table_meta *t, const struct key_range *r)
{
	int c;

	if (r->end.size) {
		c = slice_compare(t->smallest, r->end);
		if (c > 0 || (c == 0 && r->end_excluded))
			return false;
	}
	if (r->start.size) {
		c = slice_compare(t->largest, r->start);
		if (c < 0 || (c == 0 && t->largest_excluded))
			return false;
	}
	return true;
}

size_t tables_find(struct table_meta *const *tables, size_t count, struct lsm_slice key)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (table_meta_compare(tables[mid], key) > 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

size_t version_find(const struct version *v, unsigned level, struct lsm_slice key)
{
	return tables_find(v->level[level].tables, v->level[level].count, key);
}

bool version_overlaps(const struct version *v, unsigned level, const struct key_range *r)
{
	const struct level *l = &v->level[level];

	if (level && r->start.size) {
		size_t i = version_find(v, level, r->start);

		return i < l->count && table_meta_overlaps(l->tables[i], r);
	}
	for (size_t i = 0; i < l->count; i++)
		if (table_meta_overlaps(l->tables[i], r))
			return true;
	return false;
}

unsigned version_deepest(const struct version *v)
{
	for (unsigned l = LSM_LEVELS; l-- > 1;)
		if (v->level[l].count)
			return l;
	return 0;
}

bool version_has_below(const struct version *v, unsigned level, const struct key_range *r)
{
	for (unsigned l = level + 1; l < LSM_LEVELS; l++)
		if (version_overlaps(v, l, r))
			return true;
	return false;
}

bool version_valid(const struct version *v, const char **why)
{
	for (unsigned l = 0; l < LSM_LEVELS; l++) {
		const struct level *level = &v->level[l];

		for (size_t i = 0; i < level->count; i++) {
			const struct table_meta *t = level->tables[i];
			const struct table_meta *before = i ? level->tables[i - 1] : NULL;
			int c = slice_compare(t->smallest, t->largest);

			*why = "a table ends before it starts";
			if (c > 0 || (c == 0 && t->largest_excluded))
				return false;
			*why = "level 0 is not ordered by age";
			if (before && !l && before->number <= t->number)
				return false;
			*why = "two tables of one level overlap";
			if (before && l && table_meta_compare(before, t->smallest) <= 0)
				return false;
		}
	}
	*why = NULL;
	return true;
}

/* ---- picking ---- */

void pick_release(struct pick *p)
{
	free(p->inputs);
	free(p->below);
	*p = (struct pick){0};
}

bool pick_damaged(const struct pick *p)
{
	for (size_t i = 0; i < p->inputs_count; i++)
		if (atomic_load_explicit(&p->inputs[i]->damaged, memory_order_relaxed))
			return true;
	for (size_t i = 0; i < p->below_count; i++)
		if (atomic_load_explicit(&p->below[i]->damaged, memory_order_relaxed))
			return true;
	return false;
}

/* The tables of `level` that overlap `r`, in the version's order. */
static int version_tables_in(const struct version *v, unsigned level, const struct key_range *r,
			     struct table_meta ***out, size_t *count)
{
	const struct level *l = &v->level[level];

	*count = 0;
	*out = NULL;
	if (!l->count)
		return 0;
	*out = malloc(l->count * sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; i < l->count; i++)
		if (table_meta_overlaps(l->tables[i], r))
			(*out)[(*count)++] = l->tables[i];
	return 0;
}

int version_pick_tables(const struct version *v, unsigned level, unsigned output,
			struct table_meta *const *tables, size_t count, struct pick *p)
{
	const struct level *l = &v->level[level];
	int err;

	assert(count && output < LSM_LEVELS);
	*p = (struct pick){.reason = PICK_MANUAL, .level = level, .output = output};
	if (level == 0 && output != 0) {
		tables = l->tables;
		count = l->count;
	}
	p->inputs = malloc(count * sizeof(*tables));
	if (!p->inputs)
		return -ENOMEM;
	memcpy(p->inputs, tables, count * sizeof(*tables));
	p->inputs_count = count;
	p->range = key_range_of(tables[0]);
	for (size_t i = 1; i < count; i++)
		key_range_add(&p->range, tables[i]);
	if (output == level)
		return 0;
	err = version_tables_in(v, output, &p->range, &p->below, &p->below_count);
	if (err) {
		pick_release(p);
		return err;
	}
	for (size_t i = 0; i < p->below_count; i++)
		key_range_add(&p->range, p->below[i]);
	return 0;
}

static double version_level_score(const struct version *v, const struct pick_options *o,
				  unsigned level, enum pick_reason *reason)
{
	double target = (double)o->level1_bytes, size, separated;

	if (!level) {
		*reason = PICK_L0;
		return (double)v->level[0].count / o->l0_compact;
	}
	for (unsigned l = 1; l < level; l++)
		target *= 10;
	size = (double)v->level[level].bytes / target;
	separated = (double)v->level[level].segment_bytes / (target * (double)o->segment_factor);
	*reason = size >= separated ? PICK_SIZE : PICK_SEGMENT_BYTES;
	return size >= separated ? size : separated;
}

/* The index of the first table that starts behind the end of the last pick of this level. */
static size_t version_next_in_turn(const struct version *v, const struct pick_options *o,
				   unsigned level)
{
	const struct level *l = &v->level[level];

	for (size_t i = 0; i < l->count; i++)
		if (!o->cursor[level].size ||
		    slice_compare(l->tables[i]->smallest, o->cursor[level]) > 0)
			return i;
	return 0;
}

/*
 * The reason to push `t` of `level` down to get rid of its tombstones: it
 * has range tombstones, or mostly tombstones, or old ones. PICK_NONE: there is no reason. At
 * the bottom the table is rewritten instead, but not while a snapshot keeps the
 * tombstones: it would be rewritten again and again.
 */
static enum pick_reason version_tombstone_reason(const struct version *v,
						 const struct pick_options *o, unsigned level,
						 const struct table_meta *t)
{
	struct key_range r = key_range_of(t);
	bool old = o->tombstone_age_s && o->now_s > t->created_s + o->tombstone_age_s;

	if (!t->ranges && !t->tombstones)
		return PICK_NONE;
	if (level && !version_has_below(v, level, &r) && t->sequence_max > o->oldest_snapshot)
		return PICK_NONE;
	if (t->ranges)
		return PICK_RANGES;
	if (old || (t->tombstones >= o->tombstones_min && t->tombstones * 2 > t->entries))
		return PICK_TOMBSTONES;
	return PICK_NONE;
}

static int version_pick_one(const struct version *v, unsigned level, struct table_meta *t,
			    enum pick_reason reason, struct pick *p)
{
	struct key_range r = key_range_of(t);
	bool bottom = level && !version_has_below(v, level, &r);
	bool rewrite = bottom && (reason == PICK_RANGES || reason == PICK_TOMBSTONES);
	int err;

	if (level == LSM_LEVELS - 1 && !rewrite)
		return 0; /* the deepest level has no limit */
	err = version_pick_tables(v, level, rewrite ? level : level + 1, &t, 1, p);
	if (!err)
		p->reason = reason;
	return err;
}

/* Pick the next table of `level` in turn, and pass over picks with a damaged table. */
static int version_pick_level(const struct version *v, const struct pick_options *o, unsigned level,
			      enum pick_reason reason, struct pick *p)
{
	const struct level *l = &v->level[level];
	size_t first = version_next_in_turn(v, o, level);
	/* A pick of level 0 takes all of it. */
	size_t turns = level ? l->count : 1;
	int err = 0;

	for (size_t i = 0; !err && i < turns; i++) {
		err = version_pick_one(v, level, l->tables[(first + i) % l->count], reason, p);
		if (err || !pick_damaged(p))
			break;
		pick_release(p);
	}
	return err;
}

static int version_pick_tombstones(const struct version *v, const struct pick_options *o,
				   struct pick *p)
{
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < v->level[l].count; i++) {
			struct table_meta *t = v->level[l].tables[i];
			enum pick_reason reason = version_tombstone_reason(v, o, l, t);
			int err;

			if (reason == PICK_NONE)
				continue;
			err = version_pick_one(v, l, t, reason, p);
			if (err || !pick_damaged(p))
				return err;
			pick_release(p);
		}
	return 0;
}

int version_pick(const struct version *v, const struct pick_options *o, struct pick *p)
{
	enum pick_reason reason, best_reason = PICK_NONE;
	unsigned best = 0, stuck = 0;
	double best_score;
	int err = 0;

	*p = (struct pick){0};
	do {
		best_score = 0;
		for (unsigned l = 0; l < LSM_LEVELS - 1; l++) {
			double score = version_level_score(v, o, l, &reason);

			if (v->level[l].count && score > best_score && !(stuck & 1u << l)) {
				best_score = score;
				best_reason = reason;
				best = l;
			}
		}
		if (best_score >= 1) {
			err = version_pick_level(v, o, best, best_reason, p);
			p->score = best_score;
			stuck |= 1u << best;
		}
	} while (!err && best_score >= 1 && p->reason == PICK_NONE);
	if (!err && best_score < 1)
		err = version_pick_tombstones(v, o, p);
	p->l0_stuck = (stuck & 1u) && !(best_score >= 1 && best == 0);
	return err;
}
