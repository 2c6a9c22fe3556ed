/*
 * dbiter.c - the public iterator: user keys and values as of one sequence.
 *
 * Below it a merge yields every version of every key, newest first per key. Of
 * each key the iterator shows the newest version up to its sequence, unless that is a
 * tombstone or a range tombstone of any source covers it.
 *
 * Going forwards, the merge is at the entry shown. Going backwards, the newest version of a key
 * comes last, so the merge is before all versions of the key shown, and
 * key and value are copies.
 *
 *     merge:   a@5 a@2  b@7(del) b@3  c@4          sequence 9
 *     shown:   a=@5                   c=@4
 *     forwards on c: merge at c@4;  backwards on c: merge at b@3
 *
 * Two things shorten long walks. After a few versions of one key it seeks to
 * the next key instead of stepping. Where a range tombstone hides entry after
 * entry, all sources older than that tombstone seek to its end.
 *
 * A hostile table has right checksums, and keys in any order. Neither this code nor its
 * callers may loop on it: a step always goes on in the file, and every seek checks that it
 * arrived at or behind its key (dbiter_out_of_order).
 */
#include <assert.h>
#include <stdlib.h>

#include "lsm/base/array.h"
#include "lsm/dbiter.h"
#include "lsm/merge.h"
#include "lsm/snapshot.h"
#include "lsm/view.h"

#define STEPS_BEFORE_SEEK 8
#define HIDDEN_BEFORE_SKIP 16

/* The range tombstones of one source. */
struct range_source {
	size_t rank;                /* of the source among the merge's children */
	const struct memtable *mem; /* or */
	struct table *table;
};

struct lsm_iter {
	struct lsm *lsm;
	struct view *view;
	uint64_t sequence;
	struct lsm_slice lower, upper;
	struct iter *merge;
	struct range_source *ranges;
	size_t ranges_count, ranges_room;

	bool valid, backward;
	int err;
	struct lsm_slice key, stored; /* of the entry shown */
	enum ikey_type type;
	struct buf saved_key, saved_value, value;
	bool value_loaded;
};

/* ---- building ---- */

struct parts {
	struct iter **children;
	size_t count, room;
};

static int dbiter_add_child(struct parts *p, struct iter *it)
{
	if (!it)
		return -ENOMEM;
	if (array_reserve(p->children, p->room, p->count + 1)) {
		iter_free(it);
		return -ENOMEM;
	}
	p->children[p->count++] = it;
	return 0;
}

static int dbiter_add_ranges(struct lsm_iter *it, struct range_source source)
{
	if (array_reserve(it->ranges, it->ranges_room, it->ranges_count + 1))
		return -ENOMEM;
	it->ranges[it->ranges_count++] = source;
	return 0;
}

/* Note the range tombstones of a table, which then stays open. */
static int dbiter_add_table_ranges(struct lsm_iter *it, const struct table_meta *meta, size_t rank)
{
	struct table *t;
	int err;

	if (!meta->ranges)
		return 0;
	err = table_acquire(&it->lsm->env, meta->number, meta->bytes, &t);
	/* Within the bounds of the table, its iterator will return an error in any case. */
	if (err == -EUCLEAN)
		return 0;
	if (err)
		return err;
	err = table_ranges(t) ? dbiter_add_ranges(it, (struct range_source){rank, NULL, t}) :
				-ENOENT;
	if (err)
		table_release(t);
	return err == -ENOENT ? 0 : err;
}

static int dbiter_add_memtables(struct lsm_iter *it, struct parts *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < it->view->memlogs_count; i++) {
		struct memtable *mem = it->view->memlogs[i]->mem;

		/* The newest may get its first one just now, too new for this iterator. */
		if (memtable_ranges(mem))
			err = dbiter_add_ranges(it, (struct range_source){p->count, mem, NULL});
		if (!err)
			err = dbiter_add_child(p, memtable_iter(mem));
	}
	return err;
}

static int dbiter_add_level0(struct lsm_iter *it, struct parts *p, const struct key_range *bounds,
			     bool fill_cache)
{
	const struct level *l = &it->view->version->level[0];
	int err = 0;

	for (size_t i = 0; !err && i < l->count; i++) {
		struct table *t;

		if (!table_meta_overlaps(l->tables[i], bounds))
			continue;
		err = dbiter_add_table_ranges(it, l->tables[i], p->count);
		if (err)
			return err;
		err = table_acquire(&it->lsm->env, l->tables[i]->number, l->tables[i]->bytes, &t);
		if (err == -EUCLEAN) {
			err = dbiter_add_child(p, lost_iter(l->tables[i], err));
		} else if (!err) {
			err = dbiter_add_child(p, table_iter(t, fill_cache));
			table_release(t);
		}
	}
	return err;
}

