/*
 * check.h - what the parts of fs_check() share; see check.c.
 */
#ifndef FS_CHECK_H
#define FS_CHECK_H

#include "fs/core.h"
#include "fs/numset.h"

/* A directory, or an inode with a record of its own. */
struct node {
	uint64_t ino;              /* 0: a free slot */
	uint64_t parent;           /* of a directory; 0: unknown */
	uint64_t entries, subdirs; /* what the record of a directory says */
	uint64_t found_entries, found_subdirs;
	uint32_t nlink, found; /* what the record says, and names that link here */
	mode_t type;           /* 0: names were seen in it, but not it itself */
	uint8_t reach;         /* enum reach */
};
enum reach { REACH_UNKNOWN, REACH_WALKING, REACH_YES, REACH_NO };

/* Damage that lsm_verify() found. */
struct spot {
	struct key first, last; /* what may be lost; size 0: unknown */
	char *text;
};

struct check {
	struct fs *fs;
	fs_finding_fn *finding;
	void *ctx;
	struct fs_check_counts *counts;
	struct lsm_snapshot *snapshot;
	uint64_t next; /* no inode has this number */
	/* hash table by linear probing */
	struct node *nodes;
	size_t node_mask, node_count;
	struct numset seen;    /* inodes */
	struct numset extents; /* ... that may have extents */
	struct numset xattrs;  /* ... attributes */
	struct spot *spots;
	size_t spot_count;
	bool incomplete;     /* part of the names could not be read: what is missing may be there */
	unsigned slow_paths; /* paths found by reading all names */
	struct lsm_value scratch;
};

void check_say(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same of what is as it should be, and worth telling: it is not counted. */
void check_note(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct node *check_node_find(struct check *c, uint64_t ino);
/* ... or a new one; NULL: no memory. Pointers to others are then no longer good. */
struct node *check_node_get(struct check *c, uint64_t ino);

/* Going over a range of keys under the snapshot, and on behind what cannot be read. */
struct walk {
	struct check *c;
	struct lsm_iter *it;
	struct key lower, upper, at;
	int rc;
};
/* To the first key of `kind`s; walk_valid() says whether there is one. */
int walk_begin(struct walk *w, struct check *c, enum key_kind kind);
bool walk_valid(struct walk *w);
void walk_next(struct walk *w);
void walk_skip_inode(struct walk *w); /* to the next inode's keys */
int walk_end(struct walk *w);         /* 0, or why it could not go on */

/* What a check, or a repair, holds. */
void check_end(struct check *c);
/* An lsm_damage_fn: note the damage; and once paths are known, say all that was noted. */
void check_on_damage(void *ctx, const struct lsm_damage *d);
void check_say_spots(struct check *c);
/* Can the directory be reached from the root? Notes the same of all on the way. */
enum reach check_node_reach(struct check *c, uint64_t start);
/* The name of `ino` in `parent` (0: anywhere). Returns 0 and `*at` its key, or 1. */
int check_name_of(struct check *c, uint64_t ino, uint64_t parent, struct key *at);

#define CHECK_PATH_BYTES 4352u
/* The path of `name` in directory `parent`, or of the inode `ino`, as well as it can be told. */
const char *check_path_name(struct check *c, uint64_t parent, struct lsm_slice name,
			    char buf[CHECK_PATH_BYTES]);
const char *check_path_inode(struct check *c, uint64_t ino, char buf[CHECK_PATH_BYTES]);

#endif
