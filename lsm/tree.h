/*
 * tree.h - the open tree: what the files of lsm/ that act on all of it share.
 * The lock order and the life of the parts are at the top of lsm.c.
 */
#ifndef LSM_TREE_H
#define LSM_TREE_H

#include <stdatomic.h>

#include "lsm/table/cache.h"
#include "lsm/base/lock.h"
#include "lsm/lsm.h"
#include "lsm/manifest.h"
#include "lsm/memtable.h"
#include "lsm/base/report.h"
#include "lsm/segments.h"
#include "lsm/storage/storage.h"
#include "lsm/table/table.h"
#include "lsm/version.h"
#include "lsm/wal.h"

/*
 * With so many tombstones waiting a memtable is flushed soon, so that the space of what
 * they delete comes back within seconds. A range tombstone counts as so many.
 */
#define TOMBSTONES_MANY 1000

#define LOG_NAME_BYTES 32
void log_name(char *name, uint64_t number); /* "%06llu.log" */

/* A memtable, the log that holds the same, and the segments its entries refer to. */
struct memlog {
	atomic_int refs;
	struct memtable *mem;
	struct wal *log; /* NULL for one read back at open */
	uint64_t log_number;
	uint64_t log_reserved;
	uint64_t sequence_first; /* of its entries; 0: none yet; the leader's */
	atomic_uint_fast64_t sequence_last;
	atomic_uint_fast64_t segment_bytes; /* that its entries refer to, as segment_use counts */
	uint64_t created_s;
	bool log_synced;           /* wholly, and closed for writing; guarded by sync_mu */
	struct segment **segments; /* pinned; only the leading writer adds */
	size_t segments_count, segments_room;
	struct segments *owner;
};
struct memlog *memlog_new(struct segments *owner);
void memlog_ref(struct memlog *r);
void memlog_unref(struct memlog *r);
int memlog_pin_segment(struct memlog *r,
		       struct segment *s); /* once each; takes its own reference */

/* What a reader pins: all sources of data, newest first. Immutable but for the newest memtable. */
struct view {
	atomic_int refs;
	atomic_int *alive;       /* counts the tree's views */
	struct memlog **memlogs; /* [0] takes writes; the others wait to be flushed */
	size_t memlogs_count;
	struct version *version;
};
void view_unref(struct view *s); /* NULL is fine */

struct lsm {
	/* constant after open */
	struct lsm_options opt; /* every default filled in */
	struct storage *st;
	bool st_owned, locked;
	bool closing; /* the end: no thread and no reader is left */
	struct report report;
	struct cache *cache;
	struct table_env env;
	struct segments *segments;
	struct repair *repair; /* NULL but between lsm_repair_open() and closing */

	/* The current view. Readers take view_mu for a moment; it is changed under mu too. */
	struct mutex view_mu;
	struct view *view;
	atomic_int views_alive;

	/* mu: the shape of the tree */
	struct mutex mu;
	pthread_cond_t work;    /* for the background threads */
	pthread_cond_t tick;    /* only to stop the committer */
	pthread_cond_t changed; /* something finished: for who waits for room or for a flush */
	uint64_t next_file;
	uint64_t log_number; /* the oldest log needed */
	uint64_t sequence_flushed;
	struct lsm_snapshot *snapshots; /* ascending by sequence */
	struct buf cursor[LSM_LEVELS];
	uint64_t spare_log; /* number of an old log to be recycled; 0: none */
	bool stop;
	size_t tombstones_pending;      /* in the newest memtable, waiting to be pushed down */
	int flush_error, compact_error; /* of the last one; 0 once one succeeds */
	atomic_bool no_space;           /* something met a full disk; changed under `mu` */
	bool l0_stuck;                  /* damage keeps level 0 from being compacted */

	/* manifest_mu: one edit at a time; taken before mu */
	struct mutex manifest_mu;
	struct manifest *manifest;
	bool manifest_broken;
	uint64_t *recorded; /* segments that the manifest names */
	size_t recorded_count;

	/* dead_mu: files to be unlinked; a leaf: tables die wherever their last reader ends */
	struct mutex dead_mu;
	struct dead_file *dead;
	size_t dead_count, dead_room;

