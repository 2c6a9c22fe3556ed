/*
 * cache.h - one budget of memory for what is read from disk: blocks and open
 * tables (their indexes and filters). It has several shards, each with its own lock and
 * LRU list. Entries in use are never evicted, so their charges may exceed the budget.
 *
 * A key is (file number, offset); offset CACHE_TABLE means the open table.
 */
#ifndef LSM_CACHE_H
#define LSM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_TABLE UINT64_MAX

struct cache;
struct cache_entry;

/* A cache of at most `bytes_max` bytes. NULL: no memory. */
struct cache *cache_new(size_t bytes_max);
/* NULL is fine. Every entry must have been released. */
void cache_free(struct cache *c);

/*
 * The entry for the key, or NULL. Counts a hit or a miss.
 *
 * The caller gets a reference, and drops it with cache_release(). Threads: any.
 */
struct cache_entry *cache_get(struct cache *c, uint64_t file, uint64_t offset);

/*
 * Add `value`, which costs `charge` bytes, and return its entry.
 *
 * The cache owns `value` from then on: `destroy` frees it, outside of all locks of the cache,
 * when its entry was evicted or erased and has no reference. If the key is there already, the
 * present entry is returned, and `value` is destroyed at once.
 * The caller gets a reference, and drops it with cache_release().
 * NULL: no memory, and `value` stays the caller's. Threads: any.
 */
struct cache_entry *cache_put(struct cache *c, uint64_t file, uint64_t offset, void *value,
			      size_t charge, void (*destroy)(void *value));

/* The value of an entry that the caller has a reference to. */
void *cache_value(struct cache_entry *e);
/* Take one more reference to an entry that has one already. */
void cache_ref(struct cache *c, struct cache_entry *e);
/* Drop a reference. NULL is fine. */
void cache_release(struct cache *c, struct cache_entry *e);

/* Remove the entry of the key, if there is one. Who has a reference may go on using it. */
void cache_erase(struct cache *c, uint64_t file, uint64_t offset);

/* Change the limit. Idle entries beyond it are evicted before this returns. */
void cache_set_limit(struct cache *c, size_t bytes_max);

struct cache_stats {
	uint64_t bytes, bytes_max, hits, misses;
};
void cache_stats(struct cache *c, struct cache_stats *stats);

/*
 * Whether the cache is consistent; if not, `*why` says what is wrong (else NULL). Visits
 * every entry. For assertions and tests. Threads: any.
 */
bool cache_valid(struct cache *c, const char **why);

#endif
