/*
 * table_verify.c - reading all of a table to see whether it is whole.
 *
 * It reads past the cache, because the bytes to be checked are those on the disk. It
 * goes on behind each damaged block, so that one verification names everything lost. The
 * keys of a data block lie between the index key before it and its own. Damage
 * to the footer or the index is damage to the whole table.
 *
 * Each problem goes to the caller's `damage` callback and not to the tree's report, because
 * the caller asked for it and reports it in its own way.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "lsm/base/report.h"
#include "lsm/table/block.h"
#include "lsm/table/filter.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"

struct verify {
	uint64_t number, bytes;
	char name[TABLE_NAME_BYTES];
	struct storage_file *file;
	struct lsm_slice smallest, largest;
	lsm_damage_fn *damage;
	void *damage_ctx;
	table_entry_fn *entry;
	void *entry_ctx;
	int damaged; /* -EUCLEAN once `damage` was called */
	int stop;    /* what `entry` returned, if it was not 0 */

	struct table_footer footer;
	struct table_block *index, *filter; /* filter NULL: none, or damaged */
	struct block_cursor index_cursor, data_cursor;
	struct buf last_index; /* index key before the one here; size 0: none */
	struct buf last_key;   /* last entry seen; size 0: none */
	uint64_t blocks, entries, tombstones;
};

/* Every problem is named here, and becomes what table_verify() returns. */
static void table_verify_damage(struct verify *v, uint64_t offset, struct lsm_slice first,
				struct lsm_slice last, const char *reason)
{
	struct lsm_damage d = {
		.file = v->name,
		.offset = offset,
		.first_key = first,
		.last_key = last,
		.reason = reason,
	};

	v->damaged = report_malformed(NULL, reason);
	v->damage(v->damage_ctx, &d);
}

/* Name damage that may concern any key of the table. */
static void table_verify_damage_table(struct verify *v, uint64_t offset, const char *reason)
{
	table_verify_damage(v, offset, v->smallest, v->largest, reason);
}

/* Name damage to the keys behind the last index key, up to `index_key` (size 0: the rest). */
static void table_verify_damage_block(struct verify *v, uint64_t offset, struct lsm_slice index_key,
				      const char *reason)
{
	struct lsm_slice first = v->smallest, last = v->largest;

	if (v->last_index.size)
		first = ikey_user(buf_slice(&v->last_index));
	/* An index key may be a little above the last key of its block. */
	if (index_key.size && (!last.size || slice_compare(ikey_user(index_key), last) < 0))
		last = ikey_user(index_key);
	table_verify_damage(v, offset, first, last, reason);
}

static bool table_verify_within(const struct verify *v, struct lsm_slice user)
{
	return table_bounds_hold(v->smallest, v->largest, user);
}

/*
 * Load a block. Bytes that the device cannot read are lost as well as wrong ones: `*out` is
 * then NULL, and `*reason` says why. 0; -ENOMEM.
 */
static int table_verify_load(struct verify *v, struct table_handle h, struct table_block **out,
			     const char **reason)
{
	int err = table_block_load(v->file, v->number, h, out, reason);

	return err == -ENOMEM ? err : 0;
}

static struct lsm_slice table_verify_slice(const struct table_block *b)
{
	return (struct lsm_slice){b->data, b->size};
}

/* ---- data blocks ---- */

static struct lsm_slice table_verify_filter_slice(const struct verify *v)
{
	return v->filter ? table_verify_slice(v->filter) : (struct lsm_slice){0};
}

/* The problem with the entry under the cursor, in the block of `index_key`; NULL: none. */
static const char *table_verify_problem(struct verify *v, struct lsm_slice index_key)
{
	struct lsm_slice key = v->data_cursor.it.key, user = ikey_user(key);

	if (v->last_key.size && ikey_compare(buf_slice(&v->last_key), key) >= 0)
		return "keys do not ascend";
	if (v->last_index.size && ikey_compare(buf_slice(&v->last_index), key) >= 0)
		return "key belongs to the block before";
	if (ikey_compare(key, index_key) > 0)
		return "key is above the index key of its block";
	if (!table_verify_within(v, user))
		return "key is outside the bounds of the table";
	if (v->filter && !filter_may_match(table_verify_filter_slice(v), filter_hash(user)))
		return "filter does not know a key";
	return NULL;
}

