/*
 * change.c - one inode's attributes and record: what stat() says, where the
 * record is and what is in it, and how a change to one inode is made.
 *
 * A change is staged (added to a batch, computed from a copy of the
 * attributes), written, and then applied to what is in memory, in this order
 * only: a write that failed leaves everything as it was. A record is always
 * written whole, so a change of attributes takes a small file's content along,
 * which is read for that from where the record is.
 */
#include "fs/change.h"

#include <assert.h>
#include <stdlib.h>

#define DAY_NS (86400 * UINT64_C(1000000000))

void inode_stat(const struct inode *inode, struct stat *st)
{
	const struct attr *a = &inode->attr;
	uint64_t stored = 0;

	inode_assert_shared(inode);
	memset(st, 0, sizeof(*st));
	st->st_ino = inode->ino;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_blksize = 4096;
	if (S_ISDIR(a->mode)) {
		/* As on ext4: its own name, its ".", and each child's "..". */
		st->st_nlink = a->nlink ? 2 + a->subdirs : 0;
		st->st_size = 4096;
	} else if (S_ISREG(a->mode)) {
		st->st_size = (off_t)a->size;
		stored = a->flags & ATTR_EXTENTS ? a->stored : a->content_size;
	} else if (S_ISLNK(a->mode)) {
		st->st_size = (off_t)a->size;
	} else if (S_ISCHR(a->mode) || S_ISBLK(a->mode)) {
		st->st_rdev = a->rdev;
	}
	st->st_blocks = (blkcnt_t)((stored + 511) / 512);
	st->st_atim = time_unpack(a->atime);
	st->st_mtim = time_unpack(a->mtime);
	st->st_ctim = time_unpack(a->ctime);
}

struct lsm_slice inode_key(const struct inode *inode, struct key *k)
{
	assert(inode->where != INODE_NAMELESS);
	if (inode->where == INODE_OWN)
		return key_make(k, KEY_INODE, inode->ino, NULL, 0);
	return key_make(k, KEY_NAME, inode->parent->ino, inode->name, strlen(inode->name));
}

int inode_content(struct fs *fs, const struct inode *inode, struct lsm_value *value,
		  struct lsm_slice *content)
{
	struct record record;
	struct lsm_slice key;
	const char *why;
	struct key k;
	int err;

	inode_assert_shared(inode);
	*content = (struct lsm_slice){inode->content, inode->attr.content_size};
	if (inode->where == INODE_NAMELESS || !inode->attr.content_size)
		return 0;
	key = inode_key(inode, &k);
	err = lsm_get(fs->lsm, NULL, key, value);
	if (err == LSM_ABSENT)
		return fs_corrupt(fs, key, "it is gone");
	if (err)
		return err;
	err = record_decode((struct lsm_slice){value->data, value->size}, &record, &why);
	if (err)
		return fs_corrupt(fs, key, why);
	if (record.kind != RECORD_INODE || record.ino != inode->ino ||
	    record.content.size != inode->attr.content_size)
		return fs_corrupt(fs, key, "it changed by itself");
	*content = record.content;
	return 0;
}

int inode_stage(struct lsm_batch *b, const struct inode *inode, const struct attr *attr,
		const void *content)
{
	unsigned char bytes[RECORD_BYTES_MAX];
	struct key k;
	size_t size;

	inode_assert_held(inode);
	if (inode->where == INODE_NAMELESS) {
		if (!(attr->flags & ATTR_FLAGS) || inode->orphaned)
			return 0;
		return lsm_batch_put(b, key_make(&k, KEY_ORPHAN, inode->ino, NULL, 0),
				     (struct lsm_slice){"", 0});
	}
	size = record_encode(bytes, inode->ino, attr, content);
	return lsm_batch_put(b, inode_key(inode, &k), (struct lsm_slice){bytes, size});
}

void inode_changed(struct fs *fs, const struct inode *inode)
{
	if (inode->where == INODE_NAMED)
		atomic_fetch_add(&inode->parent->changes, 1);
	else if (inode->where == INODE_OWN && inode != fs->root)
		atomic_fetch_add(&fs->own_changes, 1);
}