static int dbiter_add_level(struct lsm_iter *it, struct parts *p, unsigned level,
			    const struct key_range *bounds, bool fill_cache)
{
	const struct version *v = it->view->version;
	const struct level *l = &v->level[level];
	size_t first = bounds->start.size ? version_find(v, level, bounds->start) : 0;
	size_t end = first;
	int err = 0;

	while (end < l->count && table_meta_overlaps(l->tables[end], bounds)) {
		err = dbiter_add_table_ranges(it, l->tables[end], p->count);
		if (err)
			return err;
		end++;
	}
	if (first == end)
		return 0;
	return dbiter_add_child(
		p, level_iter(&it->lsm->env, v, level, first, end - first, fill_cache));
}

static int dbiter_build(struct lsm_iter *it, bool fill_cache)
{
	struct key_range bounds = {it->lower, it->upper, true};
	struct parts p = {0};
	int err;

	if (it->lower.size > LSM_KEY_BYTES_MAX || it->upper.size > LSM_KEY_BYTES_MAX)
		return -EINVAL;
	err = dbiter_add_memtables(it, &p);
	if (!err)
		err = dbiter_add_level0(it, &p, &bounds, fill_cache);
	for (unsigned l = 1; !err && l < LSM_LEVELS; l++)
		if (it->view->version->level[l].count)
			err = dbiter_add_level(it, &p, l, &bounds, fill_cache);
	if (!err) {
		it->merge = merge_iter(p.children, p.count);
		if (!it->merge)
			err = -ENOMEM;
	}
	for (size_t i = 0; err && i < p.count; i++)
		iter_free(p.children[i]);
	free(p.children);
	return err;
}

struct lsm_iter *lsm_iter_new(struct lsm *lsm, const struct lsm_iter_options *options)
{
	struct lsm_iter *it = calloc(1, sizeof(*it));

	if (!it)
		return NULL;
	it->lsm = lsm;
	it->view = view_current(lsm);
	/* After the view: what it holds is complete up to any sequence published since. */
	it->sequence =
		options && options->snapshot ? options->snapshot->sequence : tree_sequence(lsm);
	if (options) {
		it->lower = options->lower;
		it->upper = options->upper;
	}
	it->err = dbiter_build(it, !options || !options->no_cache);
	if (it->err == -ENOMEM) {
		lsm_iter_free(it);
		return NULL;
	}
	return it;
}

void lsm_iter_free(struct lsm_iter *it)
{
	if (!it)
		return;
	iter_free(it->merge);
	for (size_t i = 0; i < it->ranges_count; i++)
		table_release(it->ranges[i].table);
	free(it->ranges);
	buf_release(&it->saved_key);
	buf_release(&it->saved_value);
	buf_release(&it->value);
	view_unref(it->view);
	free(it);
}

/* ---- range tombstones ---- */

struct hider {
	struct lsm_slice key;
	uint64_t sequence;    /* only tombstones up to it are seen */
	struct lsm_slice end; /* of the one found that reaches furthest */
};

static int dbiter_find_end(void *ctx, uint64_t sequence, struct lsm_slice start,
			   struct lsm_slice end)
{
	struct hider *h = ctx;

	if (sequence <= h->sequence && slice_compare(start, h->key) <= 0 &&
	    slice_compare(h->key, end) < 0 && slice_compare(h->end, end) < 0)
		h->end = end;
	return 0;
}

/* Whether a range tombstone hides the entry. `*source` is then the source of the tombstone. */
static bool dbiter_hidden(const struct lsm_iter *it, struct lsm_slice key, uint64_t sequence,
			  const struct range_source **source)
{
	for (size_t i = 0; i < it->ranges_count; i++) {
		const struct range_source *r = &it->ranges[i];
		uint64_t over =
			r->mem ? memtable_covering(r->mem, key, it->sequence) :
				 rangedel_covering(table_ranges(r->table), key, it->sequence);

		if (over > sequence) {
			*source = r;
			return true;
		}
	}
	return false;
}

