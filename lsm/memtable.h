/*
 * memtable.h - the newest writes, in memory: a skip list of internal keys on an
 * arena, and a short list of range tombstones.
 *
 * One thread writes at a time, under a lock of the caller's. Readers take no lock and may
 * run beside the writer: a reader sees a whole entry or does not see it.
 */
#ifndef LSM_MEMTABLE_H
#define LSM_MEMTABLE_H

#include "lsm/base/iter.h"

/* With more range tombstones the memtable should be rotated: every look-up visits all of them. */
#define MEMTABLE_RANGES_MAX 256

struct memtable;

struct memtable *memtable_new(void); /* with one reference; NULL: no memory */
void memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m); /* NULL is fine */

/*
 * Add an entry, or a range tombstone of [start, end). Bytes are copied. The sequence of an entry
 * is new for its key. 0; -ENOMEM, and nothing changed. Threads: one writer at a time.
 */
int memtable_add(struct memtable *m, uint64_t sequence, enum ikey_type type, struct lsm_slice key,
		 struct lsm_slice value);
int memtable_add_range(struct memtable *m, uint64_t sequence, struct lsm_slice start,
		       struct lsm_slice end);

/* The bytes of memory, the number of entries, the number of range tombstones. */
size_t memtable_bytes(const struct memtable *m);
size_t memtable_entries(const struct memtable *m);
size_t memtable_ranges(const struct memtable *m);

/*
 * Find the newest entry of `key` with a sequence up to `sequence`. Range tombstones
 * are not considered. Returns whether there is one; `*value` is valid as long as the memtable.
 */
bool memtable_get(const struct memtable *m, struct lsm_slice key, uint64_t sequence,
		  enum ikey_type *type, uint64_t *entry_sequence, struct lsm_slice *value);

/* The largest sequence <= `sequence` of a range tombstone over `key`; 0 if there is none. */
uint64_t memtable_covering(const struct memtable *m, struct lsm_slice key, uint64_t sequence);

/* Call `fn` for each range tombstone, oldest first. Stops at a non-zero return, and returns it. */
typedef int memtable_range_fn(void *ctx, uint64_t sequence, struct lsm_slice start,
			      struct lsm_slice end);
int memtable_each_range(const struct memtable *m, memtable_range_fn *fn, void *ctx);

/* An iterator over all entries. The memtable must outlive it. NULL: no memory. */
struct iter *memtable_iter(struct memtable *m);

#endif
