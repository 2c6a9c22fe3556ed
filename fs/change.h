/*
 * change.h - one inode's attributes and record. See the top of change.c.
 */
#ifndef FS_CHANGE_H
#define FS_CHANGE_H

#include "fs/inode.h"
#include "fs/time.h"

/* ---- the record; REQUIRES: the inode's lock, shared for reading ---- */

void inode_stat(const struct inode *inode, struct stat *st) REQUIRES_SHARED(*inode);

/* The key of its record; not when NAMELESS. */
struct lsm_slice inode_key(const struct inode *inode, struct key *k) REQUIRES_SHARED(*inode);

/* Its content in the record (or in memory), within `*value` or the inode. */
int inode_content(struct fs *fs, const struct inode *inode, struct lsm_value *value,
		  struct lsm_slice *content) REQUIRES_SHARED(*inode);

/*
 * Add to `b` its record as it will be: with `attr`, and `content` of
 * attr->content_size bytes. For a nameless inode that gets data in the store,
 * its entry in the list of orphans.
 */
int inode_stage(struct lsm_batch *b, const struct inode *inode, const struct attr *attr,
		const void *content) REQUIRES(*inode);
/* After the batch was written: this is how it is now. */
void inode_apply(struct fs *fs, struct inode *inode, const struct attr *attr) REQUIRES(*inode);
/* Note that a record of it was written where it is now; inode_apply() does. */
void inode_changed(struct fs *fs, const struct inode *inode) REQUIRES(*inode);
/* ---- a change to one inode ---- */

/*
 * A change to one inode: change_begin(), then edit `attr` and the batch, call
 * change_content() if the content changes, change_commit(), change_end().
 */
struct change {
	struct fs *fs;
	struct inode *inode;
	struct lsm_batch *b;
	struct attr attr;
	struct lsm_slice content; /* valid if content_known */
	bool content_known, content_new;
	struct lsm_value value;
};
/* REQUIRES: inode locked until change_end(). */
int change_begin(struct change *c, struct fs *fs, struct inode *inode) REQUIRES(*inode);
int change_load(struct change *c); /* make c->content what it is in the store */
/* `data` stays the caller's, until change_end(). */
void change_content(struct change *c, const void *data, size_t size);
/* Add to the change that setuid, setgid and file capabilities go, as on a write by another. */
int change_kill_priv(struct change *c);
int change_commit(struct change *c, unsigned flags);
void change_end(struct change *c);

/*
 * Make `*inode`'s atime now if the mount's rules ask for it; takes its lock. Only in
 * memory: reading would be writing otherwise. It reaches the store with the next
 * change, or with inode_write_atime().
 */
void inode_touch(struct fs *fs, struct inode *inode) EXCLUDES(*inode);
void inode_touch_locked(struct fs *fs, struct inode *inode)
	REQUIRES(*inode); /* REQUIRES: its lock */
/* Write an atime that is only in memory, before the inode leaves it; takes its lock. */
void inode_write_atime(struct fs *fs, struct inode *inode) EXCLUDES(*inode);
/* Do they? REQUIRES: lock, shared. */
bool inode_touch_due(const struct fs *fs, const struct inode *inode) REQUIRES_SHARED(*inode);

#endif
