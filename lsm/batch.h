/*
 * batch.h - a batch, and the log record made of it.
 *
 * A batch collects operations; lsm_write() turns it into one record:
 *
 *   u64 LE first sequence | u64 LE synced sequence | u32 LE count | operations
 *   operation = u8 kind | varint key size | key | varint value size | value
 *
 * Operation i of the record has sequence first + i. "synced" is a sequence that
 * was durable when the record was written: recovery learns from it how far the
 * log must reach. Kinds are BATCH_*; a range delete's value is its end key; a
 * REF's value is a reference to a segment written for this batch, a SLICE's one
 * to bytes that were there before. Example: put "k" = "v" as sequence 5 when 2
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
	struct view **pins; /* what slices refer to stays alive with them */
	size_t pins_count;
	struct buf record;       /* made by batch_encode */
	struct segment *segment; /* where batch_encode put the large values; a reference */
};

/*
 * Make the log record, writing values of `separate_min` bytes or more to a
 * segment first. The sequences in its header are filled in later.
 */
int batch_encode(struct lsm_batch *b, struct segments *segments, size_t separate_min);
void batch_set_sequences(struct lsm_batch *b, uint64_t first, uint64_t synced);

/* ---- reading a record ---- */

struct batch_reader {
	const uint8_t *p, *end;
	uint64_t sequence; /* of the next operation */
	uint64_t synced;
	uint32_t left;
};
struct batch_entry {
	enum batch_kind kind;
	uint64_t sequence;
	struct lsm_slice key, value;
};
int batch_read(struct lsm_slice record, struct batch_reader *r); /* 0 or -EUCLEAN */
int batch_next(struct batch_reader *r, struct batch_entry *e);   /* 0; 1 at the end; -EUCLEAN */

#endif
