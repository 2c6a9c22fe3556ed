/*
 * mem_disk.h - the disk in the memory storage: its files and their names, those that are surely
 * there and those that are not yet. Internal to the memory storage. Not thread-safe.
 */
#ifndef LSM_MEM_DISK_H
#define LSM_MEM_DISK_H

#include "tests/storage/mem_node.h"

#define MEM_NAME_BYTES 56u /* with its NUL: more than any file of the tree needs */

struct mem_name {
	char name[MEM_NAME_BYTES];
	struct mem_node *node;
};

struct mem_names { /* sorted */
	struct mem_name *v;
	size_t count, room;
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
	size_t changes_count, changes_room;
	struct mem_node **nodes; /* all there are, by id */
	size_t nodes_count, nodes_room;
	uint64_t next_id;
	uint64_t pages; /* of files that have a name or a handle */
};

/* A disk starts as {0}, and is not moved. All handles must have been dropped here. */
void mem_disk_release(struct mem_disk *d);

/* Make `*out`, of any content, a copy without the handles. 0; -ENOMEM. */
int mem_disk_clone(const struct mem_disk *d, struct mem_disk *out);

/* Make `*out` what the disk may hold after a power cut now. 0; -ENOMEM. */
int mem_disk_cut(const struct mem_disk *d, enum storage_mem_keep keep, uint64_t seed,
		 struct mem_disk *out);

struct mem_node *mem_disk_find(const struct mem_disk *d, const char *name); /* NULL: none */
struct mem_node *mem_disk_by_id(const struct mem_disk *d, uint64_t id);

/* Names are checked by the caller; `create` takes one that is free. */
int mem_disk_create(struct mem_disk *d, const char *name, struct mem_node **out);
int mem_disk_rename(struct mem_disk *d, const char *from, const char *to);
int mem_disk_unlink(struct mem_disk *d, const char *name);
int mem_disk_sync_dir(struct mem_disk *d);

/* Take and drop a handle of `n`, which stays while it has one, also without a name. */
void mem_disk_take(struct mem_disk *d, struct mem_node *n);
void mem_disk_drop(struct mem_disk *d, struct mem_node *n);

#endif
