/*
 * xattr.c - extended attributes: one key each, under the inode's number.
 *
 * A flag in the inode says whether there may be any, so that for most files the
 * question "has it security.capability?" needs no read, and removing them no
 * range tombstone. It is set with the first and cleared with the last.
 */
#include <errno.h>
#include <linux/limits.h>
#include <sys/xattr.h>

#include "fs/change.h"

/* Also for the list of names, as Linux has it. */
_Static_assert(FS_XATTR_BYTES_MAX == XATTR_LIST_MAX, "one limit for both");

static int xattr_check(const char *name, size_t *size)
{
	*size = strnlen(name, FS_NAME_BYTES_MAX + 1);
	return *size && *size <= FS_NAME_BYTES_MAX ? 0 : -ERANGE;
}

/* Go over the names of the inode's; see fs_listxattr(). The iterator is at the first. */
static struct lsm_iter *xattr_iter(struct fs *fs, uint64_t ino, struct key *start, struct key *end)
{
	struct lsm_iter_options o = {0};
	struct lsm_iter *it;

	key_range(KEY_XATTR, ino, start, end);
	o.lower = key_slice(start);
	o.upper = key_slice(end);
	it = lsm_iter_new(fs->lsm, &o);
	if (it)
		lsm_iter_first(it);
	return it;
}

static int set_locked(struct fs *fs, struct inode *inode, struct lsm_slice key,
		      struct lsm_slice value, int flags)
{
	struct lsm_value old = {0};
	struct change c;
	bool same;
	int rc = 1;

	if (inode->attr.flags & ATTR_XATTRS)
		rc = lsm_get(fs->lsm, NULL, key, &old);
	same = !rc && old.size == value.size &&
	       (!old.size || !memcmp(old.data, value.data, old.size));
	lsm_value_release(&old);
	/* What is damaged may be replaced. */
	if (rc < 0 && rc != -EUCLEAN)
		return rc;
	if (rc != 1 && flags & XATTR_CREATE)
		return -EEXIST;
	if (rc == 1 && flags & XATTR_REPLACE)
		return -ENODATA;
	if (same) /* no change, as on ext4: not even of ctime */
		return 0;
	rc = change_begin(&c, fs, inode);
	c.attr.flags |= ATTR_XATTRS;
	c.attr.ctime = time_now();
	if (!rc)
		rc = lsm_batch_put(c.b, key, value);
	if (!rc)
		rc = change_commit(&c, 0);
	change_end(&c);
	return rc;
}

int fs_setxattr(struct fs *fs, uint64_t ino, const char *name, const void *value, size_t size,
		int flags)
{
	struct inode *inode;
	size_t name_size;
	struct key k;
	int rc = xattr_check(name, &name_size);

	if (!rc && flags & ~(XATTR_CREATE | XATTR_REPLACE))
		rc = -EINVAL;
	if (!rc && size > FS_XATTR_BYTES_MAX)
		rc = -E2BIG;
	if (!rc)
		rc = inode_get(fs, ino, &inode);
	if (rc)
		return rc;
	inode_lock(inode);
	rc = set_locked(fs, inode, key_make(&k, KEY_XATTR, ino, name, name_size),
			(struct lsm_slice){size ? value : "", size}, flags);
	inode_unlock(inode);
	inode_put(fs, inode);
	return fs_finish(fs, rc, false);
}

int fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *value, size_t size,
		size_t *got)
{
	struct lsm_value v = {0};
	struct inode *inode;
	size_t name_size;
	struct key k;
	int rc = xattr_check(name, &name_size);

	*got = 0;
	if (!rc)
		rc = inode_get(fs, ino, &inode);
	if (rc)
		return rc;
	inode_lock_shared(inode);
	rc = 1;
	if (inode->attr.flags & ATTR_XATTRS)
		rc = lsm_get(fs->lsm, NULL, key_make(&k, KEY_XATTR, ino, name, name_size), &v);
	inode_unlock(inode);
	inode_put(fs, inode);
	if (rc == 1) {
		rc = -ENODATA;
	} else if (!rc) {
		*got = v.size;
		if (size && size < v.size)
			rc = -ERANGE;
		else if (size && v.size)
			memcpy(value, v.data, v.size);
	}
	lsm_value_release(&v);
	return fs_errno(rc);
}

