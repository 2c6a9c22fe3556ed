/*
 * orphan.c - freeing inodes without a name.
 *
 * A file that loses its last name while it is in use has no record any more. If it has
 * extents or attributes, the key 'O' with its number is in the store, so that they can be
 * found and freed: at its last reference, or by the next open after a crash.
 */
#include "fs/orphan.h"

#include "fs/data.h"

/* One batch frees so many orphans. */
#define ORPHAN_STEP 256u

int orphan_stage_free(struct lsm_batch *b, uint64_t ino, uint32_t flags, bool orphaned)
{
	struct key k;
	int err = 0;

	if (flags & ATTR_EXTENTS)
		err = data_drop(b, ino);
	if (!err && flags & ATTR_XATTRS)
		err = key_drop_range(b, KEY_XATTR, ino);
	if (!err && orphaned)
		err = lsm_batch_delete(b, key_make(&k, KEY_ORPHAN, ino, NULL, 0));
	return err;
}

void orphan_free(struct fs *fs, const struct inode *inode)
{
	struct lsm_batch *b;

	if (inode->where != INODE_NAMELESS || !inode->orphaned)
		return;
	b = fs_batch_get(fs);
	if (b && !orphan_stage_free(b, inode->ino, inode->attr.flags, true))
		(void)fs_commit(fs, b, LSM_FREES);
	fs_batch_put(fs, b);
}

int orphan_free_all(struct fs *fs)
{
	static const unsigned char lower = KEY_ORPHAN, upper = KEY_ORPHAN + 1;
	struct lsm_iter_options o = {.lower = {&lower, 1}, .upper = {&upper, 1}};
	struct lsm_iter *it = lsm_iter_new(fs->lsm, &o);
	struct lsm_batch *b = fs_batch_get(fs);
	int err = it && b ? 0 : -ENOMEM;

	if (!err)
		lsm_iter_first(it);
	while (!err && lsm_iter_valid(it)) {
		struct lsm_slice key = lsm_iter_key(it);

		if (key.size == 9)
			err = orphan_stage_free(b, key_get_u64((const char *)key.data + 1),
						ATTR_FLAGS, true);
		else
			err = lsm_batch_delete(b, key);
		if (!err && lsm_batch_count(b) >= 3 * ORPHAN_STEP) {
			err = fs_commit(fs, b, LSM_FREES);
			lsm_batch_clear(b);
		}
		lsm_iter_next(it);
	}
	if (!err && it)
		err = lsm_iter_status(it);
	if (!err)
		err = fs_commit(fs, b, LSM_FREES);
	fs_batch_put(fs, b);
	lsm_iter_free(it);
	return err;
}