	/* compact_mu: one compaction at a time; taken before manifest_mu */
	struct mutex compact_mu;

	/* write_mu: the queue of writers; its head leads */
	struct mutex write_mu;
	struct writer *writers, **writers_tail;
	struct memlog *newest; /* the current view's first; the leading writer's alone */

	/* sync_mu: one sync at a time; waiters share it */
	struct mutex sync_mu;
	pthread_cond_t sync_done;
	bool syncing;

	atomic_uint_fast64_t sequence;        /* published */
	atomic_uint_fast64_t sequence_synced; /* durable */
	atomic_bool dir_dirty;                /* a log was created or renamed and not dir-synced */
	atomic_bool stopping;                 /* closing: compactions give up */
	atomic_int failed; /* read-only since: the errno of the failed log write */

	bool reserve_there; /* all of the RESERVE file; guarded by mu */

	pthread_t flusher, compactor, committer;
	bool threads_started;

	/* statistics */
	atomic_uint_fast64_t user_bytes, log_bytes, table_bytes, flushes, compactions, moves,
		slowdowns, stops;
};

struct lsm_snapshot {
	uint64_t sequence;
	struct lsm_snapshot *prev, *next;
};

static inline uint64_t tree_sequence(const struct lsm *lsm)
{
	return atomic_load_explicit(&lsm->sequence, memory_order_acquire);
}

/* ---- lsm.c ---- */
struct view *view_current(struct lsm *lsm); /* the current view, with a reference */
/*
 * Make a new view of the memlogs and the version, current from now; `mu` held. The
 * caller unrefs `*old` once it has let go of `mu`.
 */
int view_install(struct lsm *lsm, struct memlog *const *memlogs, size_t memlogs_count,
		 struct version *version, struct view **old);
uint64_t tree_new_file(struct lsm *lsm); /* takes mu */
/* The snapshots' sequences, ascending, and their count; `*out` is the caller's to free. */
int tree_snapshots(struct lsm *lsm, uint64_t **out, size_t *count);
uint64_t tree_now_s(void);
/* The value of an entry found: copies it, reading the segment for a reference. */
int tree_value(struct lsm *lsm, enum ikey_type type, struct lsm_slice stored,
	       struct lsm_value *value);
/* A log or table write failed for good: the tree is read-only from now. Returns err. */
int tree_fail(struct lsm *lsm, int err, const char *what);
/* Make all values in segments durable. A failure is final: the tree is read-only then. */
int tree_sync_segments(struct lsm *lsm);
/* The sequence of the newest entry of `key`, a tombstone too. 0; 1 absent; error. */
int tree_newest(struct lsm *lsm, struct lsm_slice key, uint64_t *sequence);
/* lsm_open(), or with `repair`, which is then the tree's, lsm_repair_open(). */
int tree_open(const char *path, const struct lsm_options *options, struct repair *repair,
	      struct lsm **out);
/* Stop the threads and make everything durable, in tables if `flush`. Then only tree_free(). */
int tree_settle(struct lsm *lsm, bool flush);
void tree_free(struct lsm *lsm);

/* ---- write.c ---- */
int memlog_create(struct lsm *lsm, struct memlog **fresh); /* a new memlog with its log */
/* Keep the segment that an encoded reference names while the memlog is there. */
int memlog_pin_refs(struct lsm *lsm, struct memlog *memlog, struct lsm_slice bytes);
/* Move what is in the newest memtable to the queue for flushing, if it is not empty. */
int write_rotate(struct lsm *lsm);

/* ---- sync.c ---- */
int sync_up_to(struct lsm *lsm, uint64_t sequence);

/* ---- background.c ---- */
int background_start(struct lsm *lsm);
void background_stop(struct lsm *lsm);
enum file_kind { FILE_TABLE, FILE_LOG, FILE_MANIFEST };
struct dead_file {
	enum file_kind kind;
	uint64_t number;
};
/* A file that nothing needs; background_purge() unlinks it, unless the manifest is in doubt. */
void background_dead_file(struct lsm *lsm, enum file_kind kind, uint64_t number);
void background_purge(struct lsm *lsm);
/* Record a new segment in the manifest: the segments_new_fn of a tree. */
int background_new_segment(void *ctx, uint64_t *number);
/* Record segments that are gone; makes a new manifest if the old one is broken or long. */
int background_tidy_manifest(struct lsm *lsm);
/*
 * At the end: a new manifest of one edit, of which no part can be lost unnoticed (the
 * last of several edits could be, as if it had been torn in a crash).
 */