/* Seek every source older than `r` to the end of the tombstone of `r` over `key`. */
static void dbiter_skip_hidden(struct lsm_iter *it, const struct range_source *r,
			       struct lsm_slice key)
{
	struct hider h = {.key = key, .sequence = it->sequence};
	struct ikey_buf target;

	if (r->mem) {
		memtable_each_range(r->mem, dbiter_find_end, &h);
	} else {
		const struct rangedel *d = rangedel_find(table_ranges(r->table), key);

		if (d)
			h.end = d->end;
	}
	if (h.end.size)
		merge_skip(it->merge, r->rank,
			   ikey_make(&target, h.end, SEQUENCE_MAX, IKEY_TYPE_MAX));
}

/* ---- forwards ---- */

static int dbiter_save_key(struct lsm_iter *it, struct lsm_slice key)
{
	it->saved_key.size = 0;
	it->err = buf_add(&it->saved_key, key.data, key.size);
	return it->err;
}

/* Move the merge past every version of the saved key, with a seek if there are many. */
static void dbiter_pass_saved_key(struct lsm_iter *it)
{
	struct lsm_slice saved = buf_slice(&it->saved_key);
	struct ikey_buf target;

	for (int steps = 0; it->merge->valid; steps++) {
		if (slice_compare(ikey_user(it->merge->key), saved) > 0)
			return;
		if (steps == STEPS_BEFORE_SEEK)
			it->merge->ops->seek(it->merge, ikey_make(&target, saved, 0, IKEY_DELETE));
		else
			it->merge->ops->next(it->merge);
	}
}

/* Damage that shows only in the merge becomes an error here. */
static int dbiter_corrupt(const struct lsm_iter *it, struct lsm_slice user_key, const char *reason)
{
	return report_corrupt_key(&it->lsm->report, user_key, reason);
}

static void dbiter_out_of_order(struct lsm_iter *it)
{
	struct lsm_slice none = {0};

	it->valid = false;
	it->err = dbiter_corrupt(it, it->merge->valid ? ikey_user(it->merge->key) : none,
				 "keys out of order");
}

/*
 * Move the merge to the newest visible version of its key, or to the next key.
 * Returns the number of steps.
 */
static unsigned dbiter_pass_invisible(struct lsm_iter *it)
{
	struct lsm_slice last = {0};
	struct ikey_buf targets[2];
	unsigned steps = 0, seeks = 0;

	while (it->merge->valid && ikey_sequence(it->merge->key) > it->sequence) {
		struct lsm_slice ikey;

		if (++steps % STEPS_BEFORE_SEEK) {
			it->merge->ops->next(it->merge);
			continue;
		}
		/* A copy of the key, because the seek may overwrite it. */
		ikey = ikey_make(&targets[seeks++ % 2], ikey_user(it->merge->key), it->sequence,
				 IKEY_TYPE_MAX);
		if (last.size && ikey_compare(last, ikey) >= 0) {
			dbiter_out_of_order(it);
			break;
		}
		it->merge->ops->seek(it->merge, ikey);
		if (it->merge->valid && ikey_compare(it->merge->key, ikey) < 0) {
			dbiter_out_of_order(it);
			break;
		}
		last = ikey;
	}
	return steps;
}

/*
 * Show the first visible entry at or behind the place of the merge. `after`: its key must be
 * above the saved key.
 */
static void dbiter_find_forward(struct lsm_iter *it, bool after)
{
	const struct range_source *by;
	unsigned hidden_count = 0;

	it->backward = false;
	for (;;) {
		struct lsm_slice ikey, user;
		unsigned steps = dbiter_pass_invisible(it);
		bool covered;

		if (it->err)
			return;
		if (!it->merge->valid)
			break;
		ikey = it->merge->key;
		user = ikey_user(ikey);
		if (after && steps && slice_compare(user, buf_slice(&it->saved_key)) <= 0) {
			dbiter_out_of_order(it);
			return;
		}
		if (it->upper.size && slice_compare(user, it->upper) >= 0)
			return;
		covered = it->ranges_count && dbiter_hidden(it, user, ikey_sequence(ikey), &by);
		if (ikey_type(ikey) != IKEY_DELETE && !covered) {
			it->key = user;
			it->type = ikey_type(ikey);
			it->stored = it->merge->value;
			it->valid = true;
			return;
		}
		if (dbiter_save_key(it, user))
			return;
		after = true;
		if (covered && ++hidden_count >= HIDDEN_BEFORE_SKIP) {
			hidden_count = 0;
			dbiter_skip_hidden(it, by, buf_slice(&it->saved_key));
			if (!it->merge->valid)
				break;
		}
		dbiter_pass_saved_key(it);
	}
	it->err = it->merge->err;
}

