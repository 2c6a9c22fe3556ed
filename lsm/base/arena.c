/*
 * arena.c - a list of blocks from malloc(), each of which is used up from front to back.
 */
#include "lsm/base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#define ARENA_ALIGN 8u

/*
 * The first blocks are 4 KiB, so that a memtable of 8 KiB in a test holds about that. The
 * largest are 1 MiB, a size that free() returns to the system.
 */
#define ARENA_BLOCK_BYTES_MIN 4096u
#define ARENA_BLOCK_BYTES_MAX (1u << 20)

struct arena_block {
	struct arena_block *next;
	_Alignas(ARENA_ALIGN) char bytes[];
};

void arena_init(struct arena *a)
{
	a->blocks = NULL;
	a->free = NULL;
	a->left = 0;
	atomic_init(&a->bytes, 0);
}

void arena_release(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
	arena_init(a);
}

static struct arena_block *arena_add_block(struct arena *a, size_t total)
{
	struct arena_block *block = malloc(total);

	if (!block)
		return NULL;
	block->next = a->blocks;
	a->blocks = block;
	atomic_fetch_add_explicit(&a->bytes, total, memory_order_relaxed);
	return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t total = arena_bytes(a) / 4;
	struct arena_block *block;
	void *p;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (size > a->left) {
		if (total < ARENA_BLOCK_BYTES_MIN)
			total = ARENA_BLOCK_BYTES_MIN;
		if (total > ARENA_BLOCK_BYTES_MAX)
			total = ARENA_BLOCK_BYTES_MAX;
		/* Something large gets a block of its own; the one in use stays in use. */
		if (size > total / 4) {
			block = arena_add_block(a, sizeof(*block) + size);
			return block ? block->bytes : NULL;
		}
		block = arena_add_block(a, total);
		if (!block)
			return NULL;
		a->free = block->bytes;
		a->left = total - sizeof(*block);
	}
	assert(size <= a->left);
	p = a->free;
	a->free += size;
	a->left -= size;
	return p;
}
