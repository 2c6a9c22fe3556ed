/*
 * memtable.c - the newest writes, in memory.
 *
 * Entries are nodes of a skip list, each one allocation from the arena: its
 * pointers, then the internal key, then the value:
 *
 *   value_size key_size height prev | next[0] .. next[height - 1] | user key, trailer | value
 *
 * A node is complete before the first pointer to it is stored (with
 * release order). While the memtable lives, a node is not freed, and only its pointers to
 * other nodes change. So readers need no lock: a node that they reach with acquire
 * loads is complete. A reader may meet a node on a low level that the writer
 * has not linked on the higher ones yet. That only costs the reader a few steps.
 *
 * `prev` leads back on the lowest level. It is stored last, so a reader going
 * backwards may miss a node that is being added. Its sequence is not
 * published yet, so the reader would skip it anyway.
 *
 * Keys mostly arrive in groups of neighbours (the names of one directory, the extents of one
 * file), so the writer remembers the place of the last insertion, the finger:
 * on every level, the last node before it or at it. The search for the place of the next key
 * climbs from the finger only as many levels as the distance needs. A search from the
 * head would walk down all levels. Ascending keys cost one comparison each.
 *
 * Range tombstones are few. They are in arrays of 16, 32, 64, ... in the order of their
 * insertion. The count is stored last, with release order. A look-up
 * goes through all of them, newest first, unless the key is outside of them all.
 */
#include "lsm/memtable.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lsm/base/arena.h"

/* One node in four is on the next level: 12 levels are enough for 16 million entries. */
#define HEIGHT_MAX 12
#define BRANCH_BITS 2

/* Farther than this (some 4^4 entries) the head is as good a start as the finger. */
#define FINGER_LEVELS 4

#define RANGE_CHUNKS_MAX 28
#define RANGE_CHUNK_FIRST 16u

struct node {
	uint32_t value_size;
	uint16_t key_size; /* of the internal key */
	uint8_t height;
	_Atomic(struct node *) prev; /* the head before the first */
	_Atomic(struct node *) next[];
};

struct range {
	uint64_t sequence;
	struct lsm_slice start, end; /* in the arena */
};

/* No tombstone starts below `start` or ends above `end`. Replaced, never changed. */
struct bounds {
	struct lsm_slice start, end;
};

struct memtable {
	atomic_uint refs;
	struct arena arena;
	atomic_size_t entries;

	/* The writer's own. */
	uint64_t random;
	struct node *finger[HEIGHT_MAX];

	/* Read by all, changed by the writer. */
	atomic_uint height; /* of the highest node */
	struct node *head;  /* HEIGHT_MAX pointers, no key; before every entry */
	atomic_size_t ranges;
	struct range *range_chunks[RANGE_CHUNKS_MAX];
	_Atomic(struct bounds *) bounds;
};

struct memtable *memtable_new(void)
{
	struct memtable *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	arena_init(&m->arena);
	m->head =
		arena_alloc(&m->arena, sizeof(struct node) + HEIGHT_MAX * sizeof(m->head->next[0]));
	if (!m->head) {
		free(m);
		return NULL;
	}
	*m->head = (struct node){.height = HEIGHT_MAX};
	for (unsigned i = 0; i < HEIGHT_MAX; i++) {
		atomic_init(&m->head->next[i], NULL);
		m->finger[i] = m->head;
	}
	atomic_init(&m->refs, 1);
	atomic_init(&m->entries, 0);
	atomic_init(&m->height, 1);
	atomic_init(&m->ranges, 0);
	atomic_init(&m->bounds, NULL);
	m->random = UINT64_C(0x9e3779b97f4a7c15);
	return m;
}

