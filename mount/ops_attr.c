/*
 * ops_attr.c - attributes of files, and of the filesystem.
 *
 * A change of a file's content or owner clears its setuid and setgid bits. There are
 * exceptions, which depend on the groups of the process. The kernel knows these rules, and
 * leaves the work to the daemon (FUSE_HANDLE_KILLPRIV_V2). But it only says that
 * some bits must be cleared: by a flag of a truncation, and before any other change of
 * content by a request to set nothing.
 */
#include <errno.h>
#include <unistd.h>

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

static bool op_may_write(struct request *r, const struct stat *st)
{
	if (!r->uid || r->uid == st->st_uid)
		return true;
	return st->st_mode & (request_in_group(r, st->st_gid) ? S_IWGRP : S_IWOTH);
}

/* Setgid of a file that its group may not execute is only cleared for those not in the group. */
static unsigned op_kill_sgid(struct request *r, const struct stat *st)
{
	return (st->st_mode & (S_ISGID | S_IXGRP)) == S_ISGID && r->uid &&
			       !request_in_group(r, st->st_gid) ?
		       FS_SET_KILL_SGID :
		       0;
}

/*
 * Put into `*mask` which of the bits of `st` must be cleared.
 *
 * chown(file, -1, -1) comes as the same request as the one before a write, and the kernel has
 * not checked whether the process may do it. Another user must not clear the bits of a
 * program that way. Refusing the request would be right for chown(), but it would also refuse
 * a write through a descriptor that another process has opened and passed on. So nothing is
 * cleared for such a user, and op_kill_priv() clears the bits when a write comes. Only files
 * that are not regular are never written by such a request, and there it is refused.
 */
static int op_kill_mask(struct request *r, const struct stat *st, unsigned *mask)
{
	const unsigned kill = FS_SET_KILL_PRIV;

	/* On a directory setgid means something else, and stays. */
	if (S_ISDIR(st->st_mode) || !(st->st_mode & (S_ISUID | S_ISGID))) {
		if (*mask != kill)
			*mask &= ~kill;
		return 0;
	}
	if (*mask == kill && !S_ISREG(st->st_mode) && r->uid && r->uid != st->st_uid)
		return -EPERM;
	if (*mask == kill && !op_may_write(r, st))
		*mask = 0;
	else
		*mask |= op_kill_sgid(r, st);
	return 0;
}

int op_kill_priv(struct request *r, uint64_t ino)
{
	struct stat st, none = {0};
	int err;

	if (!r->uid)
		return 0;
	err = fs_getattr(r->mount->fs, ino, &st);
	if (err || S_ISDIR(st.st_mode) || !(st.st_mode & (S_ISUID | S_ISGID)))
		return err;
	err = fs_setattr(r->mount->fs, NULL, ino, &none, FS_SET_KILL_PRIV | op_kill_sgid(r, &st),
			 &st);
	transport_forget_attributes(r, ino);
	return err;
}

void op_setattr(struct request *r, const struct stat *want, unsigned mask)
{
	/* Privileged: where a new mode may not have setgid, the kernel has cleared it already. */
	struct fs_cred cred = {.uid = r->uid, .gid = r->gid, .privileged = true};
	struct stat st;
	int err = 0;

	if (mask & FS_SET_KILL_PRIV) {
		err = fs_getattr(r->mount->fs, r->ino, &st);
		if (!err)
			err = op_kill_mask(r, &st, &mask);
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

/*
 * The kernel leaves this check to the daemon only on mounts that no user but root can reach
 * (options.c). Root may do everything, except execute a file that nobody may execute.
 */
void op_access(struct request *r, int wanted)
{
	const mode_t executable = S_IXUSR | S_IXGRP | S_IXOTH;
	struct stat st;
	int err = fs_getattr(r->mount->fs, r->ino, &st);

	if (!err && wanted & X_OK && !S_ISDIR(st.st_mode) && !(st.st_mode & executable))
		err = -EACCES;
	reply_error(r, err);
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
