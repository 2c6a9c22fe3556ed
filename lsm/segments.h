/*
 * segments.h - the segment files of a tree: which there are, what needs them,
 * and where the next value goes.
 *
 * A table that refers to a segment holds a reference to it. So do a memtable that refers to it,
 * and a writer that has reserved room in it. A full ("sealed") segment is deleted when it loses
 * its last reference.
 *
 * Every call may be made by any thread, unless its comment says "at open": then no other
 * thread uses the segments yet.
 */
#ifndef LSM_SEGMENTS_H
#define LSM_SEGMENTS_H

#include "lsm/segment.h"

struct segments;
struct segment;

/*
 * Make a new segment: choose its number, make its empty file, and record the number. 0 only
 * when both are durable. Called by a writer that needs room, with no lock of the caller's.
 */
typedef int segments_new_fn(void *ctx, uint64_t *number);

/*
 * An empty set. `segment_bytes` is the size at which a segment is sealed. `fn` is called with
 * `ctx` for each new one. `st` and `report` must outlive the set. NULL: no memory.
 */
struct segments *segments_new(struct storage *st, const struct report *report,
			      uint64_t segment_bytes, segments_new_fn *fn, void *ctx);
void segments_free(struct segments *s); /* NULL is fine; deletes no file */

enum segments_added {
	SEGMENTS_ADDED,
	SEGMENTS_ADDED_MISSING, /* its file is missing: reading a value of it is damage */
	SEGMENTS_ADDED_BEFORE,  /* there was one of this number; nothing changed */
};
/* At open: add a segment that the manifest names. 0 with `*added`; an error of the storage. */
int segments_add(struct segments *s, uint64_t number, enum segments_added *added);
/* At open, when the references of all tables and logs are taken: delete segments without one. */
void segments_drop_unused(struct segments *s);

/* Take a reference to segment `number`. NULL: there is none. */
struct segment *segments_get(struct segments *s, uint64_t number);
/* Drop a reference. The file is deleted with the last one of a sealed segment. NULL is fine. */
void segment_ref_drop(struct segments *s, struct segment *g);
uint64_t segment_number(const struct segment *g);

/* Values written together, one after the other, each at a multiple of SEGMENT_CHUNK. */
struct segment_write {
	struct lsm_slice data;
	uint64_t offset; /* out */
};
/*
 * Write `count` values to the newest segment, or to a new one.
 *
 * `*out` is the segment that has them all, with a reference for the caller; each offset is set.
 * Returns 0; -ENOSPC; another error of the storage, or of segments_new_fn.
 * After an error nothing refers to the bytes that were written.
 * Durability: after the next segments_sync().
 */
int segments_write(struct segments *s, struct segment_write *writes, size_t count,
		   struct segment **out);

/*
 * Write no more to the newest segment: the next value starts another one, and this one is
 * deleted with its last reference. `number`: only if the newest is that one; 0: any.
 */
void segments_seal(struct segments *s, uint64_t number);

/* Make every value written before the call durable. An error is final: see storage.h on sync. */
int segments_sync(struct segments *s);

/*
 * Read [offset, offset + size) of the value that `ref` refers to into `buf`.
 * Returns 0; -EINVAL outside of the value; -EUCLEAN if the bytes are wrong or their segment is
 * missing; an error of the storage.
 */
int segments_read(struct segments *s, const struct segment_ref *ref, uint32_t offset, void *buf,
		  uint32_t size);

/*
 * At open: whether the value can be read whole. Returns as segments_read(), but -EUCLEAN is
 * not reported. `scratch` is overwritten.
 * With `rewrite` the bytes that were read are written again in their place. If a sync failed
 * before, bytes in the page cache may read back and yet never be written to the disk; the
 * rewrite makes them dirty again, so that the next sync writes them.
 */
int segments_probe(struct segments *s, const struct segment_ref *ref, struct buf *scratch,
		   bool rewrite);

struct segment_info {
	uint64_t number, size, allocated;
	uint64_t live; /* 0: only a version knows the bytes that are referred to */
	int refs;
	bool sealed;
	bool stuck; /* a value in it cannot be read, so its values are never moved away */
	/* gc's mark: the live bytes when holes were last punched; UINT64_MAX: never */
	uint64_t punched_at_live;
};
/* All segments, ascending by number. The caller frees `*out`. 0; -ENOMEM. */
int segments_list(struct segments *s, struct segment_info **out, size_t *count);
/* Set the fields `punched_at_live` and `stuck` of a segment, if it is still there. */
void segments_set_mark(struct segments *s, uint64_t number, uint64_t live);
void segments_set_stuck(struct segments *s, uint64_t number);
/* Punch a hole, as storage_ops.punch does. 0 also when the segment is gone. */
int segments_punch(struct segments *s, uint64_t number, uint64_t offset, uint64_t size);
/* Close files that are not in use, when descriptors are short. Returns how many were closed. */
size_t segments_close_idle(struct segments *s);
/* How many there are, the bytes they occupy on disk, and the bytes written since the open. */
void segments_stats(struct segments *s, uint64_t *count, uint64_t *bytes, uint64_t *written);
/* The numbers deleted since the last call, to be dropped from the manifest. The caller frees. */
void segments_take_deleted(struct segments *s, uint64_t **numbers, size_t *count);
/*
 * While `hold` is set, the files of dead segments are kept, because it is in doubt which
 * manifest is current. Clearing it deletes them.
 */
void segments_hold_deletes(struct segments *s, bool hold);

#endif
