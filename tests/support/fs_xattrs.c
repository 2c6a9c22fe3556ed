#include "tests/support/fs_xattrs.h"

#include <errno.h>

#include "fs/acl.h"

#define FS_XATTRS_FRIEND 5u

/* 100 for an ACL that does not go with `mode`. */
static int fs_xattrs_find_acl(struct fs *fs, uint64_t ino, const char *name, mode_t mode,
			      int *found)
{
	unsigned char bytes[ACL_BYTES_MAX];
	const char *why;
	struct acl acl;
	size_t got;
	int err = fs_getxattr(fs, ino, name, bytes, sizeof(bytes), &got);

	*found = -1;
	if (!err)
		err = acl_decode((struct lsm_slice){bytes, got}, &acl, &why);
	if (!err)
		*found = acl_mode(&acl) == (mode & 0777) ? acl.entries[1].permissions : 100;
	return err == -ENODATA ? 0 : err;
}

int fs_xattrs_find(struct fs *fs, const struct stat *st, struct fs_xattrs *x)
{
	unsigned char value;
	size_t got;
	int err = fs_getxattr(fs, st->st_ino, "user.cut", &value, 1, &got);

	*x = FS_XATTRS_NONE;
	if (!err)
		x->user = value;
	if (err == -ENODATA)
		err = 0;
	if (!err && !S_ISLNK(st->st_mode))
		err = fs_xattrs_find_acl(fs, st->st_ino, ACL_ACCESS_NAME, st->st_mode, &x->access);
	if (!err && S_ISDIR(st->st_mode))
		err = fs_xattrs_find_acl(fs, st->st_ino, ACL_DEFAULT_NAME, 0777, &x->fallback);
	return err;
}

int fs_xattrs_set_acl(struct fs *fs, uint64_t ino, bool fallback, mode_t mode, int value)
{
	struct acl acl = {
		5,
		{{1, 7, UINT32_MAX},
		 {2, value & 7, FS_XATTRS_FRIEND},
		 {4, 7, UINT32_MAX},
		 {16, 7, UINT32_MAX},
		 {32, 7, UINT32_MAX}},
	};
	const char *name = fallback ? ACL_DEFAULT_NAME : ACL_ACCESS_NAME;
	unsigned char bytes[ACL_BYTES_MAX];

	if (value < 0)
		return fs_removexattr(fs, ino, name);
	acl_set_mode(&acl, fallback ? 0777 : mode);
	return fs_setxattr(fs, ino, name, bytes, acl_encode(bytes, &acl), 0);
}