/* Verify every entry of a block, until v->stop is set. 0; -ENOMEM. */
static int table_verify_entries(struct verify *v, uint64_t offset, struct lsm_slice index_key)
{
	struct iter *it = &v->data_cursor.it;
	int err = 0;

	for (it->ops->first(it); it->valid; it->ops->next(it)) {
		const char *problem = table_verify_problem(v, index_key);

		if (problem) {
			table_verify_damage_block(v, offset, index_key, problem);
			return 0;
		}
		v->last_key.size = 0;
		err = buf_add(&v->last_key, it->key.data, it->key.size);
		if (!err && v->entry)
			v->stop = v->entry(v->entry_ctx, it->key, it->value);
		if (err || v->stop)
			return err;
		v->entries++;
		v->tombstones += ikey_type(it->key) == IKEY_DELETE;
	}
	if (it->err == -EUCLEAN) {
		table_verify_damage_block(v, offset, index_key, v->data_cursor.reason);
		return 0;
	}
	return it->err;
}

static int table_verify_block(struct verify *v, struct table_handle h, struct lsm_slice index_key)
{
	struct table_block *b;
	const char *reason;
	int err = table_verify_load(v, h, &b, &reason);

	if (err)
		return err;
	if (!b || block_check(table_verify_slice(b), &reason)) {
		table_verify_damage_block(v, h.offset, index_key, reason);
	} else {
		block_cursor_reset(&v->data_cursor, table_verify_slice(b));
		err = table_verify_entries(v, h.offset, index_key);
	}
	free(b);
	return err;
}

/* Every data block, through the index. */
static int table_verify_data(struct verify *v)
{
	struct iter *it = &v->index_cursor.it;
	uint64_t end = 0, data_end = v->footer.filter.offset;
	uint64_t index_offset = v->footer.index.offset;

	block_cursor_reset(&v->index_cursor, table_verify_slice(v->index));
	for (it->ops->first(it); it->valid; it->ops->next(it)) {
		struct table_handle h;
		int err;

		if (v->last_index.size && ikey_compare(buf_slice(&v->last_index), it->key) >= 0) {
			table_verify_damage_block(v, index_offset, (struct lsm_slice){0},
						  "index keys do not ascend");
			return 0;
		}
		if (!table_handle_decode(it->value, data_end, &h)) {
			table_verify_damage_block(v, index_offset, it->key,
						  "index points outside the data");
		} else {
			if (h.offset != end)
				table_verify_damage_block(v, index_offset, it->key,
							  "index leaves a gap");
			end = h.offset + h.size;
			err = table_verify_block(v, h, it->key);
			if (err || v->stop)
				return err;
		}
		v->blocks++;
		v->last_index.size = 0;
		err = buf_add(&v->last_index, it->key.data, it->key.size);
		if (err)
			return err;
	}
	if (it->err && it->err != -EUCLEAN)
		return it->err;
	if (it->err)
		table_verify_damage_block(v, index_offset, (struct lsm_slice){0},
					  v->index_cursor.reason);
	else if (end != data_end)
		table_verify_damage_table(v, index_offset,
					  "index does not reach the end of the data");
	return 0;
}

/* ---- the rest ---- */

/*
 * Open the file and decode the footer. `*readable` is false if damage, which was named, leaves
 * nothing to read. 0; an error of the device.
 */
static int table_verify_open(struct verify *v, struct storage *st, bool *readable)
{
	uint8_t footer[TABLE_FOOTER_BYTES];
	uint64_t size, allocated, offset;
	const char *reason;
	int err = storage_open_file(st, v->name, STORAGE_READ, &v->file);

	*readable = false;
	if (err == -ENOENT) {
		table_verify_damage_table(v, 0, "file is missing");
		return 0;
	}
	if (!err)
		err = st->ops->size(v->file, &size, &allocated);
	if (err)
		return err;
	if (size != v->bytes)
		table_verify_damage_table(v, size < v->bytes ? size : v->bytes,
					  size < v->bytes ? "file is shorter than it should be" :
							    "file is longer than it should be");
	if (size < v->bytes)
		return 0;
	if (v->bytes < sizeof(footer)) {
		table_verify_damage_table(v, 0, "file is too short for a table");
		return 0;
	}
	offset = v->bytes - sizeof(footer);
	if (storage_pread_full(v->file, footer, sizeof(footer), offset)) {
		table_verify_damage_table(v, offset, "footer cannot be read");
		return 0;
	}
	if (table_footer_decode(footer, v->number, offset, &v->footer, &reason)) {
		table_verify_damage_table(v, offset, reason);
		return 0;
	}
	*readable = true;
	return 0;
}

