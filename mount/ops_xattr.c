/*
 * ops_xattr.c - extended attributes, and which names are allowed.
 *
 * Names that begin with user., trusted. and security. are allowed, as on other filesystems. The
 * kernel checks which user may read and set them. Of system., only the two POSIX ACLs are
 * allowed, and fs.h refuses them without the option acl. SELinux labels are refused: a label
 * that is stored but has no effect would be a false promise. With EOPNOTSUPP `ls -l` and
 * `cp -a` stop asking for them. The names of control.h are answered by the daemon itself.
 */
#include <errno.h>
#include <string.h>

#include "mount/control.h"
#include "mount/ops.h"

/* 0 if the name is allowed, otherwise the error. */
static int op_check_xattr_name(const char *name)
{
	static const char *const kinds[] = {"user.", "trusted.", "security."};
	size_t i;

	if (!strcmp(name, "security.selinux"))
		return -EOPNOTSUPP;
	if (!strcmp(name, "system.posix_acl_access") || !strcmp(name, "system.posix_acl_default"))
		return 0;
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strncmp(name, kinds[i], strlen(kinds[i])))
			return name[strlen(kinds[i])] ? 0 : -EINVAL;
	return -EOPNOTSUPP;
}

void op_setxattr(struct request *r, const char *name, const void *value, size_t size, int flags,
		 bool kill_sgid)
{
	int err = op_check_xattr_name(name);

	if (err)
		;
	else if (control_has(r->ino, name))
		err = control_set(r->mount->control, r->uid, name);
	else
		err = fs_setxattr(r->mount->fs, r->ino, name, value, size,
				  flags | (kill_sgid ? FS_XATTR_KILL_SGID : 0));
	reply_error(r, err);
}

void op_getxattr(struct request *r, const char *name, size_t size)
{
	size_t got, room_bytes = size < FS_XATTR_BYTES_MAX ? size : FS_XATTR_BYTES_MAX;
	void *room = request_room(r, room_bytes);
	int err = op_check_xattr_name(name);

	if (err)
		;
	else if (!room)
		err = -ENOMEM;
	else if (control_has(r->ino, name))
		err = control_get(r->mount->control, r->uid, name, room, room_bytes, &got);
	else
		err = fs_getxattr(r->mount->fs, r->ino, name, room, room_bytes, &got);
	if (err)
		reply_error(r, err);
	else if (!size)
		reply_length(r, got);
	else
		reply_bytes(r, room, got);
}

/* Remove the names that begin with trusted. from `list`. Returns the size of the rest. */
static size_t op_hide_trusted(char *list, size_t size)
{
	size_t from, n, to = 0;

	for (from = 0; from < size; from += n) {
		n = strnlen(list + from, size - from - 1) + 1;
		if (strncmp(list + from, "trusted.", 8)) {
			memmove(list + to, list + from, n);
			to += n;
		}
	}
	return to;
}

void op_listxattr(struct request *r, size_t size)
{
	char *room = request_room(r, FS_XATTR_BYTES_MAX);
	size_t got = 0;
	int err =
		room ? fs_listxattr(r->mount->fs, r->ino, room, FS_XATTR_BYTES_MAX, &got) : -ENOMEM;

	/* The kernel hides the values of trusted. from users. Hiding the names is left to us. */
	if (!err && r->uid)
		got = op_hide_trusted(room, got);
	if (!err && size && got > size)
		err = -ERANGE;
	if (err)
		reply_error(r, err);
	else if (!size)
		reply_length(r, got);
	else
		reply_bytes(r, room, got);
}

void op_removexattr(struct request *r, const char *name)
{
	int err = op_check_xattr_name(name);

	if (err)
		;
	else if (control_has(r->ino, name))
		err = -ENODATA;
	else
		err = fs_removexattr(r->mount->fs, r->ino, name);
	reply_error(r, err);
}
