/*
 * lsm.h - an ordered, durable key-value store in one directory.
 *
 * Keys and values are byte strings; keys are ordered bytewise (memcmp, then
 * length). Everything written goes through one write-ahead log, in one order,
 * so what a crash leaves is always the state after some prefix of the writes.
 * Values of `separate_min` bytes or more are written once, to segment files;
 * the tree keeps a checksummed pointer to them.
 *
 * Errors: 0 or a negative errno; LSM_ABSENT only where a comment says so.
 *   -EUCLEAN  bytes on disk are wrong (reported through `report` with the file
 *             and offset); nothing wrong was returned
 *   -EROFS    the store is open read-only, or became so after a failed log write
 *   -EIO      the device failed
 * Threads: every function may be called from any thread, except that one batch
 *   or one iterator is used by one thread at a time.
 */
#ifndef LSM_H
#define LSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LSM_LEVELS 7
#define LSM_KEY_BYTES_MAX 1024u
#define LSM_VALUE_BYTES_MAX (4u << 20)
#define LSM_BATCH_BYTES_MAX (256u << 20)

/* Returned instead of 0 or an error, where a comment says so: there is no such thing. */
enum { LSM_ABSENT = 1 };

struct lsm;
struct lsm_batch;
struct lsm_snapshot;
struct lsm_iter;
struct storage;

/* Bytes that somebody else owns. */
struct lsm_slice {
	const void *data;
	size_t size;
};

/*
 * Bytes of the caller's own, filled in by the store. Start it with {0}; it may
 * be used for many calls, growing as needed; release it at the end.
 */
struct lsm_value {
	void *data;
	size_t size;
	size_t capacity;
};
void lsm_value_release(struct lsm_value *value);

enum lsm_compression { LSM_COMPRESS_NONE, LSM_COMPRESS_LZ4, LSM_COMPRESS_ZSTD };

enum lsm_report_level { LSM_REPORT_INFO, LSM_REPORT_WARNING, LSM_REPORT_ERROR };
typedef void lsm_report_fn(void *ctx, enum lsm_report_level level, const char *message);

/*
 * Zero in a size or count means "the default". The sizes below the line exist
 * so that tests can make every rare path common; they are derived from
 * `memory_bytes` otherwise.
 */
struct lsm_options {
	struct storage *storage;     /* NULL: a local directory at `path`; borrowed otherwise */
	bool create;                 /* make the store if it is not there */
	bool read_only;              /* never write a byte; the log is replayed into memory */
	bool discard_damage;         /* drop what is behind damage in the log, reporting how much */
	size_t memory_bytes;         /* memtables, caches, filters, indexes; default 256 MiB */
	unsigned commit_interval_ms; /* an unsynced write is never older; default 5000 */
	enum lsm_compression compression; /* of tables in the deeper levels */
	bool compression_set;             /* false: the default, LZ4 */
	lsm_report_fn *report;            /* NULL: silent; any thread may call it */
	void *report_ctx;
	/* ---- */
	size_t memtable_bytes;
	size_t block_bytes;
	size_t table_bytes;
	size_t level1_bytes;
	size_t segment_bytes;
	size_t separate_min; /* default 4096 */
	unsigned l0_compact; /* tables in level 0 that start a compaction */
	unsigned l0_slow;    /* ... that slow writers down */
	unsigned l0_stop;    /* ... that stop them */
	unsigned imm_max;    /* immutable memtables before writers wait */
};

/*
 * Open the store at `path` (ignored when `options->storage` is given), replay
 * its log and start its background threads.
 *
 * Returns 0 and the tree in `*out`; otherwise `*out` is NULL and
 *   -ENOENT     no store there and `create` is false
 *   -ENOTDIR    `path` is not a directory
 *   -EEXIST     a directory with files in it that is not a store
 *   -EBUSY      another process has it open
 *   -EPROTONOSUPPORT  written by a newer version of the format
 *   -EUCLEAN    damaged; `report` got the file, the offset and what is lost
 *   or what the storage said. The reason in words goes to `report`.
 * A failed open changes nothing that a later open needs.
 */
int lsm_open(const char *path, const struct lsm_options *options, struct lsm **out);

/*
 * Sync everything, stop the threads and free `lsm`. Iterators and snapshots
 * must be gone. Returns the first error of the last sync; it is closed anyway.
 */
int lsm_close(struct lsm *lsm);

/* ---- writing ---- */

#define LSM_SYNC 1u  /* survive power loss on return */
#define LSM_FREES 2u /* this batch gives space back: may use what is reserved for that */

struct lsm_batch *lsm_batch_new(void); /* NULL: no memory */
void lsm_batch_free(struct lsm_batch *b);
void lsm_batch_clear(struct lsm_batch *b);
size_t lsm_batch_count(const struct lsm_batch *b);
size_t lsm_batch_bytes(const struct lsm_batch *b);

