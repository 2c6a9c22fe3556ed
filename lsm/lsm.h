/*
 * lsm.h - an ordered, durable key-value store in one directory.
 *
 * Keys and values are byte strings. Keys are ordered bytewise: memcmp, then length. Everything
 * written goes through one write-ahead log, in one order, so a crash always leaves the state
 * after some prefix of the writes. Values of `separate_min` bytes or more are written once, to
 * segment files; the tree keeps a checksummed pointer to them.
 *
 * Errors: 0 or a negative errno; LSM_ABSENT only where a comment says so. lsm_strerror() has
 *   words for all of them. Besides those that a function's comment names, each function that
 *   reads or writes may return
 *   -EUCLEAN  bytes on disk are wrong (reported through `report` with file and offset);
 *             nothing wrong was returned
 *   -EIO      the device failed
 *   -ENOMEM   there is no memory
 * Threads: every function may be called from any thread, except that one batch or one iterator
 *   is used by one thread at a time.
 */
#ifndef LSM_H
#define LSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LSM_VERSION_MAJOR 0
#define LSM_VERSION_MINOR 2
#define LSM_VERSION_PATCH 0
#define LSM_VERSION_STRING "0.2.0"

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

/*
 * What `err` means, in words: 0, LSM_ABSENT or a negative errno that a function of the store
 * returned. The string is constant and is never freed. Threads: any.
 */
const char *lsm_strerror(int err);

/* Bytes that are borrowed: the slice neither owns nor frees them. */
struct lsm_slice {
	const void *data;
	size_t size;
};

/*
 * Bytes of the caller's, filled in by the store. Start with all fields 0. It may be used for
 * many calls and grows as needed. The caller releases it at the end.
 */
struct lsm_value {
	void *data;
	size_t size;
	size_t capacity;
};

/* Free what `value` holds. It may then be used again. */
void lsm_value_release(struct lsm_value *value);

enum lsm_compression { LSM_COMPRESS_NONE, LSM_COMPRESS_LZ4, LSM_COMPRESS_ZSTD };

enum lsm_report_level { LSM_REPORT_INFO, LSM_REPORT_WARNING, LSM_REPORT_ERROR };

/*
 * Receives a message; `message` is valid during the call. Any thread of the store may call it,
 * with locks of the store held: it must not call the store.
 */
typedef void lsm_report_fn(void *ctx, enum lsm_report_level level, const char *message);

/*
 * Zero in a size or count means "the default". The fields below the line exist so that tests
 * can make every rare path common. Otherwise they are derived from `memory_bytes`.
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
	lsm_report_fn *report;            /* NULL: silent */
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
 * Open the store at `path`, replay its log and start its background threads.
 *
 * `path` is ignored if `options->storage` is given. `options` may be NULL (all defaults) and is
 *   copied. The caller closes `*out` with lsm_close().
 * Returns 0 and the store in `*out`. Otherwise `*out` is NULL and the error is
 *   -ENOENT     there is no store and `create` is false
 *   -ENOTDIR    `path` is not a directory
 *   -EEXIST     a directory with files in it that is not a store
 *   -EBUSY      another process has it open
 *   -EPROTONOSUPPORT  written by a newer version of the format
 *   -EUCLEAN    damaged; `report` got the file, the offset and what is lost
 *   or what the storage returned. The reason in words goes to `report`.
 * A failed open changes nothing that a later open needs.
 */
int lsm_open(const char *path, const struct lsm_options *options, struct lsm **out);

/*
 * Sync everything, stop the threads and free `lsm` (NULL is fine).
 *
 * Iterators, snapshots and batches with slices must be freed before.
 * Returns 0 or the first error of the sync; the store is closed and freed in any case.
 * Durability: if it returns 0, everything survives power loss.
 * Threads: no other call may be under way or follow.
 */
int lsm_close(struct lsm *lsm);

/* ---- writing ---- */

/* Flags of lsm_write(). */
#define LSM_SYNC 1u  /* survive power loss on return */
#define LSM_FREES 2u /* this batch frees space: it may use what is reserved for that */

/* A new empty batch, to be freed with lsm_batch_free(). NULL: no memory. */
struct lsm_batch *lsm_batch_new(void);
void lsm_batch_free(struct lsm_batch *b); /* NULL is fine */
/* Remove all operations, for the batch to be used again. */
void lsm_batch_clear(struct lsm_batch *b);
/* Operations in the batch, and the bytes of their keys and values. */
size_t lsm_batch_count(const struct lsm_batch *b);
size_t lsm_batch_bytes(const struct lsm_batch *b);

/*
 * Add an operation to `b`: put `value` under `key`, or delete `key`. Later operations of a
 * batch win over earlier ones.
 *
 * Keys have 1 to LSM_KEY_BYTES_MAX bytes, values 0 to LSM_VALUE_BYTES_MAX. Key and value are
 *   copied. lsm_batch_put_borrowed() keeps a pointer to the value instead, whose bytes must
 *   stay until lsm_write() has returned.
 * Returns 0; -ENOMEM; -EINVAL for a key of another size; -EFBIG for a value above the limit, or
 *   a batch above LSM_BATCH_BYTES_MAX. After an error the batch is unchanged.
 */
