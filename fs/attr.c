/*
 * attr.c - attributes: reading them, setting them, the target of a symbolic
 * link. What setting the size does to the content is in file.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/acl.h"
#include "fs/file.h"

int fs_getattr(struct fs *fs, uint64_t ino, struct stat *st)
{
	struct inode *inode;
	int err = inode_get(fs, ino, &inode);

	memset(st, 0, sizeof(*st));
	if (err)
		return err;
	inode_lock_shared(inode);
	inode_stat(inode, st);
	inode_unlock_shared(inode);
	inode_put(fs, inode);
	return 0;
}

bool fs_atime_due(struct fs *fs, uint64_t ino)
{
	struct inode *inode;
	bool due;

	if (inode_get(fs, ino, &inode))
		return false;
	inode_lock_shared(inode);
	due = inode_touch_due(fs, inode);
	inode_unlock_shared(inode);
	inode_put(fs, inode);
	return due;
}

int fs_readlink(struct fs *fs, uint64_t ino, char *buf)
{
	struct lsm_value value = {0};
	struct lsm_slice content;
	struct inode *inode;
	bool touch = false;
	int err;

	buf[0] = '\0';
	err = inode_get(fs, ino, &inode);
	if (err)
		return err;
	inode_lock_shared(inode);
	err = S_ISLNK(inode->type) ? inode_content(fs, inode, &value, &content) : -EINVAL;
	if (!err) {
		memcpy(buf, content.data, content.size);
		buf[content.size] = '\0';
		touch = inode_touch_due(fs, inode);
	}
	inode_unlock_shared(inode);
	if (touch)
		inode_touch(fs, inode);
	lsm_value_release(&value);
	inode_put(fs, inode);
	return fs_errno(err);
}

static int attr_set_owner_and_mode(struct change *c, const struct fs_cred *cred,
				   const struct stat *want, unsigned mask)
{
	int err = 0;

	if (mask & FS_SET_UID)
		c->attr.uid = want->st_uid;
	if (mask & FS_SET_GID)
		c->attr.gid = want->st_gid;
	/* Also for root: to give a program away does not mean to give the rights with it. */
	if (mask & (FS_SET_UID | FS_SET_GID | FS_SET_KILL_PRIV))
		err = change_kill_priv(c);
	if (mask & FS_SET_KILL_SGID && !S_ISDIR(c->inode->type))
		c->attr.mode &= ~(mode_t)S_ISGID;
	if (mask & FS_SET_MODE) {
		mode_t mode = want->st_mode & 07777;

		if (mode & S_ISGID && cred && !cred->privileged && cred->gid != c->attr.gid)
			mode &= ~(mode_t)S_ISGID;
		c->attr.mode = c->inode->type | mode;
		if (!err)
			err = acl_stage_mode(c);
	}
	return err;
}

static void attr_set_times(struct change *c, const struct stat *want, unsigned mask)
{
	uint64_t now = time_now();

	if (mask & FS_SET_ATIME_NOW)
		c->attr.atime = now;
	else if (mask & FS_SET_ATIME)
		c->attr.atime = time_pack(want->st_atim);
	if (mask & FS_SET_MTIME_NOW)
		c->attr.mtime = now;
	else if (mask & FS_SET_MTIME)
		c->attr.mtime = time_pack(want->st_mtim);
	else if (mask & FS_SET_SIZE)
		c->attr.mtime = now;
	c->attr.ctime = mask & FS_SET_CTIME ? time_pack(want->st_ctim) : now;
}

static int attr_set_locked(struct fs *fs, struct inode *inode, const struct fs_cred *cred,
			   const struct stat *want, unsigned mask) REQUIRES(*inode)
{
	struct change c;
	int err;

	err = change_begin(&c, fs, inode);
	if (!err)
		err = attr_set_owner_and_mode(&c, cred, want, mask);
	if (!err && mask & FS_SET_SIZE)
		err = file_stage_size(&c, (uint64_t)want->st_size);
	if (!err) {
		attr_set_times(&c, want, mask);
		err = change_commit(&c, mask & FS_SET_SIZE && (uint64_t)want->st_size <=
								      inode->attr.size ?
						LSM_FREES :
						0);
	}
	change_end(&c);
	return err;
}

int fs_setattr(struct fs *fs, const struct fs_cred *cred, uint64_t ino, const struct stat *want,
	       unsigned mask, struct stat *st)
{
	struct inode *inode;
	int err;

	memset(st, 0, sizeof(*st));
	err = inode_get(fs, ino, &inode);
	if (err)
		return err;
	if (mask & FS_SET_SIZE) {
		if (S_ISDIR(inode->type))
			err = -EISDIR;
		else if (!S_ISREG(inode->type) || want->st_size < 0)
			err = -EINVAL;
	}
	if (!err) {
		inode_lock(inode);
		if (mask)
			err = attr_set_locked(fs, inode, cred, want, mask);
		if (!err)
			inode_stat(inode, st);
		inode_unlock(inode);
	}
	inode_put(fs, inode);
	return fs_finish(fs, err, false);
}
