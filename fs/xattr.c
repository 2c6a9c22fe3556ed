/*
 * xattr.c - extended attributes: one key each, under the inode's number.
 *
 * A flag in the inode says whether there may be any, so that for most files the
 * question "has it security.capability?" needs no read, and removing them no
 * range tombstone. It is set with the first and cleared with the last.
 *
 * Two names are those of ACLs: what goes for them is in acl.c.
 */
#include <errno.h>
#include <linux/limits.h>
#include <sys/xattr.h>

#include "fs/acl.h"

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

/* Is `key` there, and (`*only`) no other? 0, -ENODATA, or an error. */
static int xattr_find_only(struct fs *fs, const struct inode *inode, struct lsm_slice key,
			   bool *only) REQUIRES_SHARED(*inode)
{
	struct key start, end;
	struct lsm_iter *it;
	bool found = false;
	int err;

	*only = false;
	if (!(inode->attr.flags & ATTR_XATTRS))
		return -ENODATA;
	it = xattr_iter(fs, inode->ino, &start, &end);
	if (!it)
		return -ENOMEM;
	lsm_iter_seek(it, key);
	if (lsm_iter_valid(it)) {
		struct lsm_slice at = lsm_iter_key(it);

		found = at.size == key.size && !memcmp(at.data, key.data, key.size);
	}
	if (found) {
		lsm_iter_first(it);
		if (lsm_iter_valid(it)) /* unless it cannot be read this time */
			lsm_iter_next(it);
		*only = !lsm_iter_valid(it);
	}
	err = lsm_iter_status(it);
	lsm_iter_free(it);
	return err ? err : found ? 0 : -ENODATA;
}

/* What becomes of an attribute, and of the mode with it. */
struct xattr_change {
	struct lsm_slice key;          /* size 0: of none */
	const struct lsm_slice *value; /* NULL: it goes */
	bool only;                     /* it goes, and there is no other */
	mode_t mode;
};

static int xattr_change_locked(struct fs *fs, struct inode *inode, const struct xattr_change *x)
	REQUIRES(*inode)
{
	struct change c;
	int err = change_begin(&c, fs, inode);

	c.attr.mode = x->mode;
	c.attr.ctime = time_now();
	if (x->value)
		c.attr.flags |= ATTR_XATTRS;
	else if (x->only)
		c.attr.flags &= ~ATTR_XATTRS;
	if (!err && x->key.size)
		err = x->value ? lsm_batch_put(c.b, x->key, *x->value) :
				 lsm_batch_delete(c.b, x->key);
	if (!err)
		err = change_commit(&c, x->key.size && !x->value ? LSM_FREES : 0);
	change_end(&c);
	return err;
}

static int xattr_list_locked(struct fs *fs, const struct inode *inode, char *list, size_t size,
			     size_t *got) REQUIRES_SHARED(*inode)
{
	struct key start, end;
	struct lsm_iter *it;
	int err = 0;

	if (!(inode->attr.flags & ATTR_XATTRS))
		return 0;
	it = xattr_iter(fs, inode->ino, &start, &end);
	if (!it)
		return -ENOMEM;
	for (; !err && lsm_iter_valid(it); lsm_iter_next(it)) {
		struct lsm_slice key = lsm_iter_key(it);
		const char *name = (const char *)key.data + start.size;
		size_t n = key.size - start.size;

		if (!fs->acl && acl_kind(name, n))
			continue;
		if (size && *got + n + 1 > size) {
			err = -ERANGE;
		} else if (size) {
			memcpy(list + *got, name, n);
			list[*got + n] = '\0';
		}
		*got += n + 1;
		if (!err && *got > XATTR_LIST_MAX)
			err = -E2BIG;
	}
	if (!err)
		err = lsm_iter_status(it);
	lsm_iter_free(it);
	return err;
}

/*
 * May one more attribute, with a name of `name_size` bytes, be set? -ENOSPC, as on ext4, if the
 * names would be more than can be listed: nobody could find them any more, to copy or to remove
 * them. There is always room left for the names of the two ACLs.
 */
static int xattr_check_room(struct fs *fs, struct inode *inode, size_t name_size)
	REQUIRES_SHARED(*inode)
{
	const size_t acls = sizeof(ACL_ACCESS_NAME) + sizeof(ACL_DEFAULT_NAME);
	size_t listed = 0;
	int err;

	if (!(inode->attr.flags & ATTR_XATTRS))
		return 0;
	err = xattr_list_locked(fs, inode, NULL, 0, &listed);
	if (err == -E2BIG) /* an older program let it come to that */
		return -ENOSPC;
	if (err && err != -EUCLEAN) /* names that are lost are not listed */
		return err;
	return listed + name_size + 1 + acls > XATTR_LIST_MAX ? -ENOSPC : 0;
}

static int xattr_set_locked(struct fs *fs, struct inode *inode, struct lsm_slice key,
			    struct lsm_slice value, int flags) REQUIRES(*inode)
{
	struct xattr_change x = {.key = key, .value = &value, .mode = inode->attr.mode};
	struct lsm_value old = {0};
	bool same;
	int err = LSM_ABSENT;

	if (inode->attr.flags & ATTR_XATTRS)
		err = lsm_get(fs->lsm, NULL, key, &old);
	same = !err && old.size == value.size &&
	       (!old.size || !memcmp(old.data, value.data, old.size));
	lsm_value_release(&old);
	/* What is damaged may be replaced. */
	if (err < 0 && err != -EUCLEAN)
		return err;
	if (err != LSM_ABSENT && flags & XATTR_CREATE)
		return -EEXIST;
	if (err == LSM_ABSENT && flags & XATTR_REPLACE)
		return -ENODATA;
	if (same) /* no change, as on ext4: not even of ctime */
		return 0;
	if (err == LSM_ABSENT) {
		err = xattr_check_room(fs, inode, key.size - 9);
		if (err)
			return err;
	}
	return xattr_change_locked(fs, inode, &x);
}