/*
 * Add an operation to `b`. Later operations of a batch win over earlier ones.
 * Key and value are copied, except that lsm_batch_put_borrowed() keeps a
 * pointer to the value, which must stay until lsm_write() returned.
 * Returns 0; -ENOMEM; -EINVAL for an empty or too long key, or a range whose
 * end is not above its start; -EFBIG for a value or batch above the limit. On
 * an error the batch is unchanged.
 */
int lsm_batch_put(struct lsm_batch *b, struct lsm_slice key, struct lsm_slice value);
int lsm_batch_put_borrowed(struct lsm_batch *b, struct lsm_slice key, struct lsm_slice value);
int lsm_batch_delete(struct lsm_batch *b, struct lsm_slice key);
/* Delete every key in [start, end). One record, however many keys. */
int lsm_batch_delete_range(struct lsm_batch *b, struct lsm_slice start, struct lsm_slice end);

/*
 * Put under `key` the bytes [offset, offset + size) of the value `it` stands
 * on. A value in a segment is shared, not copied; any other is copied. The
 * batch pins what it shares until it is cleared or freed (before lsm_close());
 * the iterator may move on or go.
 * Also -EINVAL when the range is empty or not within the value.
 */
int lsm_batch_put_slice(struct lsm_batch *b, struct lsm_slice key, const struct lsm_iter *it,
			size_t offset, size_t size);

/*
 * Put under `key` a value of `size` bytes (1 to LSM_VALUE_BYTES_MAX) that nobody has any
 * more: reading it, or a slice of it, is -EUCLEAN; lsm_verify() finds nothing wrong with
 * it. For repairs, so that what is lost is never taken for something else.
 */
int lsm_batch_put_lost(struct lsm_batch *b, struct lsm_slice key, size_t size);

/*
 * Apply every operation in `b`, in order, as one atomic unit.
 *
 * `b` stays the caller's and may be cleared and reused on return.
 * Returns 0; -ENOSPC, -EIO; -EROFS.
 * On an error before the log was written nothing changed. After a failed write
 *   or sync of the log the store is read-only and every later write is -EROFS.
 * Durability: readers see it at once, and it survives the death of the process.
 *   It survives power loss after the next lsm_sync(), after the commit interval,
 *   or on return if `flags` has LSM_SYNC.
 * Threads: any. May block while level 0 is full.
 */
int lsm_write(struct lsm *lsm, struct lsm_batch *b, unsigned flags);

/* Make every write that has returned survive power loss. As lsm_write() for errors. */
int lsm_sync(struct lsm *lsm);

/* Write every memtable to tables and wait for it. */
int lsm_flush(struct lsm *lsm);

/* ---- reading ---- */

/* Pin what is there now; the store keeps it until the snapshot is dropped. */
struct lsm_snapshot *lsm_snapshot_take(struct lsm *lsm); /* NULL: no memory */
void lsm_snapshot_drop(struct lsm *lsm, struct lsm_snapshot *snapshot);

/* Get the value of `key` (as of `snapshot`, or now if NULL). 0; LSM_ABSENT; or an error. */
int lsm_get(struct lsm *lsm, const struct lsm_snapshot *snapshot, struct lsm_slice key,
	    struct lsm_value *value);

struct lsm_iter_options {
	const struct lsm_snapshot *snapshot; /* NULL: as of now */
	struct lsm_slice lower;              /* first key, if size > 0; must outlive the iterator */
	struct lsm_slice upper;              /* one past the last key, if size > 0; likewise */
	bool no_cache;                       /* a big scan: do not fill the block cache */
};

/*
 * An iterator sees the store as it was when made and pins the files it may
 * read. It starts nowhere: position it first. `options` may be NULL.
 * Each positioning call returns nothing; ask lsm_iter_valid(), and when that
 * is false lsm_iter_status(): 0 at the end, or the error.
 */
struct lsm_iter *lsm_iter_new(struct lsm *lsm, const struct lsm_iter_options *options);
void lsm_iter_free(struct lsm_iter *it);
bool lsm_iter_valid(const struct lsm_iter *it);
int lsm_iter_status(const struct lsm_iter *it);
void lsm_iter_first(struct lsm_iter *it);
void lsm_iter_last(struct lsm_iter *it);
void lsm_iter_seek(struct lsm_iter *it, struct lsm_slice key);      /* first key >= key */
void lsm_iter_seek_prev(struct lsm_iter *it, struct lsm_slice key); /* last key <= key */
void lsm_iter_next(struct lsm_iter *it);
void lsm_iter_prev(struct lsm_iter *it);

