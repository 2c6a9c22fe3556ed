/*
 * version.h - which tables make up the tree at one moment.
 *
 * A version is immutable. A reader pins one. Flush and compaction make the next one
 * from it with an edit. A table_meta is shared by all versions that have its
 * table. When the last of them is freed, the file may be deleted, and the segments that
 * the table refers to lose a reference.
 *
 * Level 0 is ordered newest first and its tables may overlap. The tables of
 * every deeper level are ordered by key and disjoint.
 */
#ifndef LSM_VERSION_H
#define LSM_VERSION_H

#include <stdatomic.h>

#include "lsm/base/buf.h"
#include "lsm/base/ikey.h"

struct segment;

/* A segment that a table refers to. Bytes that several entries refer to count several times. */
struct segment_use {
	uint64_t number;
	uint64_t bytes;
	struct segment *segment; /* with a reference, once the table is in a tree; else NULL */
};

struct table_meta {
	atomic_int refs;
	uint64_t number, bytes;
	uint64_t entries, tombstones, ranges;
	uint64_t sequence_max;
	uint64_t created_s;        /* when its oldest input was written, seconds since 1970 */
	struct lsm_slice smallest; /* user keys; owned */
	struct lsm_slice largest;
	bool largest_excluded;    /* the largest key is the end of a range tombstone */
	atomic_bool damaged;      /* it cannot be read whole, so no pick takes it (see compact.c) */
	struct segment_use *uses; /* ordered by number */
	size_t uses_count;
	/* Called when the last reference is dropped, before this is freed. May be NULL. */
	void (*released)(void *ctx, struct table_meta *t);
	void *released_ctx;
};

/* With one reference; keys and uses are copied. NULL: no memory. */
struct table_meta *table_meta_new(struct lsm_slice smallest, struct lsm_slice largest,
				  const struct segment_use *uses, size_t uses_count);
void table_meta_ref(struct table_meta *t);
void table_meta_unref(struct table_meta *t); /* NULL is fine */
uint64_t table_meta_segment_bytes(const struct table_meta *t);

struct level {
	struct table_meta **tables;
	size_t count;
	uint64_t bytes, segment_bytes;
};

struct version {
	atomic_int refs;
	struct level level[LSM_LEVELS];
};

struct version_change {
	unsigned level;
	struct table_meta *table;
};

/*
 * The changes of one flush or compaction. It starts as {0}, and has a reference to each table that
 * it adds or deletes. The calls that add to it return 0 or -ENOMEM.
 */
struct version_edit {
	struct version_change *adds, *deletes;
	size_t adds_count, adds_room, deletes_count, deletes_room;
	uint64_t *new_segments, *dead_segments;
	size_t new_segments_count, new_segments_room;
	size_t dead_segments_count, dead_segments_room;
	bool has_log;
	uint64_t log_number;       /* logs below it are not needed */
	uint64_t sequence_flushed; /* with has_log: everything up to it is in tables */
};
void version_edit_release(struct version_edit *e);
int version_edit_add(struct version_edit *e, unsigned level, struct table_meta *t);
int version_edit_delete(struct version_edit *e, unsigned level, struct table_meta *t);
int version_edit_segment(struct version_edit *e, uint64_t number, bool dead);

struct version *version_new(void); /* an empty one, with one reference; NULL: no memory */
/*
 * Make `*out`, with one reference: `base` with `e` applied.
 * 0; -ENOMEM; -EUCLEAN (not reported), with the reason, if the result breaks an invariant.
 */
int version_apply(const struct version *base, const struct version_edit *e, struct version **out,
		  const char **reason);
void version_ref(struct version *v);
void version_unref(struct version *v); /* NULL is fine */

/* < 0, 0 or > 0: the user key is before, in or behind the range of the table. */
int table_meta_compare(const struct table_meta *t, struct lsm_slice key);
/* A range of user keys. `end` is in it unless end_excluded. Size 0: no bound on that side. */
struct key_range {
	struct lsm_slice start, end;
	bool end_excluded;
};
bool table_meta_overlaps(const struct table_meta *t, const struct key_range *r);
/* Widen `r`, which came from key_range_of(), to hold the range of `t` too. */
void key_range_add(struct key_range *r, const struct table_meta *t);
struct key_range key_range_of(const struct table_meta *t);

/* Index of the first table of level > 0 whose end is not before `key`; count if none. */
size_t version_find(const struct version *v, unsigned level, struct lsm_slice key);
/* The same among `count` tables in the order of such a level. */
size_t tables_find(struct table_meta *const *tables, size_t count, struct lsm_slice key);
bool version_overlaps(const struct version *v, unsigned level, const struct key_range *r);
unsigned version_deepest(const struct version *v); /* deepest level with tables; 0 if none */

/* ---- what to compact next: a pure function, so that tests can drive it ---- */

struct pick_options {
	uint64_t level1_bytes;   /* target of level 1; each deeper one is 10 times as large */
	uint64_t segment_factor; /* a level may hold this times its target in separated bytes */
	uint64_t table_bytes;
	unsigned l0_compact;
	uint64_t now_s, tombstone_age_s; /* a tombstone older than this is pushed down */
	uint64_t tombstones_min;         /* and a table of at least these, if mostly tombstones */
	uint64_t oldest_snapshot;        /* SEQUENCE_MAX if none */
	struct lsm_slice
		cursor[LSM_LEVELS]; /* where the last pick of each level ended; size 0: start */
};

enum pick_reason {
	PICK_NONE,
	PICK_L0,
	PICK_SIZE,
	PICK_SEGMENT_BYTES,
	PICK_RANGES,
	PICK_TOMBSTONES,
	PICK_MANUAL
};

struct pick {
	enum pick_reason reason;
	unsigned level, output;     /* equal: rewrite in place */
	struct table_meta **inputs; /* of `level`; borrowed from the version */
	size_t inputs_count;
	struct table_meta **below; /* overlapping ones of `output`, if another level */
	size_t below_count;
	struct key_range range;
	double score;
	bool l0_stuck; /* level 0 is due, but has a damaged table. Set also with PICK_NONE */
};
/*
 * Choose the next compaction. p->reason is PICK_NONE if there is nothing to do. A pick with a
 * damaged table among its tables is passed over. 0; -ENOMEM. Release it with pick_release().
 */
int version_pick(const struct version *v, const struct pick_options *o, struct pick *p);
/* A pick of `count` given tables of `level` (level 0: extended to all of it). */
int version_pick_tables(const struct version *v, unsigned level, unsigned output,
			struct table_meta *const *tables, size_t count, struct pick *p);
void pick_release(struct pick *p);
bool pick_damaged(const struct pick *p); /* one of its tables is */

/* Whether any version of a key in the range may be in a level below `level`. */
bool version_has_below(const struct version *v, unsigned level, const struct key_range *r);

/* Whether all invariants hold; `*why` names the first that does not. */
bool version_valid(const struct version *v, const char **why);

#endif
