/*
 * batch.c - batches of operations and their log records; see batch.h.
 */
#include "lsm/batch.h"

#include <assert.h>
#include <stdlib.h>

#include "lsm/base/array.h"
#include "lsm/base/report.h"
#include "lsm/dbiter.h"
#include "lsm/segment.h"
#include "lsm/view.h"

struct lsm_batch *lsm_batch_new(void)
{
	return calloc(1, sizeof(struct lsm_batch));
}

void lsm_batch_clear(struct lsm_batch *b)
{
	for (size_t i = 0; i < b->pins_count; i++)
		view_unref(b->pins[i]);
	b->pins_count = 0;
	b->ops_count = 0;
	b->bytes.size = 0;
	b->user_bytes = 0;
	b->record.size = 0;
}

void lsm_batch_free(struct lsm_batch *b)
{
	if (!b)
		return;
	lsm_batch_clear(b);
	free(b->pins);
	free(b->ops);
	buf_release(&b->bytes);
	buf_release(&b->record);
	free(b);
}

size_t lsm_batch_count(const struct lsm_batch *b)
{
	return b->ops_count;
}

size_t lsm_batch_bytes(const struct lsm_batch *b)
{
	return b->user_bytes;
}

static int batch_add(struct lsm_batch *b, enum batch_kind kind, struct lsm_slice key,
		     struct lsm_slice value, bool borrow)
{
	size_t old_size = b->bytes.size;
	struct batch_op *op;

	if (!key.size || key.size > LSM_KEY_BYTES_MAX)
		return -EINVAL;
	if (value.size > LSM_VALUE_BYTES_MAX ||
	    b->user_bytes + key.size + value.size > LSM_BATCH_BYTES_MAX)
		return -EFBIG;
	if (array_reserve(b->ops, b->ops_room, b->ops_count + 1))
		return -ENOMEM;
	if (buf_add(&b->bytes, key.data, key.size) ||
	    (!borrow && buf_add(&b->bytes, value.data, value.size))) {
		b->bytes.size = old_size;
		return -ENOMEM;
	}
	op = &b->ops[b->ops_count++];
	*op = (struct batch_op){.kind = kind,
				.key_at = old_size,
				.key_size = key.size,
				.borrowed = borrow ? value.data : NULL,
				.value_at = old_size + key.size,
				.value_size = value.size};
	b->user_bytes += key.size + value.size;
	return 0;
}

int lsm_batch_put(struct lsm_batch *b, struct lsm_slice key, struct lsm_slice value)
{
	return batch_add(b, BATCH_PUT, key, value, false);
}

int lsm_batch_put_borrowed(struct lsm_batch *b, struct lsm_slice key, struct lsm_slice value)
{
	return batch_add(b, BATCH_PUT, key, value, value.data != NULL);
}

int lsm_batch_delete(struct lsm_batch *b, struct lsm_slice key)
{
	return batch_add(b, BATCH_DELETE, key, (struct lsm_slice){NULL, 0}, false);
}

int lsm_batch_delete_range(struct lsm_batch *b, struct lsm_slice start, struct lsm_slice end)
{
	if (end.size > LSM_KEY_BYTES_MAX || slice_compare(start, end) >= 0)
		return -EINVAL;
	return batch_add(b, BATCH_DELETE_RANGE, start, end, false);
}

static int batch_pin(struct lsm_batch *b, struct view *view)
{
	if (b->pins_count && b->pins[b->pins_count - 1] == view)
		return 0;
	if (array_reserve(b->pins, b->pins_room, b->pins_count + 1))
		return -ENOMEM;
	b->pins[b->pins_count++] = view;
	atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
	return 0;
}

