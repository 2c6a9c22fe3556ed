/*
 * table.c - reading a table: opening it, point look-ups and iteration.
 *
 * An open table is its file, its index, its filter and its range tombstones, all
 * in memory, as one value of the cache. Data blocks are cached each by itself and
 * do not need the table they came from to stay open. Of an open table only the
 * pointer to its own cache entry changes, so any thread may use it.
 *
 * A look-up allocates nothing while the block is in the cache: the index and the
 * block are searched in place (block_find).
 *
 * All damage that is met here is reported by table_corrupt(), with the table's name and
 * the offset of the block.
 */
#include <assert.h>
#include <stdatomic.h>

#include "lsm/table/block.h"
#include "lsm/table/filter.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"

#define FILTER_ALIGN 64u /* a line of the filter should be one of the CPU's */

struct table {
	struct table_env *env;
	uint64_t number;
	struct storage_file *file;
	struct table_footer footer;
	struct table_block *index;
	void *filter; /* filter_size bytes; NULL: none */
	size_t filter_size;
	struct rangedel_list *ranges;        /* finished; NULL: none */
	_Atomic(struct cache_entry *) entry; /* the cache's entry of this table */
};

static int table_corrupt(const struct table_env *env, uint64_t number, uint64_t offset,
			 const char *reason)
{
	char name[TABLE_NAME_BYTES];

	table_name(name, number);
	return report_corrupt(env->report, name, offset, "%s", reason);
}

static struct lsm_slice table_block_slice(const struct table_block *b)
{
	return (struct lsm_slice){b->data, b->size};
}

/* ---- opening ---- */

static void table_close(void *value)
{
	struct table *t = value;

	if (!t)
		return;
	(void)storage_close(t->file); /* only read from */
	free(t->index);
	free(t->filter);
	rangedel_free(t->ranges);
	free(t);
}

/* Load a block. -EUCLEAN is reported. */
static int table_load_block(struct table *t, struct table_handle h, struct table_block **out)
{
	const char *reason;
	int err = table_block_load(t->file, t->number, h, out, &reason);

	return err == -EUCLEAN ? table_corrupt(t->env, t->number, h.offset, reason) : err;
}

static int table_load_footer(struct table *t, uint64_t bytes)
{
	uint8_t footer[TABLE_FOOTER_BYTES];
	const char *reason = "file is too short for a table";
	uint64_t offset;
	int err;

	if (bytes < sizeof(footer))
		return table_corrupt(t->env, t->number, 0, reason);
	offset = bytes - sizeof(footer);
	err = storage_pread_full(t->file, footer, sizeof(footer), offset);
	if (err == -EUCLEAN)
		return table_corrupt(t->env, t->number, offset,
				     "file is shorter than it should be");
	if (err)
		return err;
	err = table_footer_decode(footer, t->number, offset, &t->footer, &reason);
	if (err) /* also a later version of the format */
		table_corrupt(t->env, t->number, offset, reason);
	return err;
}

static int table_load_index(struct table *t)
{
	const char *reason;
	int err = table_load_block(t, t->footer.index, &t->index);

	if (!err && block_check(table_block_slice(t->index), &reason))
		err = table_corrupt(t->env, t->number, t->footer.index.offset, reason);
	return err;
}

/* Without its filter a table is only slower, so damage to it is reported but is no error. */
static int table_load_filter(struct table *t)
{
	struct table_block *b;
	int err;

	if (!t->footer.filter.size)
		return 0;
	err = table_load_block(t, t->footer.filter, &b);
	if (err)
		return err == -EUCLEAN ? 0 : err;
	if (posix_memalign(&t->filter, FILTER_ALIGN, b->size ? b->size : 1)) {
		t->filter = NULL;
		err = -ENOMEM;
	} else {
		memcpy(t->filter, b->data, b->size);
		t->filter_size = b->size;
	}
	free(b);
	return err;
}

static int table_load_ranges(struct table *t)
{
	struct table_block *b;
	const uint8_t *p, *limit;
	int err;

	if (!t->footer.ranges.size)
		return 0;
	err = table_load_block(t, t->footer.ranges, &b);
	if (err)
		return err;
	t->ranges = rangedel_new();
	if (!t->ranges)
		err = -ENOMEM;
	p = b->data;
	limit = p + b->size;
	while (!err && p < limit) {
		struct lsm_slice start, end;
		uint64_t sequence;

		p = table_range_decode(p, limit, &sequence, &start, &end);
		if (p)
			err = rangedel_add(t->ranges, sequence, start, end);
		else
			err = table_corrupt(t->env, t->number, t->footer.ranges.offset,
					    "range tombstone is malformed");
	}
	if (!err)
		err = rangedel_finish(t->ranges);
	free(b);
	return err;
}

