/*
 * mem_disk.h - the disk in the memory storage: names, files, and for each what
 * is surely there and what is not yet. Not thread-safe; internal to the memory storage.
 */
#ifndef LSM_MEM_DISK_H
#define LSM_MEM_DISK_H

#include "tests/storage/storage_mem.h"

#define MEM_PAGE_BYTES 4096u
#define MEM_SECTOR_BYTES 512u
#define MEM_NAME_BYTES 56u /* with its NUL: more than any file of the tree needs */
#define MEM_FILE_BYTES_MAX (UINT64_C(16) << 30)

struct mem_page;

struct mem_rng {
	uint64_t state;
};

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
	size_t slots_count, slots_capacity;
	size_t dirty_from, dirty_to; /* no slot outside of these is dirty */
	uint64_t pages;              /* slots that have a page now */
};

struct mem_name {
	char name[MEM_NAME_BYTES];
	struct mem_node *node;
};

struct mem_names { /* sorted */
	struct mem_name *v;
	size_t count, capacity;
};

enum mem_change_kind { MEM_CREATED, MEM_RENAMED, MEM_UNLINKED };

struct mem_change { /* of a name, since the last sync of the directory */
	enum mem_change_kind kind;
	struct mem_node *node;
	char name[MEM_NAME_BYTES]; /* the new one; of MEM_UNLINKED the old one */
};

struct mem_disk {
	struct mem_names now, durable;
	struct mem_change *changes;
	size_t changes_count, changes_capacity;
	struct mem_node **nodes; /* all there are, by id */
	size_t nodes_count, nodes_capacity;
	uint64_t next_id;
	uint64_t pages; /* of files that have a name or a handle */
};

/* Starts as {0}. Handles must have been dropped. */
void mem_disk_release(struct mem_disk *d);

/* A copy in every respect, but without handles; `*out` need not be initialized. 0; -ENOMEM. */
int mem_disk_clone(const struct mem_disk *d, struct mem_disk *out);

/* What the disk may hold after a power cut now. 0; -ENOMEM. */
int mem_disk_settle(const struct mem_disk *d, enum storage_mem_keep keep, uint64_t seed,
		    struct mem_disk *out);

struct mem_node *mem_disk_find(const struct mem_disk *d, const char *name); /* NULL: none */
struct mem_node *mem_disk_by_id(const struct mem_disk *d, uint64_t id);

/* Names are checked by the caller; `create` takes one that is free. */
int mem_disk_create(struct mem_disk *d, const char *name, struct mem_node **out);
int mem_disk_rename(struct mem_disk *d, const char *from, const char *to);
int mem_disk_unlink(struct mem_disk *d, const char *name);
int mem_disk_sync_dir(struct mem_disk *d);

/* A node with a handle stays while nothing names it. */
void mem_node_take(struct mem_disk *d, struct mem_node *n);
void mem_node_drop(struct mem_disk *d, struct mem_node *n);

size_t mem_node_read(const struct mem_node *n, void *buf, size_t size, uint64_t offset);

/* All of these return 0, -ENOMEM or -EFBIG; `write` may have done a part of it then. */
int mem_node_write(struct mem_disk *d, struct mem_node *n, const void *data, size_t size,
		   uint64_t offset);
int mem_node_allocate(struct mem_disk *d, struct mem_node *n, uint64_t size);
int mem_node_truncate(struct mem_disk *d, struct mem_node *n, uint64_t size);
int mem_node_punch(struct mem_disk *d, struct mem_node *n, uint64_t offset, uint64_t size);
int mem_node_sync(struct mem_node *n);
int mem_node_flip(struct mem_disk *d, struct mem_node *n, uint64_t offset, unsigned char mask);

/* A sync failed: what was dirty reads back but will not become durable. */
void mem_node_lose(struct mem_node *n);

/* How many bytes of a write fit when it may take no more than `pages_max` new pages. */
size_t mem_node_fits(const struct mem_node *n, size_t size, uint64_t offset, uint64_t pages_max);

/* For mem_disk.c: `copy` is a new node, and whatever it got is freed with it. */
void mem_node_free(struct mem_node *n);
int mem_node_clone(const struct mem_node *n, struct mem_node *copy);
int mem_node_settle(const struct mem_node *n, enum storage_mem_keep keep, struct mem_rng *rng,
		    struct mem_node *copy);

static inline bool mem_node_is_live(const struct mem_node *n)
{
	return n->linked || n->handles;
}

/* Make room in the array `*v` for `want` elements of `size` bytes. 0; -ENOMEM. */
int mem_grow(void *v, size_t *capacity, size_t want, size_t size);

uint64_t mem_rng_next(struct mem_rng *rng);
uint64_t mem_rng_below(struct mem_rng *rng, uint64_t below); /* > 0 */

#endif
