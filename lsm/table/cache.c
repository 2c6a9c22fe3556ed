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
 * An entry is destroyed when it is neither in the hash table nor referenced. Only
 * idle entries can be evicted, the longest unused first. The others are not in the
 * LRU list, so the victim is always its last element. An entry larger than its whole
 * shard would push out all others, so it is returned to the caller as an erased one.
 *
 * The charge of an entry counts from when it is put until it is destroyed.
 * Values are destroyed outside of the lock, because destroying an open table closes a file.
 *
 * cache_valid() checks all of this. In builds with assertions a shard checks itself after
 * a number of insertions that makes the check cheap beside them.
 */
#include "lsm/table/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lsm/base/lock.h"

#define SHARDS_MAX 16u
/* A shard below this holds too few tables and blocks to be worth a lock of its own. */
#define SHARD_BYTES_MIN ((size_t)4 << 20)
#define BUCKETS_MIN 64u
/* A check visits every entry and bucket. With so many insertions for each it takes no time. */
#define INSERTIONS_PER_CHECK 64u

struct cache_entry {
	uint64_t file, offset; /* constant, as are the next three */
	void *value;
	void (*destroy)(void *value);
	size_t charge;
	/* ---- guarded by the shard's lock ---- */
	struct cache_entry *chain;     /* next in its bucket, or in a list of the dead */
	TAILQ_ENTRY(cache_entry) link; /* in the LRU list */
	unsigned references;
	bool present; /* in the hash table */
};

TAILQ_HEAD(cache_lru, cache_entry);

struct cache_shard {
	_Alignas(64) struct mutex lock;
	/* ---- guarded by it ---- */
	struct cache_entry **buckets;
	size_t buckets_count; /* a power of two */
	size_t entries;       /* in the buckets */
	struct cache_lru lru; /* newest first */
	size_t bytes;         /* charges of all entries that are not destroyed */
	size_t erased_bytes;  /* of these, the charges of the erased ones */
	size_t bytes_max;
	size_t insertions; /* since the last check */
	uint64_t hits, misses;
};

struct cache {
	unsigned shards_count; /* a power of two */
	struct cache_shard shards[];
};

static uint64_t cache_hash(uint64_t file, uint64_t offset)
{
	uint64_t x = file * UINT64_C(0x9e3779b97f4a7c15) + offset;

	x = (x ^ x >> 31) * UINT64_C(0xff51afd7ed558ccd);
	return x ^ x >> 33;
}

/* The upper half of the hash picks the shard, the lower half the bucket. */
static struct cache_shard *cache_shard_of(struct cache *c, uint64_t hash)
{
	return &c->shards[hash >> 32 & (c->shards_count - 1)];
}

static struct cache_entry **cache_shard_bucket(struct cache_shard *s, uint64_t hash)
{
	return &s->buckets[hash & (s->buckets_count - 1)];
}

struct cache *cache_new(size_t bytes_max)
{
	unsigned count = SHARDS_MAX;
	struct cache *c;

	while (count > 1 && bytes_max / count < SHARD_BYTES_MIN)
		count /= 2;
	c = aligned_alloc(_Alignof(struct cache), sizeof(*c) + count * sizeof(struct cache_shard));
	if (!c)
		return NULL;
	c->shards_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct cache_shard *s = &c->shards[i];

