/*
 * orphan.h - freeing inodes without a name. See the top of orphan.c.
 */
#ifndef FS_ORPHAN_H
#define FS_ORPHAN_H

#include "fs/inode.h"

/*
 * Add to `b` the deletion of the extents and attributes of `ino`, as far as `flags`
 * (ATTR_FLAGS) says that there are any, and of its 'O' if it is `orphaned`.
 * 0 or as lsm_batch_delete_range().
 */
int orphan_stage_free(struct lsm_batch *b, uint64_t ino, uint32_t flags, bool orphaned);

/*
 * If `inode`, which nobody uses any more, has an 'O' in the store: free its data there. If
 * that fails, the next open of the filesystem does it.
 */
void orphan_free(struct fs *fs, const struct inode *inode);

/* Free the data of every 'O' in the store, for an open. 0 or a negative errno. */
int orphan_free_all(struct fs *fs);

#endif