int background_close_manifest(struct lsm *lsm);
/*
 * Log an edit and make its result current, without the memlog `flushed` (may be NULL).
 * The files it adds are synced. Takes manifest_mu, then mu. After an error nothing
 * has changed, and no file is deleted until a new manifest was written.
 */
int background_apply(struct lsm *lsm, struct version_edit *e, struct memlog *flushed);
int background_flush_one(struct lsm *lsm, bool *did); /* the oldest waiting memlog, if any */
/* The disk is full: refuse what does not free anything, and look for space to give back. */
void background_note_full(struct lsm *lsm);
/* Keep some disk space aside, so that deleting works on a full disk; with it there is room. */
void background_reserve(struct lsm *lsm);
bool background_reserve_drop(struct lsm *lsm);

/* ---- recover.c ---- */
/* Before anything is touched, the lock file included: is this a store, or may it become one? */
int recover_probe(struct lsm *lsm);
int recover(struct lsm *lsm);

/* ---- repair.c ---- */
struct repair;
void repair_free(struct repair *r); /* NULL is fine */
/* What cannot be read, told to whom the repair is made for. */
void repair_tell(struct repair *r, const char *file, uint64_t offset, const char *reason);
bool repair_without_manifest(const struct repair *r); /* as if there were none */
/*
 * Replace the damaged tables of `s` by what can be read of them; with `list`, which has
 * `count` numbers, `s` has none, and all of these are read.
 */
int repair_tables(struct lsm *lsm, struct manifest_state *s, const uint64_t *list, size_t count);

/* ---- verify.c ---- */
/*
 * Is what the manifest says of a table so? Which segments a table refers to keeps them
 * from being deleted (gc.c), its highest sequence older versions from coming to light.
 */
struct meta_check {
	const struct table_meta *t; /* NULL: nothing is compared */
	uint64_t *bytes;            /* of each of its uses, as the entries have it */
	const char *wrong;
};
int meta_check_begin(struct meta_check *m, const struct table_meta *t); /* 0 or -ENOMEM */
void meta_check_entry(struct meta_check *m, struct lsm_slice ikey, struct lsm_slice value);
/* What is wrong, or NULL; `whole`: it was given every entry. */
const char *meta_check_end(struct meta_check *m, bool whole);

/* ---- compact.c ---- */
struct compact_job {
	struct lsm *lsm;
	struct version *version; /* of the inputs; NULL for a flush */
	unsigned output_level;
	struct iter *input;
	struct rangedel_list *ranges; /* finished; owned by the caller */
	const uint64_t *relocate;     /* segments to move values out of */
	size_t relocate_count;
	uint64_t created_s;
	bool cut;                  /* at table_bytes; a flush makes one table */
	struct version_edit *edit; /* gets the outputs */
	struct segment **pinned;   /* where relocated values went */
	size_t pinned_count;
};
/* Write the job's input to new tables, which the edit then adds. -ECANCELED: it is closing. */
int compact_write(struct compact_job *job);
int compact_pin(struct compact_job *job, struct segment *g); /* takes the reference over */
#define L0_STUCK_FACTOR 8u /* so many times l0_stop while damage keeps level 0 from compaction */
/* Remember, and tell once, that a table cannot be read whole. */
void compact_mark(struct lsm *lsm, struct table_meta *t);
/*
 * Carry out a pick of `v`, the current version. compact_mu held. -EUCLEAN: nothing
 * changed, and tables of it are marked as damaged, so that it is not picked again.
 */
int compact_pick(struct lsm *lsm, struct version *v, struct pick *p, const uint64_t *relocate,
		 size_t relocate_count);

/* ---- gc.c ---- */
/* Give back the space of dead parts of segments. `*did`: something was done. compact_mu held. */
int gc_step(struct lsm *lsm, bool *did);

/* Added to a tree: the table's references to segments become live; drops the file at its end. */
int tree_adopt_table(struct lsm *lsm, struct table_meta *t);

#endif