/* ---- backwards ---- */

/*
 * The merge is at the oldest version of a key, going backwards. Move it past all versions of
 * the key, and save the newest visible one. Returns whether that one is to be shown.
 */
static bool dbiter_take_key_backward(struct lsm_iter *it)
{
	const struct range_source *by;
	bool found = false;
	uint64_t sequence = 0;

	if (dbiter_save_key(it, ikey_user(it->merge->key)))
		return false;
	while (it->merge->valid &&
	       slice_compare(ikey_user(it->merge->key), buf_slice(&it->saved_key)) == 0) {
		struct lsm_slice ikey = it->merge->key;

		if (ikey_sequence(ikey) <= it->sequence) {
			found = ikey_type(ikey) != IKEY_DELETE;
			sequence = ikey_sequence(ikey);
			it->type = ikey_type(ikey);
			it->saved_value.size = 0;
			if (found && buf_add(&it->saved_value, it->merge->value.data,
					     it->merge->value.size)) {
				it->err = -ENOMEM;
				return false;
			}
		}
		it->merge->ops->prev(it->merge);
	}
	if (!it->merge->valid && it->merge->err) {
		it->err = it->merge->err;
		return false;
	}
	return found &&
	       !(it->ranges_count && dbiter_hidden(it, buf_slice(&it->saved_key), sequence, &by));
}

static void dbiter_find_backward(struct lsm_iter *it)
{
	it->backward = true;
	while (!it->err && it->merge->valid) {
		if (it->lower.size && slice_compare(ikey_user(it->merge->key), it->lower) < 0)
			return;
		if (dbiter_take_key_backward(it)) {
			it->key = buf_slice(&it->saved_key);
			it->stored = buf_slice(&it->saved_value);
			it->valid = true;
			return;
		}
	}
	if (!it->err)
		it->err = it->merge->err;
}

/* ---- the public calls ---- */

/* Begin a move. Returns false if the iterator could not be built; its `err` is then set. */
static bool dbiter_begin(struct lsm_iter *it)
{
	it->valid = false;
	it->value_loaded = false;
	if (!it->merge)
		return false;
	it->err = 0;
	return true;
}

bool lsm_iter_valid(const struct lsm_iter *it)
{
	return it->valid;
}

int lsm_iter_status(const struct lsm_iter *it)
{
	return it->err;
}

void lsm_iter_seek(struct lsm_iter *it, struct lsm_slice key)
{
	struct ikey_buf target;

	if (!dbiter_begin(it))
		return;
	if (key.size > LSM_KEY_BYTES_MAX) {
		it->err = -EINVAL;
		return;
	}
	if (it->lower.size && slice_compare(key, it->lower) < 0)
		key = it->lower;
	if (key.size) {
		struct lsm_slice ikey = ikey_make(&target, key, it->sequence, IKEY_TYPE_MAX);

		key = ikey_user(ikey); /* the caller's bytes may be those of the entry here */
		it->merge->ops->seek(it->merge, ikey);
	} else {
		it->merge->ops->first(it->merge);
	}
	dbiter_find_forward(it, false);
	if (it->valid && key.size && slice_compare(it->key, key) < 0)
		dbiter_out_of_order(it);
}

void lsm_iter_first(struct lsm_iter *it)
{
	lsm_iter_seek(it, it->lower);
}

void lsm_iter_seek_prev(struct lsm_iter *it, struct lsm_slice key)
{
	struct ikey_buf target;
	struct lsm_slice ikey;

	if (!dbiter_begin(it))
		return;
	if (key.size > LSM_KEY_BYTES_MAX) {
		it->err = -EINVAL;
		return;
	}
	if (it->upper.size && slice_compare(key, it->upper) >= 0) {
		lsm_iter_last(it);
		return;
	}
	/* Behind every version of the key. An empty key is before all others. */
	if (!key.size)
		return;
	ikey = ikey_make(&target, key, 0, IKEY_DELETE);
	key = ikey_user(ikey);
	it->merge->ops->seek_prev(it->merge, ikey);
	dbiter_find_backward(it);
	if (it->valid && slice_compare(it->key, key) > 0)
		dbiter_out_of_order(it);
}

