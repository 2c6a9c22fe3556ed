/*
 * cache.h - one budget of memory for what is read from disk: blocks and open
 * tables (their indexes and filters). Sharded, each shard with its own lock and
 * an LRU list; entries in use are never evicted, so the budget may be exceeded
 * by what readers hold at that moment.
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

struct cache *cache_new(size_t bytes_max); /* NULL: no memory */
void cache_free(struct cache *c);          /* every entry must have been released */

/* The entry for the key with a reference to it, or NULL. Counts a hit or a miss. */
struct cache_entry *cache_get(struct cache *c, uint64_t file, uint64_t offset);

/*
 * Add `value`, which costs `charge` bytes, and return its entry with a
 * reference. `destroy` frees it when it is evicted or erased and unreferenced.
 * If the key is there already, the present entry is returned and `value` is
 * destroyed. NULL: no memory, and `value` stays the caller's.
 */
struct cache_entry *cache_put(struct cache *c, uint64_t file, uint64_t offset, void *value,
			      size_t charge, void (*destroy)(void *value));

void *cache_value(struct cache_entry *e);
void cache_ref(struct cache *c, struct cache_entry *e);
void cache_release(struct cache *c, struct cache_entry *e); /* NULL is fine */

/* Forget the open table of `file` (its blocks age out by themselves). */
void cache_erase(struct cache *c, uint64_t file, uint64_t offset);

void cache_set_limit(struct cache *c, size_t bytes_max); /* evicts at once */

struct cache_stats {
	uint64_t bytes, bytes_max, hits, misses;
};
void cache_stats(struct cache *c, struct cache_stats *stats);

#endif
