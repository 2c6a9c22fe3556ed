/*
 * ops_xattr.c - extended attributes, and which of them there are not.
 *
 * POSIX ACLs and SELinux labels are refused by name: stored but not obeyed they
 * would promise what they do not do. EOPNOTSUPP also makes `ls -l` and `cp -a`
 * stop asking. The names of control.h are answered by the daemon itself.
 */
#include <errno.h>
#include <string.h>

#include "mount/control.h"
#include "mount/ops.h"

static bool is_refused(const char *name)
{
	return !strncmp(name, "system.", 7) || !strcmp(name, "security.selinux");
}

void op_setxattr(struct request *r, const char *name, const void *value, size_t size, int flags)
{
	int err;

	if (is_refused(name))
		err = -EOPNOTSUPP;
	else if (control_has(r->ino, name))
		err = control_set(r->mount->control, r->uid, name);
	else
		err = fs_setxattr(r->mount->fs, r->ino, name, value, size, flags);
	reply_error(r, err);
}

void op_getxattr(struct request *r, const char *name, size_t size)
{
	size_t got, room_bytes = size < FS_XATTR_BYTES_MAX ? size : FS_XATTR_BYTES_MAX;
	void *room = request_room(r, room_bytes);
	int err;

	if (is_refused(name))
		err = -EOPNOTSUPP;
	else if (!room)
		err = -ENOMEM;
	else if (control_has(r->ino, name))
		err = control_get(r->mount->control, name, room, room_bytes, &got);
	else
		err = fs_getxattr(r->mount->fs, r->ino, name, room, room_bytes, &got);
	if (err)
		reply_error(r, err);
	else if (!size)
		reply_length(r, got);
	else
		reply_bytes(r, room, got);
}

void op_listxattr(struct request *r, size_t size)
{
	size_t got, room_bytes = size < FS_XATTR_BYTES_MAX ? size : FS_XATTR_BYTES_MAX;
	void *room = request_room(r, room_bytes);
	int err = room ? fs_listxattr(r->mount->fs, r->ino, room, room_bytes, &got) : -ENOMEM;

	if (err)
		reply_error(r, err);
	else if (!size)
		reply_length(r, got);
	else
		reply_bytes(r, room, got);
}

void op_removexattr(struct request *r, const char *name)
{
	int err;

	if (is_refused(name))
		err = -EOPNOTSUPP;
	else if (control_has(r->ino, name))
		err = -ENODATA;
	else
		err = fs_removexattr(r->mount->fs, r->ino, name);
	reply_error(r, err);
}
