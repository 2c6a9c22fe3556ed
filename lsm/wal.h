/*
 * wal.h - files of checksummed records: the write-ahead log, and the manifest.
 *
 * The format is specified at the top of wal.c: fixed blocks of 32 KiB, records
 * cut into fragments, each fragment with a checksum that covers the file's
 * number, so that what a recycled file held before is never taken for its own.
 */
#ifndef LSM_WAL_H
#define LSM_WAL_H

#include "lsm/base/report.h"
#include "lsm/storage/storage.h"

#define WAL_RECORD_BYTES_MAX (LSM_BATCH_BYTES_MAX + (1u << 20))

struct wal;
struct wal_reader;

/*
 * Start a log file `name` that carries `number` (never used for a log before).
 *
 * `prealloc_bytes` are reserved on disk (0: none). If `recycle` is not NULL, it names an old
 * log, which is renamed to `name` and overwritten. The caller owns `*out`.
 * Returns 0; -ENOSPC; another error of the storage; -ENOMEM. After an error there is no file
 * `name`, unless it could not be deleted again.
 * Durability: the directory is not synced.
 */
int wal_create(struct storage *st, const char *name, uint32_t number, uint64_t prealloc_bytes,
	       const char *recycle, struct wal **out);

/*
 * Append `count` records of at most WAL_RECORD_BYTES_MAX bytes each, in one write.
 *
 * Returns 0; -EFBIG or -ENOMEM, and nothing changed; an error of the storage. After that one
 * the end of the file is unknown, and every later append returns the same error.
 * Durability: the records survive the death of the process at once, a power cut after the
 * next wal_sync().
 * Threads: one at a time, of this and of wal_reserve().
 */
int wal_append(struct wal *w, const struct lsm_slice *records, size_t count);

/*
 * Reserve disk space, so that the file can grow to `bytes` without meeting a full disk.
 * Returns 0; -ENOSPC, and nothing changed. Threads: as wal_append().
 */
int wal_reserve(struct wal *w, uint64_t bytes);

/*
 * The offset at which the last record ends. Behind it the file has zeros, or bytes of the log
 * that was recycled. Threads: any.
 */
uint64_t wal_bytes(const struct wal *w);

/*
 * Make everything durable that was appended before the call.
 * After a failure every later sync and append returns that error without trying.
 * Threads: any, also beside wal_append().
 */
int wal_sync(struct wal *w);

/* Close the file, without a sync, and free `w`. NULL is fine. */
int wal_close(struct wal *w);

/*
 * Start to read log `number` from the file `name`. The caller owns `*out`; `report` must outlive
 * it. Returns 0; -ENOMEM; an error of the storage, as -ENOENT. Threads: one at a time.
 */
int wal_reader_open(struct storage *st, const char *name, uint32_t number,
		    const struct report *report, struct wal_reader **out);
void wal_reader_close(struct wal_reader *r); /* NULL is fine */

/* What wal_reader_next() returns behind the last valid record. */
enum { WAL_END = 1 };

/*
 * Read the next whole record.
 *
 * `*record` is valid until the next call, and `*offset` is where the record starts.
 * Returns 0; WAL_END; -ENOMEM or an error of the storage. After an error nothing was skipped,
 * and the call may be repeated.
 * At the end wal_reader_torn() says whether bytes of a broken record follow. If they do, the
 * reason goes to `report` as information: only the caller can decide whether it is damage.
 */
int wal_reader_next(struct wal_reader *r, struct lsm_slice *record, uint64_t *offset);

/* At the end: true if a broken record follows; false if zeros, old bytes or nothing follow. */
bool wal_reader_torn(const struct wal_reader *r);
/* Where the records returned so far end, or where the torn one starts. */
uint64_t wal_reader_offset(const struct wal_reader *r);

/*
 * After an end: let the next wal_reader_next() go on at the first whole record that starts
 * anywhere behind it. If there is none, that call returns WAL_END, and offset and torn
 * keep their values.
 */
void wal_reader_resync(struct wal_reader *r);

#endif