int lsm_batch_put(struct lsm_batch *b, struct lsm_slice key, struct lsm_slice value);
int lsm_batch_put_borrowed(struct lsm_batch *b, struct lsm_slice key, struct lsm_slice value);
int lsm_batch_delete(struct lsm_batch *b, struct lsm_slice key);

/*
 * Delete every key in [start, end). This is one record, however many keys there are.
 * As lsm_batch_delete(); also -EINVAL if `end` is not above `start`.
 */
int lsm_batch_delete_range(struct lsm_batch *b, struct lsm_slice start, struct lsm_slice end);

/*
 * Put under `key` the bytes [offset, offset + size) of the value at which `it` stands.
 *
 * A value in a segment is shared, any other is copied. The batch pins what it shares until it
 *   is cleared or freed, which must be before lsm_close(). The iterator may move or be freed.
 * As lsm_batch_put(); also -EINVAL if the range is empty or not within the value.
 */
int lsm_batch_put_slice(struct lsm_batch *b, struct lsm_slice key, const struct lsm_iter *it,
			size_t offset, size_t size);

/*
 * Put under `key` a value of `size` bytes (1 to LSM_VALUE_BYTES_MAX) that is marked as lost.
 * Reading it, or a slice of it, is -EUCLEAN. lsm_verify() finds nothing wrong with it. It is
 * for repairs, so that what is lost is never taken for something else.
 * As lsm_batch_put().
 */
int lsm_batch_put_lost(struct lsm_batch *b, struct lsm_slice key, size_t size);

/*
 * Apply every operation in `b`, in order, as one atomic unit.
 *
 * `b` stays the caller's and may be cleared and reused on return. `flags`: LSM_SYNC, LSM_FREES.
 * Returns 0; -ENOSPC; -EROFS if the store is open read-only, or became read-only. -EUCLEAN: so
 *   much is damaged that new data has no place to go.
 * After an error before the log was written nothing has changed. After a failed write or sync
 *   of the log the store is read-only, and every later write returns -EROFS.
 * Durability: readers see it at once, and it survives the death of the process. It survives
 *   power loss after the next lsm_sync(), after the commit interval, or on return if `flags`
 *   has LSM_SYNC.
 * Threads: any. May block while level 0 is full.
 */
int lsm_write(struct lsm *lsm, struct lsm_batch *b, unsigned flags);

/*
 * Make every write that has returned survive power loss.
 * Returns 0 (at once if the store is open read-only); -EROFS if the store had become read-only
 *   before; or the error of the sync, after which the store is read-only.
 */
int lsm_sync(struct lsm *lsm);

/*
 * Write everything that is in memory to tables and wait for it.
 * Returns 0; -EROFS; -ENOSPC. After an error everything is still in memory and in the log.
 * Durability: what was written before the call survives power loss if it returns 0.
 */
int lsm_flush(struct lsm *lsm);

/* ---- reading ---- */

/*
 * Pin the present state; the store keeps it until the snapshot is dropped, which must be before
 * lsm_close(). NULL: no memory.
 */
struct lsm_snapshot *lsm_snapshot_take(struct lsm *lsm);
void lsm_snapshot_drop(struct lsm *lsm, struct lsm_snapshot *snapshot); /* NULL is fine */

/*
 * Get the value of `key`, as of `snapshot`, or now if that is NULL.
 *
 * `value` gets a copy; its size is 0 unless 0 is returned.
 * Returns 0; LSM_ABSENT; -EINVAL for a key that is empty or too long; or an error.
 */
int lsm_get(struct lsm *lsm, const struct lsm_snapshot *snapshot, struct lsm_slice key,
	    struct lsm_value *value);

struct lsm_iter_options {
	const struct lsm_snapshot *snapshot; /* NULL: as of now */
	struct lsm_slice lower;              /* first key, if size > 0; must outlive the iterator */
	struct lsm_slice upper;              /* one past the last key, if size > 0; likewise */
	bool no_cache;                       /* a big scan: do not fill the block cache */
};

/*
 * A new iterator, to be freed before lsm_close(). NULL: no memory.
 *
 * It sees the store as it was when the iterator was made, and pins the files that it may read.
 *   `options` may be NULL and is copied. The iterator stands nowhere: position it first.
 * A positioning call returns nothing. After it lsm_iter_valid() says whether the iterator stands
 *   on a key. If it does not, lsm_iter_status() is 0 at the end, or the error.
 */
struct lsm_iter *lsm_iter_new(struct lsm *lsm, const struct lsm_iter_options *options);
void lsm_iter_free(struct lsm_iter *it); /* NULL is fine */
bool lsm_iter_valid(const struct lsm_iter *it);
int lsm_iter_status(const struct lsm_iter *it);
void lsm_iter_first(struct lsm_iter *it);
void lsm_iter_last(struct lsm_iter *it);
void lsm_iter_seek(struct lsm_iter *it, struct lsm_slice key);      /* first key >= key */
void lsm_iter_seek_prev(struct lsm_iter *it, struct lsm_slice key); /* last key <= key */
void lsm_iter_next(struct lsm_iter *it);                            /* only if it is valid */
void lsm_iter_prev(struct lsm_iter *it);                            /* likewise */

