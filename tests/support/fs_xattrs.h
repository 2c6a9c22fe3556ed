/*
 * fs_xattrs.h - the extended attributes in the model of fs_model.h: one of the user's, and
 * ACLs that give something to one friend and take nothing from anybody else.
 */
#ifndef TESTS_CRASH_FS_XATTRS_H
#define TESTS_CRASH_FS_XATTRS_H

#include "fs/acl.h"

#define FS_XATTRS_FRIEND 5u

/* -1: there is none. */
struct xattrs {
	int user;             /* its value */
	int access, fallback; /* what an ACL gives to the friend */
};
#define FS_XATTRS_NONE ((struct xattrs){-1, -1, -1})

/* 100 for an ACL that does not go with `mode`. */
static inline int xattrs_find_acl(struct fs *fs, uint64_t ino, const char *name, mode_t mode,
				  int *found)
{
	unsigned char bytes[ACL_BYTES_MAX];
	const char *why;
	struct acl acl;
	size_t got;
	int rc = fs_getxattr(fs, ino, name, bytes, sizeof(bytes), &got);

	*found = -1;
	if (!rc)
		rc = acl_decode((struct lsm_slice){bytes, got}, &acl, &why);
	if (!rc)
		*found = acl_mode(&acl) == (mode & 0777) ? acl.entries[1].permissions : 100;
	return rc == -ENODATA ? 0 : rc;
}

/* What the filesystem has. */
static inline int xattrs_find(struct fs *fs, const struct stat *st, struct xattrs *x)
{
	unsigned char value;
	size_t got;
	int rc = fs_getxattr(fs, st->st_ino, "user.cut", &value, 1, &got);

	*x = FS_XATTRS_NONE;
	if (!rc)
		x->user = value;
	if (rc == -ENODATA)
		rc = 0;
	if (!rc && !S_ISLNK(st->st_mode))
		rc = xattrs_find_acl(fs, st->st_ino, ACL_ACCESS_NAME, st->st_mode, &x->access);
	if (!rc && S_ISDIR(st->st_mode))
		rc = xattrs_find_acl(fs, st->st_ino, ACL_DEFAULT_NAME, 0777, &x->fallback);
	return rc;
}

/* Give the friend `value` (-1: no ACL) in a default ACL, or in an access one beside `mode`. */
static inline int xattrs_set_acl(struct fs *fs, uint64_t ino, bool fallback, mode_t mode, int value)
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

#endif