static int table_open(struct table_env *env, uint64_t number, uint64_t bytes, struct table **out)
{
	char name[TABLE_NAME_BYTES];
	struct table *t = calloc(1, sizeof(*t));
	int err;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->env = env;
	t->number = number;
	table_name(name, number);
	err = storage_open_file(env->st, name, STORAGE_READ, &t->file);
	if (err == -ENOENT)
		err = table_corrupt(env, number, 0, "the file is missing");
	if (!err)
		err = table_load_footer(t, bytes);
	if (!err)
		err = table_load_index(t);
	if (!err)
		err = table_load_ranges(t);
	if (!err)
		err = table_load_filter(t);
	if (err)
		table_close(t);
	else
		*out = t;
	return err;
}

static size_t table_memory(const struct table *t)
{
	return sizeof(*t) + sizeof(*t->index) + t->index->size + t->filter_size +
	       (t->ranges ? rangedel_memory(t->ranges) : 0);
}

int table_acquire(struct table_env *env, uint64_t number, uint64_t bytes, struct table **out)
{
	struct cache_entry *e = cache_get(env->cache, number, CACHE_TABLE);
	struct table *t;
	int err;

	*out = NULL;
	if (!e) {
		err = table_open(env, number, bytes, &t);
		if (err)
			return err;
		e = cache_put(env->cache, number, CACHE_TABLE, t, table_memory(t), table_close);
		if (!e) {
			table_close(t);
			return -ENOMEM;
		}
	}
	t = cache_value(e);
	/* All would store the same. Only the first does, so that the line stays shared. */
	if (atomic_load_explicit(&t->entry, memory_order_relaxed) != e)
		atomic_store_explicit(&t->entry, e, memory_order_relaxed);
	*out = t;
	return 0;
}

static struct cache_entry *table_cache_entry(struct table *t)
{
	return atomic_load_explicit(&t->entry, memory_order_relaxed);
}

void table_release(struct table *t)
{
	if (t)
		cache_release(t->env->cache, table_cache_entry(t));
}

const struct rangedel_list *table_ranges(const struct table *t)
{
	return t->ranges;
}

/* ---- data blocks ---- */

/* Where the data blocks end. */
static uint64_t table_data_end(const struct table *t)
{
	return t->footer.filter.offset;
}

/* A data block in use: in the cache, or this reader's own. */
struct pinned_block {
	struct cache_entry *entry;
	struct table_block *own;
	struct lsm_slice bytes;
};

static void table_drop_block(struct table *t, struct pinned_block *held)
{
	cache_release(t->env->cache, held->entry);
	free(held->own);
	*held = (struct pinned_block){0};
}

static int table_hold_block(struct table *t, struct lsm_slice handle, bool fill_cache,
			    struct pinned_block *held)
{
	struct cache *cache = t->env->cache;
	struct table_block *b;
	struct table_handle h;
	const char *reason;
	int err;

	*held = (struct pinned_block){0};
	if (!table_handle_decode(handle, table_data_end(t), &h))
		return table_corrupt(t->env, t->number, t->footer.index.offset,
				     "index points outside the data");
	held->entry = cache_get(cache, t->number, h.offset);
	if (held->entry) {
		held->bytes = table_block_slice(cache_value(held->entry));
		return 0;
	}
	err = table_load_block(t, h, &b);
	if (err)
		return err;
	if (block_check(table_block_slice(b), &reason)) {
		free(b);
		return table_corrupt(t->env, t->number, h.offset, reason);
	}
	if (fill_cache) {
		held->entry = cache_put(cache, t->number, h.offset, b, sizeof(*b) + b->size, free);
		if (!held->entry) {
			free(b);
			return -ENOMEM;
		}
		b = cache_value(held->entry);
	} else {
		held->own = b;
	}
	held->bytes = table_block_slice(b);
	return 0;
}

/* ---- look-ups ---- */

