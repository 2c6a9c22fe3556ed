/*
 * mem_node.h - the content of one file in the memory storage: the bytes that programs see, the
 * bytes that are surely on disk, and what a power cut leaves of the two. Internal to the memory
 * storage. Not thread-safe.
 */
#ifndef LSM_MEM_NODE_H
#define LSM_MEM_NODE_H

#include "tests/storage/storage_mem.h"

#define MEM_PAGE_BYTES 4096u
#define MEM_SECTOR_BYTES 512u
#define MEM_FILE_BYTES_MAX (UINT64_C(16) << 30)

struct mem_page;

struct mem_rng {
	uint64_t state;
};

static inline uint64_t mem_rng_next(struct mem_rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t mem_rng_below(struct mem_rng *rng, uint64_t below)
{
	return mem_rng_next(rng) % below;
}

struct mem_slot {
	struct mem_page *now;  /* as programs see it; NULL: a hole */
	struct mem_page *disk; /* as the disk surely has it */
	uint8_t dirty;         /* a bit per sector: the next sync makes it durable */
};

struct mem_node {
	uint64_t id;   /* in order of creation */
	unsigned refs; /* names, durable names, changes of names, handles */
	unsigned handles;
	bool linked; /* has a name now */
	bool size_dirty;
	bool lost; /* a sync failed: sectors that are not dirty may differ, too */
	uint64_t size_now, size_disk;
	struct mem_slot *slots;
	size_t slots_count, slots_room;
	size_t dirty_from, dirty_to; /* no slot outside of these is dirty */
	uint64_t pages;              /* slots that have a page now */
	uint64_t *disk_pages;        /* of its disk: the pages of all files that are live */
};

/* Whether a program can still reach it. */
static inline bool mem_node_is_live(const struct mem_node *n)
{
	return n->linked || n->handles;
}

/* Returns how many bytes there were to read. */
size_t mem_node_read(const struct mem_node *n, void *buf, size_t size, uint64_t offset);

/* All of these return 0, -ENOMEM or -EFBIG; `write` may have done a part of it then. */
int mem_node_write(struct mem_node *n, const void *data, size_t size, uint64_t offset);
int mem_node_allocate(struct mem_node *n, uint64_t size);
int mem_node_truncate(struct mem_node *n, uint64_t size);
int mem_node_punch(struct mem_node *n, uint64_t offset, uint64_t size);
int mem_node_sync(struct mem_node *n);
int mem_node_flip(struct mem_node *n, uint64_t offset, unsigned char mask);

/* A sync failed: the dirty bytes read back, but will not become durable. */
void mem_node_lose(struct mem_node *n);

/* How many bytes of a write fit when it may take no more than `pages_max` new pages. */
size_t mem_node_fits(const struct mem_node *n, size_t size, uint64_t offset, uint64_t pages_max);

void mem_node_free(struct mem_node *n);

/*
 * Give the new node `copy` the content of `n`: all of it, or as a power cut may leave it.
 * 0; -ENOMEM, and `copy` must still be freed.
 */
int mem_node_clone(const struct mem_node *n, struct mem_node *copy);
int mem_node_cut(const struct mem_node *n, enum storage_mem_keep keep, struct mem_rng *rng,
		 struct mem_node *copy);

#endif
