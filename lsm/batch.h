/*
 * batch.h - a batch, and the log record made of it.
 *
 * A batch collects operations; lsm_write() turns it into one record:
 *
 *   u64 LE first sequence | u64 LE synced sequence | u32 LE count | operations
 *   operation = u8 kind | varint key size | key | varint value size | value
 *
 * Operation i of the record has sequence first + i. "synced" is a sequence that
 * was durable when the record was written; recovery learns from it how far the
 * log must reach. Kinds are BATCH_*. The value of a range delete is its end key. The value of
 * a REF is a reference to bytes that were written to a segment for this batch, that of a
 * SLICE a reference to older bytes. Example: put "k" = "v" as sequence 5 when 2
 * is durable:
 *   05 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00  01 00 00 00  01 01 6b 01 76
 */
#ifndef LSM_BATCH_H
#define LSM_BATCH_H

#include "lsm/base/buf.h"
#include "lsm/base/ikey.h"
#include "lsm/segments.h"

#define BATCH_HEADER_BYTES 20

enum batch_kind {
	BATCH_DELETE = 0,
	BATCH_PUT = 1,
	BATCH_REF = 2,
	BATCH_SLICE = 3,
	BATCH_DELETE_RANGE = 4
};

struct view;

struct batch_op {
	enum batch_kind kind;
	size_t key_at, key_size;
	const void *borrowed; /* NULL: the value is in `bytes` */
	size_t value_at, value_size;
};

struct lsm_batch {
	struct batch_op *ops;
	size_t ops_count, ops_room;
	struct buf bytes; /* keys and copied values */
	size_t user_bytes;
	struct view **pins; /* they keep alive the segments that slices refer to */
	size_t pins_count, pins_room;
	struct buf record;       /* made by batch_encode */
	struct segment *segment; /* where batch_encode put the large values; a reference */
};

/*
 * Make the log record in b->record. Values of `separate_min` bytes or more are written to a
 * segment first; then b->segment is a reference to it, which the caller drops.
 * Returns 0; -ENOMEM; an error of segments_write(). After an error b->segment is NULL.
 */
int batch_encode(struct lsm_batch *b, struct segments *segments, size_t separate_min);
/* Fill in the sequences in the header of the record. */
void batch_set_sequences(struct lsm_batch *b, uint64_t first, uint64_t synced);

/* ---- reading a record ---- */

struct batch_reader {
	const uint8_t *p, *end;
	uint64_t sequence; /* of the next operation */
	uint64_t synced;
	uint32_t left;
	const char *reason; /* after -EUCLEAN: what is wrong, in words */
};
struct batch_entry {
	enum batch_kind kind;
	uint64_t sequence;
	struct lsm_slice key, value;
};
/* What batch_next() returns behind the last operation. */
enum { BATCH_END = 1 };

/* Begin to read a record, which must stay. 0; -EUCLEAN (not reported), with r->reason. */
int batch_read(struct lsm_slice record, struct batch_reader *r);
/* The next operation, pointing into the record. 0; BATCH_END; -EUCLEAN as batch_read(). */
int batch_next(struct batch_reader *r, struct batch_entry *e);

#endif