/* The key and the size of the value here; valid until the iterator moves. */
struct lsm_slice lsm_iter_key(const struct lsm_iter *it);
size_t lsm_iter_size(const struct lsm_iter *it);
/* The value here is one of lsm_batch_put_lost(), or a slice of one. */
bool lsm_iter_lost(const struct lsm_iter *it);

/*
 * The whole value here, in `*value`, valid until the iterator moves.
 * A separated value is read and verified. Returns 0 or an error.
 */
int lsm_iter_value(struct lsm_iter *it, struct lsm_slice *value);

/*
 * Read [offset, offset + size) of the value here into `buf`; only the parts
 * needed are read, and each is verified. -EINVAL when not within the value.
 */
int lsm_iter_read(struct lsm_iter *it, size_t offset, void *buf, size_t size);

/* ---- upkeep ---- */

/* `done` of `total` bytes; return non-zero to stop with -EINTR. */
typedef int lsm_progress_fn(void *ctx, uint64_t done, uint64_t total);

/*
 * Compact [start, end) (size 0: open end) down to the deepest level, dropping
 * everything dead, and give back the space of dead segments. `progress` may be NULL.
 * -EUCLEAN: damaged tables, and what overlaps them, had to stay as they are.
 */
int lsm_compact(struct lsm *lsm, struct lsm_slice start, struct lsm_slice end,
		lsm_progress_fn *progress, void *ctx);

/* One piece of damage. The keys bound what it may have held; size 0: unknown. */
struct lsm_damage {
	const char *file;
	uint64_t offset;
	struct lsm_slice first_key, last_key;
	const char *reason;
};
typedef void lsm_damage_fn(void *ctx, const struct lsm_damage *damage);

/*
 * Read and verify everything on disk: every block of every table, their order
 * and bounds, every separated value, references to segments, the manifest. What
 * is in memtables is flushed first. The store may be in use, also for as long as
 * this takes: what is deleted meanwhile gives its space back (verify.c). Called
 * back from this thread, with no lock held; a callback may take its time.
 * Returns 0 clean; -EUCLEAN if `damage` was called at least once; other errors
 * when it could not go on.
 */
int lsm_verify(struct lsm *lsm, lsm_damage_fn *damage, void *damage_ctx, lsm_progress_fn *progress,
	       void *progress_ctx);

/*
 * Open a damaged store to repair it: as lsm_open() for reading and writing, but with all
 * that can still be read, and nothing changes on disk until lsm_repair_commit();
 * lsm_close() leaves the store as it was. What is in the way is told through `damage`:
 *   - blocks of tables that cannot be read are dropped; older versions of a key that
 *     were hidden by what was lost stay hidden, where a filter still tells of the key
 *   - of a damaged log all whole records are replayed, before and behind the damage
 *   - without a readable manifest every table found is taken, by sequence
 *   - values in segments that cannot be read stay as they are: lsm_verify() finds them
 * `*damaged`: something was dropped or rebuilt, so that a commit is called for.
 * Also -EUCLEAN when nothing of a store can be read there.
 */
int lsm_repair_open(const char *path, const struct lsm_options *options, lsm_damage_fn *damage,
		    void *damage_ctx, bool *damaged, struct lsm **out);

/*
 * Make what `lsm`, of lsm_repair_open(), holds the store, in one step that a crash
 * does not divide, and close it. `*kept_bytes` (may be NULL): of the files it replaced,
 * which stay in the directory with ".old" behind their names until somebody deletes
 * them. What the store would be is opened and its new tables are read before: if that
 * fails, as after any error, the store is as it was (only after -EIO it may be either).
 */
int lsm_repair_commit(struct lsm *lsm, uint64_t *kept_bytes);

struct lsm_level_stats {
	uint64_t tables, bytes, entries, tombstones, range_tombstones;
};

struct lsm_stats {
	struct lsm_level_stats level[LSM_LEVELS];
	uint64_t memtable_bytes, memtable_entries, immutable_memtables;
	uint64_t segments, segment_bytes /* on disk */, segment_live_bytes /* referred to */;
	uint64_t log_bytes;
	uint64_t cache_bytes, cache_bytes_max, cache_hits, cache_misses;
	uint64_t user_bytes_written, log_bytes_written, table_bytes_written, segment_bytes_written;
	uint64_t flushes, compactions, trivial_moves, write_slowdowns, write_stops;
	uint64_t filter_negatives, filter_false_positives;
	uint64_t sequence;        /* of the last write */
	uint64_t sequence_synced; /* ... that survives power loss */
	uint64_t disk_bytes;      /* everything of the store */
	bool read_only;           /* now, for whatever reason */
};
void lsm_stats(struct lsm *lsm, struct lsm_stats *stats);

/* Free and total bytes of the device the store is on. */
int lsm_space(struct lsm *lsm, uint64_t *free_bytes, uint64_t *total_bytes);

#endif