		*s = (struct cache_shard){.buckets_count = BUCKETS_MIN,
					  .bytes_max = bytes_max / count};
		TAILQ_INIT(&s->lru);
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

/* ---- under the lock of the shard ---- */

static struct cache_entry *cache_shard_find(struct cache_shard *s, uint64_t hash, uint64_t file,
					    uint64_t offset) REQUIRES(s->lock)
{
	struct cache_entry *e = *cache_shard_bucket(s, hash);

	while (e && (e->file != file || e->offset != offset))
		e = e->chain;
	return e;
}

static void cache_shard_take(struct cache_shard *s, struct cache_entry *e) REQUIRES(s->lock)
{
	if (!e->references++)
		TAILQ_REMOVE(&s->lru, e, link);
}

static void cache_shard_remove(struct cache_shard *s, struct cache_entry *e) REQUIRES(s->lock)
{
	struct cache_entry **at = cache_shard_bucket(s, cache_hash(e->file, e->offset));

	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	e->chain = NULL;
	e->present = false;
	s->entries--;
	s->erased_bytes += e->charge;
}

/* Make twice as many buckets. Without memory for them the chains only get longer. */
static void cache_shard_grow(struct cache_shard *s) REQUIRES(s->lock)
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

static void cache_shard_add(struct cache_shard *s, uint64_t hash, struct cache_entry *e)
	REQUIRES(s->lock)
{
	struct cache_entry **at;

	if (s->entries >= s->buckets_count)
		cache_shard_grow(s);
	at = cache_shard_bucket(s, hash);
	e->chain = *at;
	assert(!e->present);
	*at = e;
	e->present = true;
	s->entries++;
}

/* Add `e`, which is erased and not referenced, to the list that cache_destroy_all() takes. */
static void cache_shard_bury(struct cache_shard *s, struct cache_entry *e,
			     struct cache_entry **dead) REQUIRES(s->lock)
{
	assert(!e->present && !e->references);
	s->bytes -= e->charge;
	s->erased_bytes -= e->charge;
	e->chain = *dead;
	*dead = e;
}

static void cache_shard_evict(struct cache_shard *s, struct cache_entry **dead) REQUIRES(s->lock)
{
	struct cache_entry *e;

	while (s->bytes > s->bytes_max && (e = TAILQ_LAST(&s->lru, cache_lru))) {
		assert(!e->references && e->present);
		TAILQ_REMOVE(&s->lru, e, link);
		cache_shard_remove(s, e);
		cache_shard_bury(s, e, dead);
	}
}

/* Whether the shard is as the top of this file says; if not, `*why` says what is wrong. */
static bool cache_shard_valid(const struct cache_shard *s, const char **why) REQUIRES(s->lock)
{
	size_t entries = 0, idle = 0, bytes = 0;
	const struct cache_entry *e;

	*why = "an entry is in the wrong bucket";
	for (size_t i = 0; i < s->buckets_count; i++)
		for (e = s->buckets[i]; e; e = e->chain) {
			if ((cache_hash(e->file, e->offset) & (s->buckets_count - 1)) != i)
				return false;
			entries++;
			idle += !e->references;
			bytes += e->charge;
		}
	*why = "the buckets do not hold as many entries as are counted";
	if (entries != s->entries)
		return false;
	*why = "the charges do not add up";
	if (bytes + s->erased_bytes != s->bytes)
		return false;
	*why = "the LRU list holds an entry that is in use or erased";
	TAILQ_FOREACH(e, &s->lru, link)
	{
		if (e->references || !e->present || !idle)
			return false;
		idle--;
	}
	*why = "the LRU list lacks an idle entry";
	if (idle)
		return false;
	*why = "idle entries are kept beyond the limit";
	if (bytes > s->bytes_max && !TAILQ_EMPTY(&s->lru))
		return false;
	*why = NULL;
	return true;
}

/* In builds with assertions: check the shard, if `now` or after enough insertions. */
static void cache_shard_check(struct cache_shard *s, bool now) REQUIRES(s->lock)
{
	const char *why = NULL;

	if (!now && s->insertions < INSERTIONS_PER_CHECK * (s->entries + s->buckets_count))
		return;
	s->insertions = 0;
	assert(cache_shard_valid(s, &why));
	(void)why;
}

/* ---- the calls ---- */

bool cache_valid(struct cache *c, const char **why)
{
	bool valid = true;

	*why = NULL;
	for (unsigned i = 0; valid && i < c->shards_count; i++) {
		struct cache_shard *s = &c->shards[i];

		mutex_lock(&s->lock);
		valid = cache_shard_valid(s, why);
		mutex_unlock(&s->lock);
	}
	return valid;
}

struct cache_entry *cache_get(struct cache *c, uint64_t file, uint64_t offset)
{
	uint64_t hash = cache_hash(file, offset);
	struct cache_shard *s = cache_shard_of(c, hash);
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
	struct cache_shard *s = cache_shard_of(c, hash);
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
		} else {
			s->erased_bytes += e->charge;
		}
		s->insertions++;
		cache_shard_check(s, false);
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
	struct cache_shard *s = cache_shard_of(c, cache_hash(e->file, e->offset));

	mutex_lock(&s->lock);
	assert(e->references);
	e->references++;
	mutex_unlock(&s->lock);
}

void cache_release(struct cache *c, struct cache_entry *e)
{
	struct cache_entry *dead = NULL;
	struct cache_shard *s;

	if (!e)
		return;
	s = cache_shard_of(c, cache_hash(e->file, e->offset));
	mutex_lock(&s->lock);
	assert(e->references);
	if (!--e->references) {
		if (e->present && e->charge > s->bytes_max)
			cache_shard_remove(s, e); /* the limit was lowered since */
		if (e->present)
			TAILQ_INSERT_HEAD(&s->lru, e, link);
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
	struct cache_shard *s = cache_shard_of(c, hash);
	struct cache_entry *e, *dead = NULL;

	mutex_lock(&s->lock);
	e = cache_shard_find(s, hash, file, offset);
	if (e) {
		cache_shard_remove(s, e);
		if (!e->references) {
			TAILQ_REMOVE(&s->lru, e, link);
			cache_shard_bury(s, e, &dead);
		}
	}
	mutex_unlock(&s->lock);
	cache_destroy_all(dead);
}

static void cache_shard_set_limit(struct cache_shard *s, size_t bytes_max)
{
	struct cache_entry *dead = NULL;

	mutex_lock(&s->lock);
	s->bytes_max = bytes_max;
	cache_shard_evict(s, &dead);
	cache_shard_check(s, true);
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
		struct cache_shard *s = &c->shards[i];

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
		struct cache_shard *s = &c->shards[i];

		cache_shard_set_limit(s, 0);
		assert(!s->entries && !s->bytes); /* or a reference was not dropped */
		mutex_destroy(&s->lock);
		free(s->buckets);
	}
	free(c);
}
