/*
 * segments.h - the segment files of a tree: which there are, who needs them,
 * where the next value goes.
 *
 * A segment is needed by: tables that refer to it, memtables that do, and
 * writers that have reserved room in it: each holds a reference. When a full
 * ("sealed") segment loses its last one, its file is deleted.
 */
#ifndef LSM_SEGMENTS_H
#define LSM_SEGMENTS_H

#include "lsm/segment.h"

struct segments;
struct segment;

/*
 * Ask for a new segment: its number recorded, its empty file made, and both
 * durable before this returns 0.
 */
typedef int segments_new_fn(void *ctx, uint64_t *number);

struct segments *segments_new(struct storage *st, const struct report *report,
			      uint64_t segment_bytes, segments_new_fn *fn, void *ctx);
void segments_free(struct segments *s);

/* At open: a segment the manifest names. 1: its file is missing; -EUCLEAN: it was named before. */
int segments_add(struct segments *s, uint64_t number);
/* At open, when every table and log record has been counted: delete those nobody needs. */
void segments_drop_unused(struct segments *s);

struct segment *segments_get(struct segments *s, uint64_t number); /* + reference, or NULL */
void segment_ref_drop(struct segments *s, struct segment *g);
uint64_t segment_number(const struct segment *g);

/* Values written together, one after the other, each at a multiple of SEGMENT_CHUNK. */
struct segment_write {
	struct lsm_slice data;
	uint64_t offset; /* out */
};
/*
 * Write `count` values. `*out` is the segment they are in, with a reference.
 * Not synced. -ENOSPC and other errors: nothing refers to what was written.
 */
int segments_write(struct segments *s, struct segment_write *writes, size_t count,
		   struct segment **out);

/*
 * Write no more to the segment being written to: the next value starts another, and
 * this one goes with its last reference. `number`: only if it is that one; 0: whichever.
 */
void segments_seal(struct segments *s, uint64_t number);

/* Make every value written before the call durable. An error is final: see storage.h on sync. */
int segments_sync(struct segments *s);

/* Read part of a value that `ref` refers to; -EUCLEAN if its segment is not there. */
int segments_read(struct segments *s, const struct segment_ref *ref, uint32_t offset, void *buf,
		  uint32_t size);

/*
 * At open: whether the value is whole, as segments_read() of all of it, but
 * -EUCLEAN is not reported. With `rewrite` it is then written again where it is: if
 * a sync failed before, the bytes may read back and yet never reach the disk, unless
 * they are made dirty anew.
 */
int segments_probe(struct segments *s, const struct segment_ref *ref, struct buf *scratch,
		   bool rewrite);

/* What is there. `live` is left 0: only the version knows. */
struct segment_info {
	uint64_t number, size, allocated, live;
	int refs;
	bool sealed;
	bool stuck; /* a value in it cannot be read: it is never empty */
	/* gc's mark: the live bytes when holes were last punched; UINT64_MAX: never */
	uint64_t punched_at_live;
};
int segments_list(struct segments *s, struct segment_info **out, size_t *count);
void segments_set_mark(struct segments *s, uint64_t number, uint64_t live);
void segments_set_stuck(struct segments *s, uint64_t number);
int segments_punch(struct segments *s, uint64_t number, uint64_t offset, uint64_t size);
/* Close what files can be closed, when descriptors are short. Returns how many were. */
size_t segments_close_idle(struct segments *s);
void segments_stats(struct segments *s, uint64_t *count, uint64_t *bytes, uint64_t *written);
/* Segments deleted since the last call, to be dropped from the manifest; the caller frees. */
void segments_take_deleted(struct segments *s, uint64_t **numbers, size_t *count);
/* While set, files of dead segments are kept (the manifest is in doubt). */
void segments_hold_deletes(struct segments *s, bool hold);

#endif