int lsm_batch_put_slice(struct lsm_batch *b, struct lsm_slice key, const struct lsm_iter *it,
			size_t offset, size_t size)
{
	struct buf part = {0};
	struct segment_ref ref;
	struct lsm_slice stored;
	enum ikey_type type;
	struct view *view = dbiter_stored(it, &type, &stored);
	int err;

	if (type != IKEY_PUT_REF) {
		if (!size || offset > stored.size || size > stored.size - offset)
			return -EINVAL;
		return batch_add(b, BATCH_PUT, key,
				 (struct lsm_slice){(const uint8_t *)stored.data + offset, size},
				 false);
	}
	err = dbiter_reference(it, &ref);
	if (err)
		return err;
	if (!size || offset > ref.size || size > ref.size - offset)
		return -EINVAL;
	err = segment_ref_slice(&ref, (uint32_t)offset, (uint32_t)size, &part);
	if (!err)
		err = batch_pin(b, view);
	if (!err)
		err = batch_add(b, BATCH_SLICE, key, buf_slice(&part), false);
	buf_release(&part);
	return err;
}

int lsm_batch_put_lost(struct lsm_batch *b, struct lsm_slice key, size_t size)
{
	struct segment_ref ref = {.segment = SEGMENT_LOST, .stored = (uint32_t)size};
	struct buf bytes = {0};
	uint8_t *sums;
	int err;

	if (!size || size > LSM_VALUE_BYTES_MAX)
		return -EINVAL;
	ref.size = ref.stored;
	sums = calloc(segment_ref_chunks(&ref), 4);
	if (!sums)
		return -ENOMEM;
	ref.sums = sums;
	err = segment_ref_encode(&ref, &bytes);
	if (!err)
		err = batch_add(b, BATCH_SLICE, key, buf_slice(&bytes), false);
	free(sums);
	buf_release(&bytes);
	return err;
}

/* ---- the record ---- */

static struct lsm_slice batch_op_value(const struct lsm_batch *b, const struct batch_op *op)
{
	return (struct lsm_slice){op->borrowed ? op->borrowed : b->bytes.data + op->value_at,
				  op->value_size};
}

static bool batch_op_separate(const struct batch_op *op, size_t separate_min)
{
	return op->kind == BATCH_PUT && op->value_size >= separate_min;
}

/* Write the large values of `b` to a segment; `*writes` gets one element each, in order. */
static int batch_write_large(struct lsm_batch *b, struct segments *segments, size_t separate_min,
			     struct segment_write **writes)
{
	size_t count = 0;
	int err;

	*writes = NULL;
	for (size_t i = 0; i < b->ops_count; i++)
		count += batch_op_separate(&b->ops[i], separate_min);
	if (!count)
		return 0;
	*writes = calloc(count, sizeof(**writes));
	if (!*writes)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < b->ops_count; i++)
		if (batch_op_separate(&b->ops[i], separate_min))
			(*writes)[count++].data = batch_op_value(b, &b->ops[i]);
	err = segments_write(segments, *writes, count, &b->segment);
	if (err) {
		free(*writes);
		*writes = NULL;
	}
	return err;
}

/* A varint size and the reference to `w`; `scratch` is for its parts. */
static int batch_add_ref(struct buf *record, uint64_t segment, const struct segment_write *w,
			 struct buf *scratch)
{
	size_t chunks = (w->data.size + SEGMENT_CHUNK - 1) / SEGMENT_CHUNK, sums_at;
	struct segment_ref ref = {.segment = segment,
				  .offset = w->offset,
				  .stored = (uint32_t)w->data.size,
				  .size = (uint32_t)w->data.size};

	scratch->size = 0;
	if (buf_reserve(scratch, chunks * 4))
		return -ENOMEM;
	segment_sums(segment, w->offset, w->data.data, w->data.size, scratch->data);
	scratch->size = chunks * 4;
	/* The encoded reference goes behind its sums in the same scratch buffer. */
	sums_at = scratch->size;
	if (buf_reserve(scratch, chunks * 4 + 64))
		return -ENOMEM;
	ref.sums = scratch->data;
	if (segment_ref_encode(&ref, scratch))
		return -ENOMEM;
	return buf_add_bytes(record,
			     (struct lsm_slice){scratch->data + sums_at, scratch->size - sums_at});
}

