/*
 * change.h - one inode's attributes and record. See the top of change.c.
 */
#ifndef FS_CHANGE_H
#define FS_CHANGE_H

#include "fs/inode.h"
#include "fs/time.h"

/* ---- the record ---- */

void inode_stat(const struct inode *inode, struct stat *st) REQUIRES_SHARED(*inode);

/* The key of its record. One that is NAMELESS has none. */
struct lsm_slice inode_key(const struct inode *inode, struct key *k) REQUIRES_SHARED(*inode);

/*
 * The content that is in its record, or in memory when NAMELESS. `content` points into `*value`
 * or into the inode. -EUCLEAN, reported, if the record is not the one that was loaded.
 */
int inode_content(struct fs *fs, const struct inode *inode, struct lsm_value *value,
		  struct lsm_slice *content) REQUIRES_SHARED(*inode);

/*
 * Add to `b` its record as it will be: with `attr`, and `content` of
 * attr->content_size bytes. For a nameless inode that gets data in the store,
 * its entry in the list of orphans.
 */
int inode_stage(struct lsm_batch *b, const struct inode *inode, const struct attr *attr,
		const void *content) REQUIRES(*inode);
/* The batch was written: change the attributes in memory. */
void inode_apply(struct fs *fs, struct inode *inode, const struct attr *attr) REQUIRES(*inode);
/*
 * Count that a record of it was written where it is now, see the top of inode.c. inode_apply()
 * does this.
 */
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
/*
 * Begin a change. The inode stays locked until change_end(), which is called after an error,
 * too. 0 or -ENOMEM.
 */
int change_begin(struct change *c, struct fs *fs, struct inode *inode) REQUIRES(*inode);
/* Read the content in the record into c->content, unless it is there. */
int change_load(struct change *c);
/* Make `data` the new content in the record. It stays the caller's, and until change_end(). */
void change_content(struct change *c, const void *data, size_t size);
/* Add to the change that setuid, setgid and file capabilities go, as on a write by another. */
int change_kill_priv(struct change *c);
/* Write the batch with the record, and change what is in memory. `flags` as in lsm_write(). */
int change_commit(struct change *c, unsigned flags);
void change_end(struct change *c);

/*
 * Make the atime of `inode` now, if the options of the mount ask for it. It changes in memory
 * only, as reading would be writing otherwise. It reaches the store with the next change of
 * the inode, or with inode_write_atime().
 */
void inode_touch(struct fs *fs, struct inode *inode) EXCLUDES(*inode);
void inode_touch_locked(struct fs *fs, struct inode *inode) REQUIRES(*inode); /* as above */
/* Write an atime that is only in memory, before the inode leaves memory. Errors are ignored. */
void inode_write_atime(struct fs *fs, struct inode *inode) EXCLUDES(*inode);
/* Do the options of the mount ask for a new atime, after a read? */
bool inode_touch_due(const struct fs *fs, const struct inode *inode) REQUIRES_SHARED(*inode);

#endif
