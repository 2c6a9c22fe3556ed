/*
 * ops_attr.c - attributes of files, and of the filesystem.
 */
#include "mount/ops.h"

void op_getattr(struct request *r)
{
	struct stat st;
	int err = fs_getattr(r->mount->fs, r->ino, &st);

	if (err)
		reply_error(r, err);
	else
		reply_attributes(r, &st);
}

void op_setattr(struct request *r, const struct stat *want, unsigned mask)
{
	/* Privileged: the kernel has taken setgid off a mode where it must go. */
	struct fs_cred cred = {.uid = r->uid, .gid = r->gid, .privileged = true};
	struct stat st;
	int err = 0;

	/* Only files that have the bits lose them; on a directory setgid means something else. */
	if (mask & FS_SET_KILL_PRIV) {
		err = fs_getattr(r->mount->fs, r->ino, &st);
		if (!err && (S_ISDIR(st.st_mode) || !(st.st_mode & (S_ISUID | S_ISGID))))
			mask &= ~(unsigned)FS_SET_KILL_PRIV;
	}
	if (err)
		;
	else if (mask)
		err = fs_setattr(r->mount->fs, &cred, r->ino, want, mask, &st);
	else
		err = fs_getattr(r->mount->fs, r->ino, &st);
	if (err)
		reply_error(r, err);
	else
		reply_attributes(r, &st);
}

void op_statfs(struct request *r)
{
	struct statvfs st;
	int err = fs_statfs(r->mount->fs, &st);

	if (err)
		reply_error(r, err);
	else
		reply_statfs(r, &st);
}