void memtable_ref(struct memtable *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

void memtable_unref(struct memtable *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_release(&m->arena);
	free(m);
}

size_t memtable_bytes(const struct memtable *m)
{
	return sizeof(*m) + arena_bytes(&m->arena);
}

size_t memtable_entries(const struct memtable *m)
{
	return atomic_load_explicit(&m->entries, memory_order_relaxed);
}

size_t memtable_ranges(const struct memtable *m)
{
	return atomic_load_explicit(&m->ranges, memory_order_relaxed);
}

/* ---- the skip list ---- */

static uint8_t *memtable_node_bytes(const struct node *n)
{
	return (uint8_t *)&n->next[n->height];
}

static struct lsm_slice memtable_node_key(const struct node *n)
{
	return (struct lsm_slice){memtable_node_bytes(n), n->key_size};
}

static struct lsm_slice memtable_node_value(const struct node *n)
{
	return (struct lsm_slice){memtable_node_bytes(n) + n->key_size, n->value_size};
}

static struct node *memtable_node_next(const struct node *n, unsigned level)
{
	return atomic_load_explicit(&n->next[level], memory_order_acquire);
}

/* The key of a search: an internal key in two parts, which need not be put together. */
struct target {
	struct lsm_slice user;
	uint64_t trailer;
};

/* As ikey_compare(node's key, target). */
static int memtable_node_compare(const struct node *n, const struct target *t)
{
	struct lsm_slice key = memtable_node_key(n);
	int c = slice_compare(ikey_user(key), t->user);
	uint64_t trailer;

	if (c)
		return c;
	trailer = ikey_get_trailer(key);
	return (trailer < t->trailer) - (trailer > t->trailer);
}

/*
 * The last node below `t` (or_equal: or at it), or the head. The search starts from `from`, the
 * head or another node below `t`, on `level`, and goes down to level 0.
 * `path`, if not NULL, gets the last such node of each level. `*after` is the node
 * that followed the result. Loading it again could find a newer node, below `t`.
 */
static struct node *memtable_find_before(struct node *from, unsigned level, const struct target *t,
					 bool or_equal, struct node **path, struct node **after)
{
	struct node *n = from;

	*after = NULL; /* from here on, a node past `t` that need not be compared again */
	for (;;) {
		struct node *next = memtable_node_next(n, level);

		/* Where it goes on if `next` is too far: let the two cache misses overlap. */
		if (level)
			__builtin_prefetch(memtable_node_next(n, level - 1));
		if (next && next != *after && memtable_node_compare(next, t) < (or_equal ? 1 : 0)) {
			n = next;
			continue;
		}
		*after = next;
		if (path)
			path[level] = n;
		if (level-- == 0)
			return n;
	}
}

static unsigned memtable_height(const struct memtable *m)
{
	return atomic_load_explicit(&m->height, memory_order_relaxed);
}

/* The last node before `t`, or the head. */
static struct node *memtable_seek_before(const struct memtable *m, const struct target *t,
					 bool or_equal)
{
	struct node *after;

	return memtable_find_before(m->head, memtable_height(m) - 1, t, or_equal, NULL, &after);
}

/* The first node at or after `t`, or NULL. */
static struct node *memtable_seek_node(const struct memtable *m, const struct target *t)
{
	struct node *after;

	memtable_find_before(m->head, memtable_height(m) - 1, t, false, NULL, &after);
	return after;
}

/* Move the finger to the place of `t`: on each level, the last node before it. */
static void memtable_finger_seek(struct memtable *m, const struct target *t)
{
	struct node *at = m->finger[0], *after;
	unsigned height = memtable_height(m), level = 0;

	if (at == m->head || memtable_node_compare(at, t) < 0) {
		/* Every finger is before `t`. Climb until the next node is not. */
		while (level < height && level < FINGER_LEVELS) {
			struct node *next = memtable_node_next(m->finger[level], level);

			if (!next || memtable_node_compare(next, t) >= 0)
				break;
			level++;
		}
	} else {
		/* No finger's next node is before `t`. Climb until the finger is. */
		for (level = 1; level < height && level < FINGER_LEVELS; level++)
			if (m->finger[level] == m->head ||
			    memtable_node_compare(m->finger[level], t) < 0)
				break;
	}
	if (level == 0)
		return;
	if (level < height && level < FINGER_LEVELS)
		memtable_find_before(m->finger[level], level, t, false, m->finger, &after);
	else
		memtable_find_before(m->head, height - 1, t, false, m->finger, &after);
}

static unsigned memtable_random_height(struct memtable *m)
{
	uint64_t x = m->random;
	unsigned height;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	m->random = x;
	/* The top bit set bounds the count of zeros. */
	height = 1 + (unsigned)__builtin_ctzll(x >> 20 | UINT64_C(1) << 40) / BRANCH_BITS;
	return height < HEIGHT_MAX ? height : HEIGHT_MAX;
}

static struct node *memtable_node_new(struct memtable *m, const struct target *t,
				      struct lsm_slice value)
{
	unsigned height = memtable_random_height(m);
	size_t pointers = height * sizeof(m->head->next[0]);
	size_t key_size = t->user.size + IKEY_TRAILER_BYTES;
	struct node *n = arena_alloc(&m->arena, sizeof(*n) + pointers + key_size + value.size);
	uint8_t *p;

	if (!n)
		return NULL;
	n->value_size = (uint32_t)value.size;
	n->key_size = (uint16_t)key_size;
	n->height = (uint8_t)height;
	p = memtable_node_bytes(n);
	memcpy(p, t->user.data, t->user.size);
	put_u64(p + t->user.size, t->trailer);
	if (value.size)
		memcpy(p + key_size, value.data, value.size);
	return n;
}

int memtable_add(struct memtable *m, uint64_t sequence, enum ikey_type type, struct lsm_slice key,
		 struct lsm_slice value)
{
	struct target t = {key, ikey_trailer(sequence, type)};
	struct node *n, *after;

	assert(key.size && key.size <= LSM_KEY_BYTES_MAX && value.size <= UINT32_MAX);
	assert(sequence <= SEQUENCE_MAX);
	n = memtable_node_new(m, &t, value);
	if (!n)
		return -ENOMEM;
	memtable_finger_seek(m, &t);
	/* Above the height of the list the fingers are at the head, which is right. */
	for (unsigned i = 0; i < n->height; i++)
		atomic_init(&n->next[i], memtable_node_next(m->finger[i], i));
	atomic_init(&n->prev, m->finger[0]);
	after = memtable_node_next(n, 0);
	for (unsigned i = 0; i < n->height; i++) {
		atomic_store_explicit(&m->finger[i]->next[i], n, memory_order_release);
		m->finger[i] = n;
	}
	if (after)
		atomic_store_explicit(&after->prev, n, memory_order_release);
	/* A reader that sees the old height still sees every node, on a lower level. */
	if (n->height > memtable_height(m))
		atomic_store_explicit(&m->height, n->height, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->entries, 1, memory_order_relaxed);
	return 0;
}

bool memtable_get(const struct memtable *m, struct lsm_slice key, uint64_t sequence,
		  enum ikey_type *type, uint64_t *entry_sequence, struct lsm_slice *value)
{
	struct target t = {key, ikey_trailer(sequence, IKEY_TYPE_MAX)};
	const struct node *n = memtable_seek_node(m, &t);

	*type = IKEY_DELETE;
	*entry_sequence = 0;
	*value = (struct lsm_slice){NULL, 0};
	if (!n || slice_compare(ikey_user(memtable_node_key(n)), key))
		return false;
	*type = ikey_type(memtable_node_key(n));
	*entry_sequence = ikey_sequence(memtable_node_key(n));
	*value = memtable_node_value(n);
	return true;
}

/* ---- range tombstones ---- */

static struct range *memtable_range_at(const struct memtable *m, size_t i)
{
	size_t n = i / RANGE_CHUNK_FIRST + 1;
	unsigned chunk = 63 - (unsigned)__builtin_clzll(n);

	return m->range_chunks[chunk] + (i - (((size_t)1 << chunk) - 1) * RANGE_CHUNK_FIRST);
}

/* Make room for tombstone `i`. 0; -ENOMEM. */
static int memtable_range_reserve(struct memtable *m, size_t i)
{
	unsigned chunk = 63 - (unsigned)__builtin_clzll(i / RANGE_CHUNK_FIRST + 1);
	size_t size;

	if (chunk >= RANGE_CHUNKS_MAX)
		return -ENOMEM;
	if (m->range_chunks[chunk])
		return 0;
	size = ((size_t)RANGE_CHUNK_FIRST << chunk) * sizeof(struct range);
	m->range_chunks[chunk] = arena_alloc(&m->arena, size);
	return m->range_chunks[chunk] ? 0 : -ENOMEM;
}

/* Publish wider bounds if [start, end) is not within the old ones. 0; -ENOMEM. */
static int memtable_bounds_widen(struct memtable *m, struct lsm_slice start, struct lsm_slice end)
{
	const struct bounds *old = atomic_load_explicit(&m->bounds, memory_order_relaxed);
	struct bounds *new;

	if (old && slice_compare(start, old->start) >= 0 && slice_compare(end, old->end) <= 0)
		return 0;
	new = arena_alloc(&m->arena, sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = (struct bounds){start, end};
	if (old && slice_compare(old->start, start) < 0)
		new->start = old->start;
	if (old && slice_compare(old->end, end) > 0)
		new->end = old->end;
	atomic_store_explicit(&m->bounds, new, memory_order_release);
	return 0;
}

int memtable_add_range(struct memtable *m, uint64_t sequence, struct lsm_slice start,
		       struct lsm_slice end)
{
	size_t i = memtable_ranges(m);
	char *bytes;

	assert(end.size && slice_compare(start, end) < 0 && sequence <= SEQUENCE_MAX);
	if (memtable_range_reserve(m, i))
		return -ENOMEM;
	bytes = arena_alloc(&m->arena, start.size + end.size);
	if (!bytes)
		return -ENOMEM;
	if (start.size)
		memcpy(bytes, start.data, start.size);
	memcpy(bytes + start.size, end.data, end.size);
	start.data = bytes;
	end.data = bytes + start.size;
	if (memtable_bounds_widen(m, start, end))
		return -ENOMEM;
	*memtable_range_at(m, i) = (struct range){sequence, start, end};
	atomic_store_explicit(&m->ranges, i + 1, memory_order_release);
	return 0;
}

uint64_t memtable_covering(const struct memtable *m, struct lsm_slice key, uint64_t sequence)
{
	size_t count = atomic_load_explicit(&m->ranges, memory_order_acquire);
	const struct bounds *bounds;
	uint64_t best = 0;

	if (!count)
		return 0;
	/* They were stored before the count, so they hold all tombstones that were counted. */
	bounds = atomic_load_explicit(&m->bounds, memory_order_acquire);
	if (slice_compare(key, bounds->start) < 0 || slice_compare(key, bounds->end) >= 0)
		return 0;
	/* Newest first: after the first hit the sequence alone rules out the others. */
	while (count-- > 0) {
		const struct range *r = memtable_range_at(m, count);

		if (r->sequence > best && r->sequence <= sequence &&
		    slice_compare(key, r->start) >= 0 && slice_compare(key, r->end) < 0)
			best = r->sequence;
	}
	return best;
}

int memtable_each_range(const struct memtable *m, memtable_range_fn *fn, void *ctx)
{
	size_t count = atomic_load_explicit(&m->ranges, memory_order_acquire);

	for (size_t i = 0; i < count; i++) {
		const struct range *r = memtable_range_at(m, i);
		int err = fn(ctx, r->sequence, r->start, r->end);

		if (err)
			return err;
	}
	return 0;
}

/* ---- the iterator ---- */

struct memtable_iter {
	struct iter iter;
	const struct memtable *m;
	const struct node *node;
};

static void memtable_iter_set(struct memtable_iter *mi, const struct node *n)
{
	mi->node = n == mi->m->head ? NULL : n;
	mi->iter.valid = mi->node != NULL;
	mi->iter.key = mi->node ? memtable_node_key(mi->node) : (struct lsm_slice){NULL, 0};
	mi->iter.value = mi->node ? memtable_node_value(mi->node) : (struct lsm_slice){NULL, 0};
}

static struct target memtable_target_of(struct lsm_slice ikey)
{
	return (struct target){ikey_user(ikey), ikey_get_trailer(ikey)};
}

static void memtable_iter_seek(struct iter *it, struct lsm_slice ikey)
{
	struct memtable_iter *mi = (struct memtable_iter *)it;
	struct target t = memtable_target_of(ikey);

	memtable_iter_set(mi, memtable_seek_node(mi->m, &t));
}

static void memtable_iter_seek_prev(struct iter *it, struct lsm_slice ikey)
{
	struct memtable_iter *mi = (struct memtable_iter *)it;
	struct target t = memtable_target_of(ikey);

	memtable_iter_set(mi, memtable_seek_before(mi->m, &t, true));
}

static void memtable_iter_first(struct iter *it)
{
	struct memtable_iter *mi = (struct memtable_iter *)it;

	memtable_iter_set(mi, memtable_node_next(mi->m->head, 0));
}

static void memtable_iter_last(struct iter *it)
{
	struct memtable_iter *mi = (struct memtable_iter *)it;
	const struct node *n = mi->m->head, *next;

	for (unsigned level = memtable_height(mi->m); level-- > 0;)
		while ((next = memtable_node_next(n, level)))
			n = next;
	memtable_iter_set(mi, n);
}

static void memtable_iter_next(struct iter *it)
{
	struct memtable_iter *mi = (struct memtable_iter *)it;

	assert(it->valid);
	memtable_iter_set(mi, memtable_node_next(mi->node, 0));
}

static void memtable_iter_prev(struct iter *it)
{
	struct memtable_iter *mi = (struct memtable_iter *)it;

	assert(it->valid);
	memtable_iter_set(mi, atomic_load_explicit(&mi->node->prev, memory_order_acquire));
}

static void memtable_iter_free(struct iter *it)
{
	free(it);
}

static const struct iter_ops memtable_iter_ops = {
	.seek = memtable_iter_seek,
	.seek_prev = memtable_iter_seek_prev,
	.first = memtable_iter_first,
	.last = memtable_iter_last,
	.next = memtable_iter_next,
	.prev = memtable_iter_prev,
	.free = memtable_iter_free,
};

struct iter *memtable_iter(struct memtable *m)
{
	struct memtable_iter *mi = calloc(1, sizeof(*mi));

	if (!mi)
		return NULL;
	mi->iter.ops = &memtable_iter_ops;
	mi->m = m;
	return &mi->iter;
}