void lsm_iter_last(struct lsm_iter *it)
{
	struct ikey_buf target;

	if (!dbiter_begin(it))
		return;
	/* (upper, newest) sorts before every version of the bound, which is excluded. */
	if (it->upper.size)
		it->merge->ops->seek_prev(
			it->merge, ikey_make(&target, it->upper, SEQUENCE_MAX, IKEY_TYPE_MAX));
	else
		it->merge->ops->last(it->merge);
	dbiter_find_backward(it);
	if (it->valid && it->upper.size && slice_compare(it->key, it->upper) >= 0)
		dbiter_out_of_order(it);
}

void lsm_iter_next(struct lsm_iter *it)
{
	struct ikey_buf target;

	assert(it->valid);
	if (it->backward) {
		/* The merge is before the key: go to its end. `target` is made of the saved key. */
		struct lsm_slice target_key =
			ikey_make(&target, buf_slice(&it->saved_key), 0, IKEY_DELETE);

		if (!dbiter_begin(it))
			return;
		it->merge->ops->seek(it->merge, target_key);
		dbiter_pass_saved_key(it);
	} else {
		if (!dbiter_begin(it) || dbiter_save_key(it, it->key))
			return;
		dbiter_pass_saved_key(it);
	}
	dbiter_find_forward(it, true);
}

void lsm_iter_prev(struct lsm_iter *it)
{
	struct ikey_buf target;

	assert(it->valid);
	if (!it->backward) {
		struct lsm_slice first = ikey_make(&target, it->key, SEQUENCE_MAX, IKEY_TYPE_MAX);

		if (!dbiter_begin(it))
			return;
		/* Nothing has this very key, so the entry found belongs to a smaller user key. */
		it->merge->ops->seek_prev(it->merge, first);
	} else if (!dbiter_begin(it)) {
		return;
	}
	dbiter_find_backward(it);
}

struct lsm_slice lsm_iter_key(const struct lsm_iter *it)
{
	assert(it->valid);
	return it->key;
}

size_t lsm_iter_size(const struct lsm_iter *it)
{
	struct segment_ref ref;

	assert(it->valid);
	if (it->type != IKEY_PUT_REF)
		return it->stored.size;
	return segment_ref_decode(it->stored, &ref) ? 0 : ref.size;
}

bool lsm_iter_lost(const struct lsm_iter *it)
{
	struct segment_ref ref;

	assert(it->valid);
	return it->type == IKEY_PUT_REF && !segment_ref_decode(it->stored, &ref) &&
	       ref.segment == SEGMENT_LOST;
}

int lsm_iter_read(struct lsm_iter *it, size_t offset, void *buf, size_t size)
{
	struct segment_ref ref;
	int err;

	assert(it->valid);
	if (it->type != IKEY_PUT_REF) {
		if (offset > it->stored.size || size > it->stored.size - offset)
			return -EINVAL;
		if (size)
			memcpy(buf, (const uint8_t *)it->stored.data + offset, size);
		return 0;
	}
	err = dbiter_reference(it, &ref);
	if (err)
		return err;
	if (offset > ref.size || size > ref.size - offset)
		return -EINVAL;
	return size ? segments_read(it->lsm->segments, &ref, (uint32_t)offset, buf,
				    (uint32_t)size) :
		      0;
}

int lsm_iter_value(struct lsm_iter *it, struct lsm_slice *value)
{
	size_t size;
	int err;

	assert(it->valid);
	*value = it->stored;
	if (it->type != IKEY_PUT_REF)
		return 0;
	if (!it->value_loaded) {
		size = lsm_iter_size(it);
		it->value.size = 0;
		err = buf_reserve(&it->value, size);
		if (!err)
			err = lsm_iter_read(it, 0, it->value.data, size);
		if (err) {
			*value = (struct lsm_slice){NULL, 0};
			return err;
		}
		it->value.size = size;
		it->value_loaded = true;
	}
	*value = buf_slice(&it->value);
	return 0;
}

int dbiter_reference(const struct lsm_iter *it, struct segment_ref *ref)
{
	assert(it->valid && it->type == IKEY_PUT_REF);
	if (segment_ref_decode(it->stored, ref))
		return dbiter_corrupt(it, it->key, "malformed segment reference");
	return 0;
}

struct view *dbiter_stored(const struct lsm_iter *it, enum ikey_type *type,
			   struct lsm_slice *stored)
{
	assert(it->valid);
	*type = it->type;
	*stored = it->stored;
	return it->view;
}