/* Load the index, and verify the data blocks through it. 0; an error. */
static int table_verify_index(struct verify *v)
{
	const char *reason;
	int err = table_verify_load(v, v->footer.index, &v->index, &reason);

	if (err)
		return err;
	if (!v->index || block_check(table_verify_slice(v->index), &reason)) {
		table_verify_damage_table(v, v->footer.index.offset, reason);
		return 0;
	}
	return table_verify_data(v);
}

static int table_verify_filter(struct verify *v)
{
	const char *reason;
	int err;

	if (!v->footer.filter.size)
		return 0;
	err = table_verify_load(v, v->footer.filter, &v->filter, &reason);
	if (!err && !v->filter)
		table_verify_damage_table(v, v->footer.filter.offset, reason);
	return err;
}

static int table_verify_ranges(struct verify *v)
{
	uint64_t count = 0, offset = v->footer.ranges.offset;
	const uint8_t *p = NULL, *limit = NULL;
	struct table_block *b = NULL;
	const char *reason = NULL;
	int err = 0;

	if (v->footer.ranges.size) {
		err = table_verify_load(v, v->footer.ranges, &b, &reason);
		if (err)
			return err;
		if (!b) {
			table_verify_damage_table(v, offset, reason);
			return 0;
		}
		p = b->data;
		limit = p + b->size;
	}
	while (p < limit) {
		struct lsm_slice start, end;
		uint64_t sequence;

		p = table_range_decode(p, limit, &sequence, &start, &end);
		if (!p)
			reason = "range tombstone is malformed";
		else if (!table_verify_within(v, start) || !table_verify_within(v, end))
			reason = "range tombstone is outside the bounds of the table";
		if (!p)
			break;
		count++;
	}
	if (!reason && count != v->footer.range_tombstones)
		reason = "footer counts other range tombstones";
	if (reason)
		table_verify_damage_table(v, offset, reason);
	free(b);
	return 0;
}

/* Compare what was counted with the footer. Only for a table without damage so far. */
static void table_verify_counts(struct verify *v)
{
	uint64_t offset = v->bytes - TABLE_FOOTER_BYTES;

	if (v->blocks != v->footer.blocks)
		table_verify_damage_table(v, offset, "footer counts other blocks");
	if (v->entries != v->footer.entries || v->tombstones != v->footer.tombstones)
		table_verify_damage_table(v, offset, "footer counts other entries");
}

int table_verify(struct table_env *env, uint64_t number, uint64_t bytes, struct lsm_slice smallest,
		 struct lsm_slice largest, lsm_damage_fn *damage, void *damage_ctx,
		 table_entry_fn *entry, void *entry_ctx)
{
	struct verify v = {
		.number = number,
		.bytes = bytes,
		.smallest = smallest,
		.largest = largest,
		.damage = damage,
		.damage_ctx = damage_ctx,
		.entry = entry,
		.entry_ctx = entry_ctx,
	};
	bool readable;
	int err;

	assert(damage);
	table_name(v.name, number);
	block_cursor_init(&v.index_cursor);
	block_cursor_init(&v.data_cursor);
	err = table_verify_open(&v, env->st, &readable);
	if (!err && readable)
		err = table_verify_ranges(&v);
	if (!err && readable)
		err = table_verify_filter(&v);
	if (!err && readable)
		err = table_verify_index(&v);
	if (!err && !v.damaged && !v.stop)
		table_verify_counts(&v);
	(void)storage_close(v.file); /* only read from */
	free(v.index);
	free(v.filter);
	block_cursor_release(&v.index_cursor);
	block_cursor_release(&v.data_cursor);
	buf_release(&v.last_index);
	buf_release(&v.last_key);
	if (err || v.stop)
		return err ? err : v.stop;
	return v.damaged;
}
