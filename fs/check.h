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

/* An inode that a spot names, and a name of it once that was met. */
struct wanted {
	uint64_t ino;
	struct key name; /* size 0: not met */
};

struct check {
	struct fs *fs;
	fs_finding_fn *finding;
	void *ctx;
	lsm_progress_fn *progress;
	void *progress_ctx;
	uint64_t verified, table_bytes; /* the tree's part of the progress, and ours */
	uint64_t keys, keys_total;      /* gone over, and (about) how many there are */
	bool stopped;                   /* the progress function said so */
	struct fs_check_counts *counts;
	struct lsm_snapshot *snapshot;
	uint64_t next; /* no inode has this number */
	/* hash table by linear probing */
	struct node *nodes;
	size_t node_mask, node_count;
	size_t nodes_bytes_max; /* of the table; 0: no limit */
	uint64_t nodes_from;    /* it holds those of this number on ... */
	uint64_t nodes_end;     /* ... and below this; 0: all */
	struct node stray;      /* given for the others */
	bool in_parts;          /* it could not hold all */
	bool again;             /* a later pass: findings of the first are not repeated */
	struct numset mistyped; /* inodes that a link says another type of */
	struct numset own;      /* inodes with a record of their own, not directories */
	struct numset seen;     /* inodes */
	struct numset extents;  /* ... that may have extents */
	struct numset xattrs;   /* ... attributes */
	struct spot *spots;
	size_t spot_count, spot_room, spots_max; /* spots_max 0: no limit */
	struct wanted *wanted;                   /* ascending */
	size_t wanted_count;
	bool incomplete;     /* part of the names could not be read: what is missing may be there */
	unsigned slow_paths; /* paths found by reading all names */
	struct lsm_value scratch;
};

/* So many keys at a time under one iterator. */
#define WALK_STEP 4096u
/* WALK_STEP keys were gone over. Non-zero: stop, with -EINTR. */
int check_progress(struct check *c);

/* Errors that are findings, behind which the check goes on: wrong or unreadable bytes. */
static inline bool check_is_damage(int err)
{
	return err == -EUCLEAN || err == -EIO;
}

void check_say(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for what is no finding but worth a line: it is not counted. */
void check_note(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct node *check_node_find(struct check *c, uint64_t ino);
/*
 * The node of `ino`, or a new one; NULL: no memory. Pointers to other nodes are no longer valid
 * then. When the table is full, its upper half is dropped and left for another pass. For an
 * inode that is left for another pass a node is returned that nothing looks at.
 */
struct node *check_node_get(struct check *c, uint64_t ino);
/* Empty the table, for the inodes that were left. False: none were. */
bool check_nodes_next(struct check *c);
static inline bool check_node_kept(const struct check *c, uint64_t ino)
{
	return ino >= c->nodes_from && (!c->nodes_end || ino < c->nodes_end);
}

/* Goes over a range of keys under the snapshot, and on behind what cannot be read. */
struct check_walk {
	struct check *c;
	struct lsm_iter *it;
	struct key lower, upper, at;
	unsigned keys; /* under this iterator */
	int err;
};
/* To the first key of `kind`s; check_walk_valid() says whether there is one. */
int check_walk_begin(struct check_walk *w, struct check *c, enum key_kind kind);
bool check_walk_valid(struct check_walk *w);
void check_walk_next(struct check_walk *w);
void check_walk_skip_inode(struct check_walk *w); /* to the next inode's keys */
int check_walk_end(struct check_walk *w);         /* 0, or why it could not go on */

/* The inodes whose names will be asked for: those of the spots. -ENOMEM. */
int check_want_names(struct check *c);
void check_name_met(struct check *c, uint64_t ino, const struct key *name);
/* Release what a check or a repair holds. */
void check_end(struct check *c);
/* An lsm_damage_fn: note the damage. check_say_spots() reports all of it, once paths are known. */
void check_on_damage(void *ctx, const struct lsm_damage *d);
void check_say_spots(struct check *c);
/* Can the directory be reached from the root? Notes the same of all on the way. */
enum reach check_node_reach(struct check *c, uint64_t start);
/* Find the name of `ino` in `parent` (0: anywhere). True: `*at` is its key. */
bool check_name_of(struct check *c, uint64_t ino, uint64_t parent, struct key *at);

#define CHECK_PATH_BYTES 4352u
/*
 * The path of `name` in directory `parent`, or of the inode `ino`. Where it is not known it begins
 * with the number of an inode.
 */
const char *check_path_name(struct check *c, uint64_t parent, struct lsm_slice name,
			    char buf[CHECK_PATH_BYTES]);
const char *check_path_inode(struct check *c, uint64_t ino, char buf[CHECK_PATH_BYTES]);

#endif
