/*
 * cache.c - blocks and open tables under one budget of memory.
 *
 * The key's hash picks one of a few shards, each with its own lock, hash table
 * and share of the budget, so that readers on different cores seldom meet. An
 * entry is always in one of these states:
 *
 *     state     in the hash table   in the LRU list   references
 *     idle      yes                 yes               0
 *     in use    yes                 no                > 0
 *     erased    no                  no                > 0
 *
 * and is destroyed when it would be neither in the table nor referenced. Only
 * idle entries can be evicted, the longest unused first; keeping the others out
 * of the list makes that a matter of its tail. An entry larger than its whole
 * shard is given out too, but as an erased one: it would push out all others.
 *
 * What an entry costs is counted from when it is put until it is destroyed.
 * Values are destroyed outside of the lock: that of an open table closes a file.
 */
#include <assert.h>

#include <stdlib.h>

#include "lsm/base/lock.h"

#include "lsm/table/cache.h"

#define SHARDS_MAX 16u
/* A shard below this holds too few tables and blocks to be worth a lock of its own. */
#define SHARD_BYTES_MIN ((size_t)4 << 20)
#define BUCKETS_MIN 64u

struct cache_entry {
	uint64_t file, offset; /* constant, as are the next three */
	void *value;
	void (*destroy)(void *value);
	size_t charge;
	/* ---- guarded by the shard's lock ---- */
	struct cache_entry *chain;         /* next in its bucket, or in a list of the dead */
	struct cache_entry *newer, *older; /* in the LRU list */
	unsigned references;
	bool present; /* in the hash table */
};

struct shard {
	_Alignas(64) struct mutex lock;
	/* ---- guarded by it ---- */
	struct cache_entry **buckets;
	size_t buckets_count; /* a power of two */
	size_t entries;
	struct cache_entry *newest, *oldest; /* the LRU list */
	size_t bytes, bytes_max;
	uint64_t hits, misses;
};

struct cache {
	unsigned shards_count; /* a power of two */
	struct shard shards[];
};

static uint64_t cache_hash(uint64_t file, uint64_t offset)
{
	uint64_t x = file * UINT64_C(0x9e3779b97f4a7c15) + offset;

	x = (x ^ x >> 31) * UINT64_C(0xff51afd7ed558ccd);
	return x ^ x >> 33;
}

/* The upper half of the hash picks the shard, the lower half the bucket. */
static struct shard *cache_shard_of(struct cache *c, uint64_t hash)
{
	return &c->shards[hash >> 32 & (c->shards_count - 1)];
}

static struct cache_entry **cache_shard_bucket(struct shard *s, uint64_t hash)
{
	return &s->buckets[hash & (s->buckets_count - 1)];
}

struct cache *cache_new(size_t bytes_max)
{
	unsigned count = SHARDS_MAX;
	struct cache *c;

	while (count > 1 && bytes_max / count < SHARD_BYTES_MIN)
		count /= 2;
	c = aligned_alloc(_Alignof(struct cache), sizeof(*c) + count * sizeof(struct shard));
	if (!c)
		return NULL;
	c->shards_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct shard *s = &c->shards[i];

		*s = (struct shard){.buckets_count = BUCKETS_MIN, .bytes_max = bytes_max / count};
		s->buckets = calloc(s->buckets_count, sizeof(struct cache_entry *));
		if (!s->buckets || mutex_init(&s->lock, LOCK_CACHE)) {
			free(s->buckets);
			cache_free(c);
			return NULL;
		}
		c->shards_count++; /* what cache_free() has to undo */
	}
	return c;
}

static void cache_destroy_all(struct cache_entry *dead)
{
	while (dead) {
		struct cache_entry *e = dead;

		dead = e->chain;
		e->destroy(e->value);
		free(e);
	}
}

/* ---- under the shard's lock ---- */

static void cache_lru_remove(struct shard *s, struct cache_entry *e)
{
	*(e->newer ? &e->newer->older : &s->newest) = e->older;
	*(e->older ? &e->older->newer : &s->oldest) = e->newer;
	e->newer = e->older = NULL;
}

static void cache_lru_add(struct shard *s, struct cache_entry *e)
{
	e->newer = NULL;
	e->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = e;
	s->newest = e;
}

static struct cache_entry *cache_shard_find(struct shard *s, uint64_t hash, uint64_t file,
					    uint64_t offset)
{
	struct cache_entry *e = *cache_shard_bucket(s, hash);

	while (e && (e->file != file || e->offset != offset))
		e = e->chain;
	return e;
}

static void cache_shard_take(struct shard *s, struct cache_entry *e)
{
	if (!e->references++)
		cache_lru_remove(s, e);
}

static void cache_shard_remove(struct shard *s, struct cache_entry *e)
{
	struct cache_entry **at = cache_shard_bucket(s, cache_hash(e->file, e->offset));

	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	e->chain = NULL;
	e->present = false;
	s->entries--;
}

/* Twice as many buckets; without memory for them the chains just get longer. */
static void cache_shard_grow(struct shard *s)
{
	size_t count = s->buckets_count * 2;
	struct cache_entry **old = s->buckets, **buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return;
	s->buckets = buckets;
	s->buckets_count = count;
	for (size_t i = 0; i < count / 2; i++) {
		while (old[i]) {
			struct cache_entry *e = old[i];
			struct cache_entry **to =
				cache_shard_bucket(s, cache_hash(e->file, e->offset));

			old[i] = e->chain;
			e->chain = *to;
			*to = e;
		}
	}
	free(old);
}