/* May an ACL of `kind` be asked for here? */
static int xattr_check_acl(struct fs *fs, const struct inode *inode, enum acl_kind kind)
{
	return kind && (!fs->acl || S_ISLNK(inode->type)) ? -EOPNOTSUPP : 0;
}

static int xattr_set_acl_locked(struct fs *fs, struct inode *inode, enum acl_kind kind,
				struct lsm_slice key, struct lsm_slice value, int flags)
	REQUIRES(*inode)
{
	struct xattr_change x = {.key = key, .value = &value, .mode = inode->attr.mode};
	struct acl acl;
	const char *why;
	int err = xattr_check_acl(fs, inode, kind);

	if (err)
		return err;
	if (kind == ACL_DEFAULT && !S_ISDIR(inode->type))
		return -EACCES;
	if (acl_decode(value, &acl, &why))
		return -EINVAL;
	if (kind == ACL_DEFAULT)
		return xattr_change_locked(fs, inode, &x);
	x.mode = (x.mode & ~(mode_t)0777) | acl_mode(&acl);
	if (flags & FS_XATTR_KILL_SGID)
		x.mode &= ~(mode_t)S_ISGID;
	if (acl_is_mode(&acl)) {
		x.value = NULL;
		err = xattr_find_only(fs, inode, key, &x.only);
		if (err == -ENODATA && x.mode == inode->attr.mode)
			return 0; /* nothing to be done, so no ctime either */
		if (err == -ENODATA)
			x.key.size = err = 0;
	}
	return err ? err : xattr_change_locked(fs, inode, &x);
}

int fs_setxattr(struct fs *fs, uint64_t ino, const char *name, const void *value, size_t size,
		int flags)
{
	struct lsm_slice key, bytes = {size ? value : "", size};
	enum acl_kind kind;
	struct inode *inode;
	size_t name_size;
	struct key k;
	int err = xattr_check(name, &name_size);

	if (!err && flags & ~(XATTR_CREATE | XATTR_REPLACE | FS_XATTR_KILL_SGID))
		err = -EINVAL;
	if (!err && size > FS_XATTR_BYTES_MAX)
		err = -E2BIG;
	if (!err)
		err = inode_get(fs, ino, &inode);
	if (err)
		return err;
	key = key_make(&k, KEY_XATTR, ino, name, name_size);
	kind = acl_kind(name, name_size);
	inode_lock(inode);
	if (kind)
		err = xattr_set_acl_locked(fs, inode, kind, key, bytes, flags);
	else
		err = xattr_set_locked(fs, inode, key, bytes,
				       flags & (XATTR_CREATE | XATTR_REPLACE));
	inode_unlock(inode);
	inode_put(fs, inode);
	return fs_finish(fs, err, false);
}

int fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *value, size_t size,
		size_t *got)
{
	struct lsm_value v = {0};
	struct lsm_slice key;
	enum acl_kind kind;
	struct inode *inode;
	size_t name_size;
	const char *why;
	struct acl acl;
	struct key k;
	int err = xattr_check(name, &name_size);

	*got = 0;
	if (!err)
		err = inode_get(fs, ino, &inode);
	if (err)
		return err;
	key = key_make(&k, KEY_XATTR, ino, name, name_size);
	kind = acl_kind(name, name_size);
	inode_lock_shared(inode);
	err = xattr_check_acl(fs, inode, kind);
	if (!err)
		err = inode->attr.flags & ATTR_XATTRS ? lsm_get(fs->lsm, NULL, key, &v) :
							LSM_ABSENT;
	inode_unlock_shared(inode);
	inode_put(fs, inode);
	if (!err && kind && acl_decode((struct lsm_slice){v.data, v.size}, &acl, &why))
		err = fs_corrupt(fs, key, why);
	if (err == LSM_ABSENT) {
		err = -ENODATA;
	} else if (!err) {
		*got = v.size;
		if (size && size < v.size)
			err = -ERANGE;
		else if (size && v.size)
			memcpy(value, v.data, v.size);
	}
	lsm_value_release(&v);
	return fs_errno(err);
}

int fs_listxattr(struct fs *fs, uint64_t ino, char *list, size_t size, size_t *got)
{
	struct inode *inode;
	int err = inode_get(fs, ino, &inode);

	*got = 0;
	if (err)
		return err;
	inode_lock_shared(inode);
	err = xattr_list_locked(fs, inode, list, size, got);
	inode_unlock_shared(inode);
	inode_put(fs, inode);
	return fs_errno(err);
}

static int xattr_remove_locked(struct fs *fs, struct inode *inode, enum acl_kind kind,
			       struct lsm_slice key) REQUIRES(*inode)
{
	struct xattr_change x = {.key = key, .mode = inode->attr.mode};
	int err = xattr_check_acl(fs, inode, kind);

	if (!err)
		err = xattr_find_only(fs, inode, key, &x.only);
	if (err)
		return err == -ENODATA && kind ? 0 : err;
	return xattr_change_locked(fs, inode, &x);
}

int fs_removexattr(struct fs *fs, uint64_t ino, const char *name)
{
	struct inode *inode;
	size_t name_size;
	struct key k;
	int err = xattr_check(name, &name_size);

	if (!err)
		err = inode_get(fs, ino, &inode);
	if (err)
		return err;
	inode_lock(inode);
	err = xattr_remove_locked(fs, inode, acl_kind(name, name_size),
				  key_make(&k, KEY_XATTR, ino, name, name_size));
	inode_unlock(inode);
	inode_put(fs, inode);
	return fs_finish(fs, err, false);
}