static int table_value_copy(struct lsm_value *value, struct lsm_slice bytes)
{
	if (bytes.size > value->capacity) {
		size_t capacity = bytes.size < 64 ? 64 : bytes.size;
		void *data = realloc(value->data, capacity);

		if (!data)
			return -ENOMEM;
		value->data = data;
		value->capacity = capacity;
	}
	if (bytes.size)
		memcpy(value->data, bytes.data, bytes.size);
	value->size = bytes.size;
	return 0;
}

static void table_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/*
 * Search the data block that the index names for `ikey`. No second block need be searched: the
 * next one begins above the index key. If this block ends below `ikey`, its index key is a
 * user key that no entry has (see the format), and the next block holds other user keys only.
 * Returns 0; LSM_ABSENT; an error, reported if it is -EUCLEAN.
 */
static int table_search(struct table *t, struct lsm_slice ikey, struct pinned_block *held,
			struct block_found *found, bool *has_newer)
{
	struct block_found index;
	uint64_t offset = t->footer.index.offset;
	int err = block_find(table_block_slice(t->index), ikey, &index);

	found->same_user = false;
	*has_newer = err >= 0 && index.after_newer;
	found->reason = index.reason;
	if (!err) {
		struct table_handle h;

		err = table_hold_block(t, index.value, true, held);
		if (err)
			return err;
		(void)table_handle_decode(index.value, table_data_end(t), &h); /* it was valid */
		offset = h.offset;
		err = block_find(held->bytes, ikey, found);
		*has_newer |= err >= 0 && found->after_newer;
	}
	return err < 0 ? table_corrupt(t->env, t->number, offset, found->reason) : err;
}

int table_get(struct table *t, struct lsm_slice key, uint64_t sequence, enum ikey_type *type,
	      uint64_t *entry_sequence, struct lsm_value *value)
{
	struct pinned_block held = {0};
	struct block_found found;
	struct ikey_buf space;
	bool has_newer;
	int err;

	*type = IKEY_DELETE;
	*entry_sequence = 0;
	assert(key.size && key.size <= LSM_KEY_BYTES_MAX);
	if (t->filter &&
	    !filter_may_match((struct lsm_slice){t->filter, t->filter_size}, filter_hash(key))) {
		table_count(&t->env->filter_negatives);
		return LSM_ABSENT;
	}
	err = table_search(t, ikey_make(&space, key, sequence, IKEY_TYPE_MAX), &held, &found,
			   &has_newer);
	if (!err && !found.same_user)
		err = LSM_ABSENT;
	if (!err)
		err = table_value_copy(value, found.value);
	if (!err) {
		*type = (enum ikey_type)(found.trailer & 0xff);
		*entry_sequence = found.trailer >> 8;
	}
	if (err == LSM_ABSENT && t->filter && !has_newer)
		table_count(&t->env->filter_false_positives);
	table_drop_block(t, &held);
	return err;
}

uint64_t table_offset_of(struct table *t, struct lsm_slice key)
{
	struct block_found found;
	struct ikey_buf space;
	struct table_handle h;

	if (!key.size)
		return 0;
	if (key.size > LSM_KEY_BYTES_MAX)
		key.size = LSM_KEY_BYTES_MAX;
	if (block_find(table_block_slice(t->index),
		       ikey_make(&space, key, SEQUENCE_MAX, IKEY_TYPE_MAX), &found) ||
	    !table_handle_decode(found.value, table_data_end(t), &h))
		return table_data_end(t);
	return h.offset;
}

/* ---- iteration ---- */

struct table_iter {
	struct iter it;
	struct table *t;
	bool fill_cache;
	struct block_cursor index;
	struct block_cursor data; /* over `held`, the block the index stands on */
	struct pinned_block held; /* bytes.data NULL: none */
	const void *held_handle;  /* the index value that led to it */
};

static void table_iter_end(struct table_iter *ti, int err)
{
	ti->it.valid = false;
	ti->it.err = err;
}

/* Hold the block the index stands on. False: the iterator is at its end, or has an error. */
static bool table_iter_load(struct table_iter *ti)
{
	struct table *t = ti->t;
	int err;

	if (!ti->index.it.valid) {
		err = ti->index.it.err;
		if (err == -EUCLEAN)
			err = table_corrupt(t->env, t->number, t->footer.index.offset,
					    ti->index.reason);
		table_iter_end(ti, err);
		return false;
	}
	if (ti->held.bytes.data && ti->held_handle == ti->index.it.value.data)
		return true;
	table_drop_block(t, &ti->held);
	err = table_hold_block(t, ti->index.it.value, ti->fill_cache, &ti->held);
	if (err) {
		table_iter_end(ti, err);
		return false;
	}
	ti->held_handle = ti->index.it.value.data;
	block_cursor_reset(&ti->data, ti->held.bytes);
	return true;
}