static void cache_shard_add(struct shard *s, uint64_t hash, struct cache_entry *e)
{
	struct cache_entry **at;

	if (s->entries >= s->buckets_count)
		cache_shard_grow(s);
	at = cache_shard_bucket(s, hash);
	e->chain = *at;
	*at = e;
	e->present = true;
	s->entries++;
}

/* `e` is in no list any more: hand it to cache_destroy_all(). */
static void cache_shard_bury(struct shard *s, struct cache_entry *e, struct cache_entry **dead)
{
	s->bytes -= e->charge;
	e->chain = *dead;
	*dead = e;
}

static void cache_shard_evict(struct shard *s, struct cache_entry **dead)
{
	while (s->bytes > s->bytes_max && s->oldest) {
		struct cache_entry *e = s->oldest;

		cache_lru_remove(s, e);
		cache_shard_remove(s, e);
		cache_shard_bury(s, e, dead);
	}
}

/* ---- */

struct cache_entry *cache_get(struct cache *c, uint64_t file, uint64_t offset)
{
	uint64_t hash = cache_hash(file, offset);
	struct shard *s = cache_shard_of(c, hash);
	struct cache_entry *e;

	mutex_lock(&s->lock);
	e = cache_shard_find(s, hash, file, offset);
	if (e) {
		cache_shard_take(s, e);
		s->hits++;
	} else {
		s->misses++;
	}
	mutex_unlock(&s->lock);
	return e;
}

struct cache_entry *cache_put(struct cache *c, uint64_t file, uint64_t offset, void *value,
			      size_t charge, void (*destroy)(void *value))
{
	uint64_t hash = cache_hash(file, offset);
	struct shard *s = cache_shard_of(c, hash);
	struct cache_entry *e = malloc(sizeof(*e)), *present, *dead = NULL;

	if (!e)
		return NULL;
	*e = (struct cache_entry){
		.file = file,
		.offset = offset,
		.value = value,
		.destroy = destroy,
		.charge = charge + sizeof(*e),
		.references = 1,
	};
	mutex_lock(&s->lock);
	present = cache_shard_find(s, hash, file, offset);
	if (present) {
		cache_shard_take(s, present);
	} else {
		s->bytes += e->charge;
		if (e->charge <= s->bytes_max) {
			cache_shard_add(s, hash, e);
			cache_shard_evict(s, &dead);
		}
	}
	mutex_unlock(&s->lock);
	cache_destroy_all(dead);
	if (!present)
		return e;
	cache_destroy_all(e);
	return present;
}

void *cache_value(struct cache_entry *e)
{
	return e->value;
}

void cache_ref(struct cache *c, struct cache_entry *e)
{
	struct shard *s = cache_shard_of(c, cache_hash(e->file, e->offset));

	mutex_lock(&s->lock);
	assert(e->references);
	e->references++;
	mutex_unlock(&s->lock);
}

void cache_release(struct cache *c, struct cache_entry *e)
{
	struct cache_entry *dead = NULL;
	struct shard *s;

	if (!e)
		return;
	s = cache_shard_of(c, cache_hash(e->file, e->offset));
	mutex_lock(&s->lock);
	assert(e->references);
	if (!--e->references) {
		if (e->present && e->charge > s->bytes_max)
			cache_shard_remove(s, e); /* the limit was lowered since */
		if (e->present)
			cache_lru_add(s, e);
		else
			cache_shard_bury(s, e, &dead);
		cache_shard_evict(s, &dead);
	}
	mutex_unlock(&s->lock);
	cache_destroy_all(dead);
}

void cache_erase(struct cache *c, uint64_t file, uint64_t offset)
{
	uint64_t hash = cache_hash(file, offset);
	struct shard *s = cache_shard_of(c, hash);
	struct cache_entry *e, *dead = NULL;

	mutex_lock(&s->lock);
	e = cache_shard_find(s, hash, file, offset);
	if (e) {
		cache_shard_remove(s, e);
		if (!e->references) {
			cache_lru_remove(s, e);
			cache_shard_bury(s, e, &dead);
		}
	}
	mutex_unlock(&s->lock);
	cache_destroy_all(dead);
}

static void cache_shard_set_limit(struct shard *s, size_t bytes_max)
{
	struct cache_entry *dead = NULL;

	mutex_lock(&s->lock);
	s->bytes_max = bytes_max;
	cache_shard_evict(s, &dead);
	mutex_unlock(&s->lock);
	cache_destroy_all(dead);
}

void cache_set_limit(struct cache *c, size_t bytes_max)
{
	for (unsigned i = 0; i < c->shards_count; i++)
		cache_shard_set_limit(&c->shards[i], bytes_max / c->shards_count);
}

void cache_stats(struct cache *c, struct cache_stats *stats)
{
	*stats = (struct cache_stats){0};
	for (unsigned i = 0; i < c->shards_count; i++) {
		struct shard *s = &c->shards[i];

		mutex_lock(&s->lock);
		stats->bytes += s->bytes;
		stats->bytes_max += s->bytes_max;
		stats->hits += s->hits;
		stats->misses += s->misses;
		mutex_unlock(&s->lock);
	}
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->shards_count; i++) {
		struct shard *s = &c->shards[i];

		cache_shard_set_limit(s, 0);
		assert(!s->entries && !s->bytes); /* or somebody still holds one */
		mutex_destroy(&s->lock);
		free(s->buckets);
	}
	free(c);
}