static int list_locked(struct fs *fs, const struct inode *inode, char *list, size_t size,
		       size_t *got)
{
	struct key start, end;
	struct lsm_iter *it;
	int rc = 0;

	if (!(inode->attr.flags & ATTR_XATTRS))
		return 0;
	it = xattr_iter(fs, inode->ino, &start, &end);
	if (!it)
		return -ENOMEM;
	for (; !rc && lsm_iter_valid(it); lsm_iter_next(it)) {
		struct lsm_slice key = lsm_iter_key(it);
		size_t n = key.size - start.size;

		if (size && *got + n + 1 > size) {
			rc = -ERANGE;
		} else if (size) {
			memcpy(list + *got, (const char *)key.data + start.size, n);
			list[*got + n] = '\0';
		}
		*got += n + 1;
		if (!rc && *got > XATTR_LIST_MAX)
			rc = -E2BIG;
	}
	if (!rc)
		rc = lsm_iter_status(it);
	lsm_iter_free(it);
	return rc;
}

int fs_listxattr(struct fs *fs, uint64_t ino, char *list, size_t size, size_t *got)
{
	struct inode *inode;
	int rc = inode_get(fs, ino, &inode);

	*got = 0;
	if (rc)
		return rc;
	inode_lock_shared(inode);
	rc = list_locked(fs, inode, list, size, got);
	inode_unlock(inode);
	inode_put(fs, inode);
	return fs_errno(rc);
}

/* Is `key` there, and (`*only`) no other? 0, -ENODATA, or an error. */
static int find_only(struct fs *fs, uint64_t ino, struct lsm_slice key, bool *only)
{
	struct key start, end;
	struct lsm_iter *it = xattr_iter(fs, ino, &start, &end);
	bool found = false;
	int rc;

	*only = false;
	if (!it)
		return -ENOMEM;
	/* Two are enough to know whether there is another; the key itself may be further on. */
	if (lsm_iter_valid(it)) {
		struct lsm_slice first = lsm_iter_key(it);

		found = first.size == key.size && !memcmp(first.data, key.data, key.size);
		if (found) {
			lsm_iter_next(it);
			*only = !lsm_iter_valid(it);
		} else {
			lsm_iter_seek(it, key);
			if (lsm_iter_valid(it)) {
				first = lsm_iter_key(it);
				found = first.size == key.size &&
					!memcmp(first.data, key.data, key.size);
			}
		}
	}
	rc = lsm_iter_status(it);
	lsm_iter_free(it);
	return rc ? rc : found ? 0 : -ENODATA;
}

static int remove_locked(struct fs *fs, struct inode *inode, struct lsm_slice key)
{
	struct change c;
	bool only;
	int rc;

	if (!(inode->attr.flags & ATTR_XATTRS))
		return -ENODATA;
	rc = find_only(fs, inode->ino, key, &only);
	if (rc)
		return rc;
	rc = change_begin(&c, fs, inode);
	if (only)
		c.attr.flags &= ~ATTR_XATTRS;
	c.attr.ctime = time_now();
	if (!rc)
		rc = lsm_batch_delete(c.b, key);
	if (!rc)
		rc = change_commit(&c, LSM_FREES);
	change_end(&c);
	return rc;
}

int fs_removexattr(struct fs *fs, uint64_t ino, const char *name)
{
	struct inode *inode;
	size_t name_size;
	struct key k;
	int rc = xattr_check(name, &name_size);

	if (!rc)
		rc = inode_get(fs, ino, &inode);
	if (rc)
		return rc;
	inode_lock(inode);
	rc = remove_locked(fs, inode, key_make(&k, KEY_XATTR, ino, name, name_size));
	inode_unlock(inode);
	inode_put(fs, inode);
	return fs_finish(fs, rc, false);
}
