/*
 * repair.h - what the parts of fs_repair() share; see repair.c.
 */
#ifndef FS_REPAIR_H
#define FS_REPAIR_H

#include "fs/check.h"

/* No inode has a number above this: so many were never given out. */
#define INO_MAX (UINT64_MAX / 4)

/* An inode that was met in several places, and the best of them. */
struct duplicate {
	uint64_t ino;
	uint64_t ctime;
	struct key at;
};

struct repair {
	struct check c;
	struct fs_repair_counts *counts;
	struct lsm_batch *b;
	uint64_t next;       /* no inode has this number or one above */
	uint64_t lost_found; /* the directory; 0: not looked for yet */
	size_t table_spots;  /* so many of the spots are of tables, the others of values */
	struct numset dups, extents, xattrs, orphans;
	struct duplicate *best; /* ordered by number */
	size_t best_count, best_room;
};

enum outcome { FIXED, SAVED, LOST };

/* Report an action to the caller of the repair, and count it. */
void repair_say(struct repair *r, enum outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Changes are collected; repair_flush() writes them, so that reading finds them. */
int repair_flush(struct repair *r);
int repair_put(struct repair *r, struct lsm_slice key, struct lsm_slice value);
int repair_drop(struct repair *r, struct lsm_slice key);

/* Attributes of something made anew, for the superuser. */
struct attr repair_attr(mode_t mode);
/* Note a directory that was made. */
int repair_add_dir(struct repair *r, uint64_t ino, uint64_t parent);
/* Give `record`, of `ino`, a name in lost+found; and a new record of `attr`. */
int repair_save(struct repair *r, uint64_t ino, struct lsm_slice record);
int repair_save_inode(struct repair *r, uint64_t ino, const struct attr *attr);

/* A record that a walk is at. */
struct at {
	struct check_walk w;
	struct lsm_slice key, value;
	struct record rec;
	const char *why; /* what is wrong with it; NULL: nothing */
};

static inline bool repair_is_own(const struct at *a)
{
	return a->w.at.bytes[0] == KEY_INODE;
}
const char *repair_path(struct repair *r, const struct at *a, char buf[CHECK_PATH_BYTES]);
/* What the name stands for goes to lost+found under a name of its own, as `record`. */
int repair_move(struct repair *r, struct at *a, struct lsm_slice record);

/* Go over the records of `kind` as they are now; `fn` also gets the bad ones, with `why`. */
typedef int record_fn(struct repair *r, struct at *a);
int repair_each(struct repair *r, enum key_kind kind, record_fn *fn);
int repair_each_inode(struct repair *r, record_fn *fn); /* 'I', then 'N' */

/* The steps; what each does is at the top of repair.c. */
record_fn repair_record, repair_parent;
int repair_orphans(struct repair *r);
int repair_owned(struct repair *r, enum key_kind kind);
int repair_rings(struct repair *r);

#endif
