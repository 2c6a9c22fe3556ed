/*
 * arena.h - memory that is allocated piece by piece and freed all at once.
 *
 * One thread allocates at a time; any thread may call arena_bytes(). A new block is a quarter
 * of the size of the whole arena, so that a small arena wastes little and a large one
 * seldom calls malloc().
 */
#ifndef LSM_ARENA_H
#define LSM_ARENA_H

#include <stdatomic.h>
#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	char *free;                 /* the unused rest of the block in use */
	size_t left;                /* bytes at `free` */
	atomic_size_t bytes;        /* of all blocks, their headers too */
};

void arena_init(struct arena *a);
void arena_release(struct arena *a);

/* `size` bytes, aligned for any pointer or u64, not zeroed. NULL: no memory, nothing changed. */
void *arena_alloc(struct arena *a, size_t size);

static inline size_t arena_bytes(const struct arena *a)
{
	return atomic_load_explicit(&a->bytes, memory_order_relaxed);
}

#endif
