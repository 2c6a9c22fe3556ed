/*
 * arena.h - memory that is handed out piece by piece and freed all at once.
 *
 * One thread allocates; any thread may ask how much is held. Blocks grow with
 * the arena, a quarter of what it holds already, so that a small arena wastes
 * little and a large one allocates seldom.
 */
#ifndef LSM_ARENA_H
#define LSM_ARENA_H

#include <stdatomic.h>
#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	char *free;                 /* what is left of the block in use */
	size_t left;
	atomic_size_t bytes; /* of all blocks, their headers too */
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