/* Show the entry `data` stands on. Behind the block's end, go on in the next block that way. */
static void table_iter_show(struct table_iter *ti, bool forwards)
{
	struct iter *index = &ti->index.it, *data = &ti->data.it;

	while (!data->valid && !data->err) {
		if (forwards)
			index->ops->next(index);
		else
			index->ops->prev(index);
		if (!table_iter_load(ti))
			return;
		if (forwards)
			data->ops->first(data);
		else
			data->ops->last(data);
	}
	if (data->err == -EUCLEAN) {
		struct table_handle h;

		/* The handle was valid when the block was loaded. */
		(void)table_handle_decode(index->value, table_data_end(ti->t), &h);
		data->err = table_corrupt(ti->t->env, ti->t->number, h.offset, ti->data.reason);
	}
	ti->it.key = data->key;
	ti->it.value = data->value;
	ti->it.valid = data->valid;
	ti->it.err = data->err;
}

static void table_iter_first(struct iter *it)
{
	struct table_iter *ti = (struct table_iter *)it;

	ti->index.it.ops->first(&ti->index.it);
	if (!table_iter_load(ti))
		return;
	ti->data.it.ops->first(&ti->data.it);
	table_iter_show(ti, true);
}

static void table_iter_last(struct iter *it)
{
	struct table_iter *ti = (struct table_iter *)it;

	ti->index.it.ops->last(&ti->index.it);
	if (!table_iter_load(ti))
		return;
	ti->data.it.ops->last(&ti->data.it);
	table_iter_show(ti, false);
}

static void table_iter_seek(struct iter *it, struct lsm_slice ikey)
{
	struct table_iter *ti = (struct table_iter *)it;

	ti->index.it.ops->seek(&ti->index.it, ikey);
	if (!table_iter_load(ti))
		return;
	ti->data.it.ops->seek(&ti->data.it, ikey);
	table_iter_show(ti, true);
}

static void table_iter_seek_prev(struct iter *it, struct lsm_slice ikey)
{
	struct table_iter *ti = (struct table_iter *)it;

	ti->index.it.ops->seek(&ti->index.it, ikey);
	if (!ti->index.it.valid && !ti->index.it.err) { /* above all of them */
		table_iter_last(it);
		return;
	}
	if (!table_iter_load(ti))
		return;
	ti->data.it.ops->seek_prev(&ti->data.it, ikey);
	table_iter_show(ti, false);
}

static void table_iter_next(struct iter *it)
{
	struct table_iter *ti = (struct table_iter *)it;

	assert(it->valid);
	ti->data.it.ops->next(&ti->data.it);
	table_iter_show(ti, true);
}

static void table_iter_prev(struct iter *it)
{
	struct table_iter *ti = (struct table_iter *)it;

	assert(it->valid);
	ti->data.it.ops->prev(&ti->data.it);
	table_iter_show(ti, false);
}

static void table_iter_free(struct iter *it)
{
	struct table_iter *ti = (struct table_iter *)it;

	table_drop_block(ti->t, &ti->held);
	block_cursor_release(&ti->index);
	block_cursor_release(&ti->data);
	table_release(ti->t);
	free(ti);
}

static const struct iter_ops table_iter_ops = {
	.seek = table_iter_seek,
	.seek_prev = table_iter_seek_prev,
	.first = table_iter_first,
	.last = table_iter_last,
	.next = table_iter_next,
	.prev = table_iter_prev,
	.free = table_iter_free,
};

struct iter *table_iter(struct table *t, bool fill_cache)
{
	struct table_iter *ti = calloc(1, sizeof(*ti));

	if (!ti)
		return NULL;
	ti->it.ops = &table_iter_ops;
	ti->t = t;
	ti->fill_cache = fill_cache;
	block_cursor_init(&ti->index);
	block_cursor_reset(&ti->index, table_block_slice(t->index));
	block_cursor_init(&ti->data);
	cache_ref(t->env->cache, table_cache_entry(t));
	return &ti->it;
}