int batch_encode(struct lsm_batch *b, struct segments *segments, size_t separate_min)
{
	struct segment_write *writes;
	struct buf scratch = {0};
	size_t next = 0;
	int err;

	assert(!b->segment); /* the caller dropped that of the last record */
	err = batch_write_large(b, segments, separate_min, &writes);
	if (err)
		return err;
	b->record.size = 0;
	err = buf_reserve(&b->record, BATCH_HEADER_BYTES);
	if (!err) {
		memset(b->record.data, 0, BATCH_HEADER_BYTES);
		put_u32(b->record.data + 16, (uint32_t)b->ops_count);
		b->record.size = BATCH_HEADER_BYTES;
	}
	for (size_t i = 0; !err && i < b->ops_count; i++) {
		const struct batch_op *op = &b->ops[i];
		bool separate = writes && batch_op_separate(op, separate_min);
		uint8_t kind = separate ? BATCH_REF : (uint8_t)op->kind;

		err = buf_add(&b->record, &kind, 1);
		if (!err)
			err = buf_add_bytes(
				&b->record,
				(struct lsm_slice){b->bytes.data + op->key_at, op->key_size});
		if (err)
			break;
		err = separate ? batch_add_ref(&b->record, segment_number(b->segment),
					       &writes[next++], &scratch) :
				 buf_add_bytes(&b->record, batch_op_value(b, op));
	}
	free(writes);
	buf_release(&scratch);
	if (err && b->segment) {
		segment_ref_drop(segments, b->segment);
		b->segment = NULL;
	}
	return err;
}

void batch_set_sequences(struct lsm_batch *b, uint64_t first, uint64_t synced)
{
	assert(b->record.size >= BATCH_HEADER_BYTES && first && synced < first);
	put_u64(b->record.data, first);
	put_u64(b->record.data + 8, synced);
}

/* Malformed records become an error here. */
static int batch_malformed(struct batch_reader *r, const char *reason)
{
	return report_malformed(&r->reason, reason);
}

int batch_read(struct lsm_slice record, struct batch_reader *r)
{
	*r = (struct batch_reader){0};
	if (record.size < BATCH_HEADER_BYTES)
		return batch_malformed(r, "record is shorter than its header");
	r->p = record.data;
	r->end = r->p + record.size;
	r->sequence = get_u64(r->p);
	r->synced = get_u64(r->p + 8);
	r->left = get_u32(r->p + 16);
	r->p += BATCH_HEADER_BYTES;
	if (!r->sequence || r->synced >= r->sequence || r->sequence > SEQUENCE_MAX - r->left)
		return batch_malformed(r, "impossible sequences in a record");
	return 0;
}

int batch_next(struct batch_reader *r, struct batch_entry *e)
{
	const uint8_t *data;
	size_t size;

	*e = (struct batch_entry){0};
	if (!r->left)
		return r->p == r->end ? BATCH_END :
					batch_malformed(r, "bytes behind the last operation");
	if (r->p == r->end || *r->p > BATCH_DELETE_RANGE)
		return batch_malformed(r, "no such kind of operation");
	e->kind = (enum batch_kind) * r->p++;
	r->p = get_bytes(r->p, r->end, &data, &size);
	if (!r->p || !size || size > LSM_KEY_BYTES_MAX)
		return batch_malformed(r, "malformed key in an operation");
	e->key = (struct lsm_slice){data, size};
	r->p = get_bytes(r->p, r->end, &data, &size);
	if (!r->p || (e->kind == BATCH_DELETE_RANGE && size > LSM_KEY_BYTES_MAX))
		return batch_malformed(r, "malformed value in an operation");
	e->value = (struct lsm_slice){data, size};
	if (e->kind == BATCH_DELETE_RANGE && slice_compare(e->key, e->value) >= 0)
		return batch_malformed(r, "a deleted range ends before it starts");
	e->sequence = r->sequence++;
	r->left--;
	return 0;
}