void inode_apply(struct fs *fs, struct inode *inode, const struct attr *attr)
{
	inode_assert_held(inode);
	inode->attr = *attr;
	inode->touched = false;
	if (inode->where == INODE_NAMELESS && attr->flags & ATTR_FLAGS)
		inode->orphaned = true;
	inode_changed(fs, inode);
}

int change_begin(struct change *c, struct fs *fs, struct inode *inode)
{
	inode_assert_held(inode);
	memset(c, 0, sizeof(*c));
	c->fs = fs;
	c->inode = inode;
	c->attr = inode->attr;
	c->b = fs_batch_get(fs);
	return c->b ? 0 : -ENOMEM;
}

int change_load(struct change *c)
{
	int err;

	inode_assert_held(c->inode);
	if (c->content_known)
		return 0;
	err = inode_content(c->fs, c->inode, &c->value, &c->content);
	c->content_known = !err;
	return err;
}

void change_content(struct change *c, const void *data, size_t size)
{
	c->content = (struct lsm_slice){data, size};
	c->attr.content_size = (uint32_t)size;
	c->content_known = c->content_new = true;
}

int change_commit(struct change *c, unsigned flags)
{
	struct inode *inode = c->inode;
	void *copy = NULL;
	int err = 0;

	inode_assert_held(inode);
	if (inode->where == INODE_NAMELESS) {
		if (c->content_new && c->content.size) {
			copy = malloc(c->content.size);
			if (!copy)
				return -ENOMEM;
			memcpy(copy, c->content.data, c->content.size);
		}
	} else if (c->attr.content_size) {
		err = change_load(c);
	}
	if (!err)
		err = inode_stage(c->b, inode, &c->attr, c->content.data);
	if (!err)
		err = fs_commit(c->fs, c->b, flags);
	if (err) {
		free(copy);
		return err;
	}
	if (inode->where == INODE_NAMELESS && c->content_new) {
		free(inode->content);
		inode->content = copy;
	}
	inode_apply(c->fs, inode, &c->attr);
	return 0;
}

int change_kill_priv(struct change *c)
{
	static const char name[] = "security.capability";
	struct key k;

	if (S_ISDIR(c->inode->type))
		return 0;
	c->attr.mode &= ~(mode_t)S_ISUID;
	/* Without group execution the bit means mandatory locking, which stays. */
	if (c->attr.mode & S_IXGRP)
		c->attr.mode &= ~(mode_t)S_ISGID;
	if (!(c->attr.flags & ATTR_XATTRS))
		return 0;
	return lsm_batch_delete(c->b,
				key_make(&k, KEY_XATTR, c->inode->ino, name, sizeof(name) - 1));
}

void change_end(struct change *c)
{
	fs_batch_put(c->fs, c->b);
	lsm_value_release(&c->value);
}

/* ---- atime ---- */

bool inode_touch_due(const struct fs *fs, const struct inode *inode)
{
	const struct attr *a = &inode->attr;
	uint64_t now;

	inode_assert_shared(inode);
	if (fs->atime == FS_NOATIME || fs->read_only)
		return false;
	if (fs->atime == FS_STRICTATIME)
		return true;
	if (a->atime <= a->mtime || a->atime <= a->ctime)
		return true;
	now = time_now();
	return now > a->atime && now - a->atime >= DAY_NS;
}

void inode_touch_locked(struct fs *fs, struct inode *inode)
{
	if (inode_touch_due(fs, inode)) {
		inode->attr.atime = time_now();
		inode->touched = true;
	}
}

void inode_touch(struct fs *fs, struct inode *inode)
{
	inode_lock(inode);
	inode_touch_locked(fs, inode);
	inode_unlock(inode);
}

void inode_write_atime(struct fs *fs, struct inode *inode)
{
	struct change c;

	inode_lock(inode);
	if (inode->touched && inode->where != INODE_NAMELESS && !change_begin(&c, fs, inode)) {
		/* No call fails because the time of a read was not kept. */
		(void)change_commit(&c, 0);
		change_end(&c);
	}
	inode_unlock(inode);
}
