/*
 * tree.h - the open tree: what the files of lsm/ that act on all of it share.
 * The lock order and the life of the parts are at the top of lsm.c.
 */
#ifndef LSM_TREE_H
#define LSM_TREE_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "lsm/base/lock.h"
#include "lsm/base/report.h"
#include "lsm/lsm.h"
#include "lsm/manifest.h"
#include "lsm/segments.h"
#include "lsm/storage/storage.h"
#include "lsm/table/cache.h"
#include "lsm/table/table.h"
#include "lsm/version.h"

struct dead_file;
struct memlog;
struct repair;
struct view;
struct writer;

struct lsm {
	/* constant after open */
	struct lsm_options opt; /* every default filled in */
	struct storage *st;
	bool st_owned, locked;
	bool closing; /* being freed: no thread and no reader is left */
	struct report report;
	struct cache *cache;
	struct table_env env;
	struct segments *segments;
	struct repair *repair; /* NULL unless lsm_repair_open() opened the tree */

	/* view_mu: the current view. Readers take it for a moment; writers of it hold mu too. */
	struct mutex view_mu;
	struct view *view;
	atomic_int views_alive;

	/* mu: the shape of the tree */
	struct mutex mu;
	pthread_cond_t work;    /* for the flusher and the compactor */
	pthread_cond_t tick;    /* wakes the committer when the tree is closed */
	pthread_cond_t changed; /* for threads that wait for room or for a flush */
	uint64_t next_file;
	uint64_t log_number; /* the oldest log needed */
	uint64_t sequence_flushed;
	TAILQ_HEAD(lsm_snapshots, lsm_snapshot) snapshots; /* ascending by sequence */
	struct buf cursor[LSM_LEVELS]; /* the key where the last compaction of each level ended */
	uint64_t spare_log;            /* number of an old log to be recycled; 0: none */
	bool stop;
	size_t tombstones_pending;      /* in the newest memtable, waiting to be pushed down */
	int flush_error, compact_error; /* of the last one; 0 once one succeeds */
	atomic_bool no_space;           /* the disk was found full; changed under mu */
	bool l0_stuck;                  /* damage keeps level 0 from being compacted */
	bool reserve_there;             /* the RESERVE file has its whole size */

	/* manifest_mu: one edit at a time; taken before mu */
	struct mutex manifest_mu;
	struct manifest *manifest;
	bool manifest_broken; /* its end is in doubt: the next edit starts a new one */
	uint64_t *recorded;   /* segments that the manifest names */
	size_t recorded_count, recorded_room;

	/* dead_mu: files to be unlinked; a leaf: tables die wherever their last reader ends */
	struct mutex dead_mu;
	struct dead_file *dead;
	size_t dead_count, dead_room;

	/* compact_mu: one compaction at a time; taken before manifest_mu */
	struct mutex compact_mu;

	/* write_mu: the queue of writers; its head leads */
	struct mutex write_mu;
	STAILQ_HEAD(writers, writer) writers;

	/* only the leading writer reads or changes it after open */
	struct memlog *newest; /* the first of the current view */

	/* sync_mu: one sync at a time; waiters share it */
	struct mutex sync_mu;
	pthread_cond_t sync_done;
	bool syncing;

	/* atomic */
	atomic_uint_fast64_t sequence;        /* of the last write that readers see */
	atomic_uint_fast64_t sequence_synced; /* of the last write that survives power loss */
	atomic_bool dir_dirty;                /* a log was created and the directory not synced */
	atomic_bool stopping;                 /* closing: compactions give up */
	atomic_int failed; /* the errno of a failed log write: read-only since then */

	/* of background.c, changed at open and close only */
	pthread_t flusher, compactor, committer;
	bool threads_started;

	/* statistics, atomic */
	atomic_uint_fast64_t user_bytes, log_bytes, table_bytes, flushes, compactions, moves,
		slowdowns, stops;
};

/* The sequence of the last write that readers see. */
static inline uint64_t tree_sequence(const struct lsm *lsm)
{
	return atomic_load_explicit(&lsm->sequence, memory_order_acquire);
}

/* A file number that was never used. */
uint64_t tree_new_file(struct lsm *lsm) EXCLUDES(lsm->mu);

/* Seconds since 1970. */
uint64_t tree_now_s(void);

/*
 * Decode the segment reference `stored` of an entry of `key`. `ref` points into it.
 * Returns 0, or -EUCLEAN (reported) if it is malformed.
 */
int tree_ref_decode(const struct lsm *lsm, struct lsm_slice key, struct lsm_slice stored,
		    struct segment_ref *ref);

/*
 * Set `*value` to the value of an entry of `key`: a copy of `stored`, or for IKEY_PUT_REF the
 * bytes in the segment that `stored` refers to, which are verified. The caller's view or table
 * reference keeps that segment.
 * Returns 0; -ENOMEM; -EUCLEAN (reported); -EIO. After an error `*value` is unspecified.
 */
int tree_value(struct lsm *lsm, struct lsm_slice key, enum ikey_type type, struct lsm_slice stored,
	       struct lsm_value *value);

/*
 * Make the tree read-only until it is opened again, because `what` failed with `err` in a way
 * that leaves the log or a sync in doubt. Only the first failure is reported. Returns `err`.
 */
int tree_fail(struct lsm *lsm, int err, const char *what) EXCLUDES(lsm->mu);

/* Make all values in segments durable. A failure makes the tree read-only. */
int tree_sync_segments(struct lsm *lsm);

/* Make the names of all files durable. A failure makes the tree read-only. */
int tree_sync_dir(struct lsm *lsm);

#endif
