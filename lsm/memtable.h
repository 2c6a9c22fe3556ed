/*
 * memtable.h - the newest writes, in memory: a skip list of internal keys on an
 * arena, and a short list of range tombstones.
 *
 * One writer at a time (the caller's lock); readers take no lock at all and may
 * run beside the writer. A reader sees an entry whole or not at all.
 */
#ifndef LSM_MEMTABLE_H
#define LSM_MEMTABLE_H

#include "lsm/base/iter.h"

/* With more range tombstones the memtable should be rotated: they are searched in a row. */
#define MEMTABLE_RANGES_MAX 256

struct memtable;

struct memtable *memtable_new(void); /* with one reference; NULL: no memory */
void memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m); /* NULL is fine */

/* Add an entry; key and value are copied. -ENOMEM: nothing changed. */
int memtable_add(struct memtable *m, uint64_t sequence, enum ikey_type type, struct lsm_slice key,
		 struct lsm_slice value);
int memtable_add_range(struct memtable *m, uint64_t sequence, struct lsm_slice start,
		       struct lsm_slice end);

/* Memory held, entries (range tombstones not counted), range tombstones. */
size_t memtable_bytes(const struct memtable *m);
size_t memtable_entries(const struct memtable *m);
size_t memtable_ranges(const struct memtable *m);

/*
 * The newest entry of `key` with a sequence up to `sequence`. Range tombstones
 * are not looked at. True: found; `*value` is good as long as the memtable.
 */
bool memtable_get(const struct memtable *m, struct lsm_slice key, uint64_t sequence,
		  enum ikey_type *type, uint64_t *entry_sequence, struct lsm_slice *value);

/* The largest sequence <= `sequence` of a range tombstone over `key`; 0 if none. */
uint64_t memtable_covering(const struct memtable *m, struct lsm_slice key, uint64_t sequence);

/* Call `fn` for each range tombstone, oldest first; stops at a non-zero return, returns that. */
typedef int memtable_range_fn(void *ctx, uint64_t sequence, struct lsm_slice start,
			      struct lsm_slice end);
int memtable_each_range(const struct memtable *m, memtable_range_fn *fn, void *ctx);

/* Over all entries; the memtable must outlive it. NULL: no memory. */
struct iter *memtable_iter(struct memtable *m);

#endif
