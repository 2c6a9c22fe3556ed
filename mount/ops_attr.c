/*
 * ops_attr.c - attributes of files, and of the filesystem.
 *
 * Who changes the content or the owner of a file takes its setuid and setgid away, with
 * exceptions that ask for the caller's groups. The kernel knows these, and leaves the work
 * to us (FUSE_HANDLE_KILLPRIV_V2), but says only that something has to go: by a flag of a
 * truncation, and before any other change of content by a request to set nothing.
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

/* Where the group may not execute, setgid stays for its members. */
static unsigned op_kill_sgid(struct request *r, const struct stat *st)
{
	return (st->st_mode & (S_ISGID | S_IXGRP)) == S_ISGID && r->uid &&
			       !request_in_group(r, st->st_gid) ?
		       FS_SET_KILL_SGID :
		       0;
}

/*
 * Put into `*mask` what has to go of the bits of `st`.
 *
 * chown() to nobody comes as the same request as a write, but without the kernel having
 * looked whether its caller may: nobody else is to take the bits of others' programs. It
 * would be refused; but so would be the write of who was given an open descriptor, for whom
 * op_kill_priv() takes the bits later. Only what is no regular file tells the two apart.
 */
static int op_kill_mask(struct request *r, const struct stat *st, unsigned *mask)
{
	const unsigned kill = FS_SET_KILL_PRIV;

	/* Only files that have the bits lose them; on a directory setgid means something else. */
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
	/* Privileged: the kernel has taken setgid off a mode where it must go. */
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
 * Only root reaches a mount that does not let the kernel check (options.c): it may do
 * everything but execute what nobody may.
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
