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
 * `prealloc_bytes` are reserved on disk (0: none). If `recycle` is not NULL it
 * names an old log that is renamed to `name` and overwritten instead.
 * Returns 0; -ENOSPC; an error of the storage. The directory is not synced.
 */
int wal_create(struct storage *st, const char *name, uint32_t number, uint64_t prealloc_bytes,
	       const char *recycle, struct wal **out);

/*
 * Append `count` records in one write. A record is what next() will return.
 * After an error the file's tail is unknown: write nothing more to it.
 * Not thread-safe; needs no sync to survive the death of the process.
 */
int wal_append(struct wal *w, const struct lsm_slice *records, size_t count);

/*
 * Reserve disk space so that the file can grow to `bytes` without meeting a full
 * disk. -ENOSPC: nothing changed. Not thread-safe with wal_append().
 */
int wal_reserve(struct wal *w, uint64_t bytes);

/* Where the last record ends. The file goes on with zeros, and with what it was before. */
uint64_t wal_bytes(const struct wal *w);

/*
 * Make everything appended before the call durable. May run beside wal_append().
 * After a failure every later sync and append returns that error without trying.
 */
int wal_sync(struct wal *w);

int wal_close(struct wal *w); /* does not sync; NULL is fine */

/*
 * Read a log file from the start. Returns 0 or the storage's error; `report`
 * must outlive the reader.
 */
int wal_reader_open(struct storage *st, const char *name, uint32_t number,
		    const struct report *report, struct wal_reader **out);

/*
 * The next whole record, in `*record` (valid until the next call) and where it
 * starts in `*offset`. Returns 0; 1 at the end of what is valid: after it
 * wal_reader_torn() tells whether bytes of a broken record follow (false:
 * zeros, a recycled file's old bytes or the end of the file). Why it is torn goes
 * to `report` as information: whether that is damage is the caller's to say.
 * -ENOMEM or the storage's error: nothing was skipped, call again or give up.
 */
int wal_reader_next(struct wal_reader *r, struct lsm_slice *record, uint64_t *offset);
bool wal_reader_torn(const struct wal_reader *r);
/* Where the records returned so far end, or where the torn one starts. */
uint64_t wal_reader_offset(const struct wal_reader *r);

/*
 * After an end: go on at the first whole record that starts anywhere behind it,
 * to see whether there is one. Then next() returns it, or 1 when there is none
 * (and offset and torn stay those of the end before).
 */
void wal_reader_resync(struct wal_reader *r);

void wal_reader_close(struct wal_reader *r); /* NULL is fine */

#endif
