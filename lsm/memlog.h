/*
 * memlog.h - a memtable, the log that holds the same writes, and the segments that its
 * entries refer to.
 *
 * The newest memlog takes writes, from one writer at a time. It is then closed for writing,
 * waits until the flusher has written it to a table, and is freed with the last view that
 * has it.
 */
#ifndef LSM_MEMLOG_H
#define LSM_MEMLOG_H

#include <stdatomic.h>

#include "lsm/batch.h"
#include "lsm/memtable.h"
#include "lsm/segments.h"
#include "lsm/wal.h"

#define LOG_NAME_BYTES 32
void log_name(char *name, uint64_t number); /* "%06llu.log" */

struct memlog {
	/* constant once it is in a view */
	struct memtable *mem;
	struct wal *log; /* NULL if it was replayed at open */
	uint64_t log_number;
	uint64_t created_s; /* seconds since 1970 */
	struct segments *owner;

	atomic_int refs;
	atomic_uint_fast64_t log_reserved;  /* bytes; only the leading writer changes it */
	atomic_uint_fast64_t sequence_last; /* of its entries; 0: it has none */
	atomic_uint_fast64_t segment_bytes; /* referred to by its entries; see segment_use */

	/* guarded by sync_mu's `syncing`: only the thread that syncs uses it */
	bool log_synced; /* all of it, and it is closed for writing */

	/* only the leading writer adds to it */
	struct segment **segments; /* referred to by its entries, each with a reference */
	size_t segments_count, segments_room;
};

/* An empty memlog without a log, with one reference. NULL: no memory. */
struct memlog *memlog_new(struct segments *owner);

/*
 * A new memlog with an empty log, in `*fresh`, with one reference. An old log is recycled for
 * it if there is one. The log's name is not durable before the next sync.
 * Returns 0; -ENOMEM; -ENOSPC or another error of the storage, and `*fresh` is NULL then.
 */
int memlog_create(struct lsm *lsm, struct memlog **fresh);

void memlog_ref(struct memlog *m);
void memlog_unref(struct memlog *m); /* NULL is fine */

/* Whether the memlog should take no more writes. */
bool memlog_full(const struct lsm *lsm, const struct memlog *m);

/* Whether it has any entry or range tombstone. */
bool memlog_empty(const struct memlog *m);

/*
 * Reserve disk space so that `bytes` more, framing included, can be appended to the log.
 * Only the leading writer calls this. -ENOSPC: nothing changed.
 */
int memlog_reserve(const struct lsm *lsm, struct memlog *m, uint64_t bytes);

/* What memlog_add() does about an entry whose segment is not there. */
enum memlog_missing { MEMLOG_MISSING_FAILS, MEMLOG_MISSING_ADDED };

/*
 * Add one operation of a log record to the memtable. The segment that it refers to stays as
 * long as the memlog. Only the leading writer, or the replay at open, calls this.
 * Returns 0; -ENOMEM; -EUCLEAN for a malformed reference; -ENOENT if its segment is missing,
 * unless `missing` is MEMLOG_MISSING_ADDED: then reading the value reports it.
 */
int memlog_add(struct memlog *m, const struct batch_entry *e, enum memlog_missing missing);

#endif