/*
 * The functions below are for an iterator that stands on a key. Its key and the size of its
 * value in bytes; the key is valid until the iterator moves.
 */
struct lsm_slice lsm_iter_key(const struct lsm_iter *it);
size_t lsm_iter_size(const struct lsm_iter *it);

/* Whether the value is one of lsm_batch_put_lost(), or a slice of one. */
bool lsm_iter_lost(const struct lsm_iter *it);

/*
 * Get the whole value in `*value`, valid until the iterator moves. A value in a segment is read
 * and verified. Returns 0 or an error.
 */
int lsm_iter_value(struct lsm_iter *it, struct lsm_slice *value);

/*
 * Read [offset, offset + size) of the value into `buf`. Only the parts needed are read, and
 * each is verified. Returns 0; -EINVAL if the range is not within the value; or an error, and
 * the content of `buf` is unspecified.
 */
int lsm_iter_read(struct lsm_iter *it, size_t offset, void *buf, size_t size);

/* ---- upkeep ---- */

/* Called when `done` of about `total` bytes are done. Non-zero: stop, with -EINTR. */
typedef int lsm_progress_fn(void *ctx, uint64_t done, uint64_t total);

/*
 * Compact [start, end) (size 0: open end) down to the deepest level, dropping everything dead,
 * and free the space of dead segments.
 *
 * `progress` may be NULL. It is called from this thread, without a lock held.
 * Returns 0; -EROFS; -ENOSPC; -EINTR. -EUCLEAN: damaged tables, and what overlaps them, had to
 *   stay as they are; the rest was compacted. After any error the store has the same content.
 */
int lsm_compact(struct lsm *lsm, struct lsm_slice start, struct lsm_slice end,
		lsm_progress_fn *progress, void *ctx);

/* One piece of damage, valid during the call that reports it. */
struct lsm_damage {
	const char *file;
	uint64_t offset;
	struct lsm_slice first_key, last_key; /* bounds of what it may have held; size 0: unknown */
	const char *reason;
};
typedef void lsm_damage_fn(void *ctx, const struct lsm_damage *damage);

/*
 * Read and verify everything on disk: every block of every table, their order and bounds, every
 * separated value, references to segments, the manifest. What is in memory is flushed first.
 *
 * `damage` and `progress` may be NULL. They are called from this thread, without a lock held,
 *   and may take their time.
 * Returns 0 if all is well; -EUCLEAN if there was any damage; -EINTR; other errors if it could
 *   not go on.
 * Threads: the store may be in use, for as long as this takes. What is deleted meanwhile frees
 *   its space (see verify.c).
 */
int lsm_verify(struct lsm *lsm, lsm_damage_fn *damage, void *damage_ctx, lsm_progress_fn *progress,
	       void *progress_ctx);

/*
 * Open a damaged store to repair it: as lsm_open() for reading and writing, but with all that
 * can still be read.
 *
 * Damage is reported through `damage` (may be NULL), and this is done about it:
 *   - blocks of tables that cannot be read are dropped; older versions of a key that were
 *     hidden by what was lost stay hidden, if a filter still knows of the key
 *   - of a damaged log all whole records are replayed, before and behind the damage
 *   - without a readable manifest every table found is taken, by sequence
 *   - values in segments that cannot be read stay as they are: lsm_verify() finds them
 * `*damaged`: something was dropped or rebuilt, so a commit makes sense.
 * Returns what lsm_open() does; -EUCLEAN if nothing of a store can be read there.
 * Durability: nothing on disk changes until lsm_repair_commit(). lsm_close() leaves the store
 *   as it was.
 */
int lsm_repair_open(const char *path, const struct lsm_options *options, lsm_damage_fn *damage,
		    void *damage_ctx, bool *damaged, struct lsm **out);

/*
 * Replace the store by the contents of `lsm` (from lsm_repair_open()), atomically even across a
 * crash, and close `lsm`.
 *
 * `*kept_bytes` (may be NULL): size of the files that were replaced. They stay in the directory
 *   with ".old" behind their names until somebody deletes them.
 * Returns 0 or an error. What the store would be is opened first, and its new tables are read.
 * After an error the store is as it was; only after -EIO it may be either. `lsm` is freed in
 *   any case.
 * Durability: the repaired store survives power loss if it returns 0.
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
	uint64_t sequence_synced; /* of the last write that survives power loss */
	uint64_t disk_bytes;      /* everything of the store */
	bool read_only;           /* now, for whatever reason */
};

/* Fill in `stats`. Counters count since lsm_open(). What cannot be found out is 0. */
void lsm_stats(struct lsm *lsm, struct lsm_stats *stats);

/* Get the free and total bytes of the device that the store is on. Returns 0 or an error. */
int lsm_space(struct lsm *lsm, uint64_t *free_bytes, uint64_t *total_bytes);

#ifdef __cplusplus
}
#endif

#endif
