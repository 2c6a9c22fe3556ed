/*
 * ops_names.c - looking names up, making and removing them.
 *
 * A reply with an inode gives the kernel a reference to it. If the reply does not reach
 * the kernel (the connection is ending), the handler drops the reference.
 */
#include <errno.h>

#include "mount/ops.h"

/*
 * The kernel has checked permissions, and has cleared setgid in modes that may not have it. It
 * knows all groups of the process. So the mode is used as it comes.
 */
static struct fs_cred op_cred(const struct request *r)
{
	return (struct fs_cred){
		.uid = r->uid, .gid = r->gid, .privileged = true, .umask = r->umask};
}

static void op_reply_entry(struct request *r, int err, const struct stat *st)
{
	if (err)
		reply_error(r, err);
	else if (reply_entry(r, st))
		fs_forget(r->mount->fs, st->st_ino, 1);
}

static void op_reply_created(struct request *r, int err, const struct stat *st)
{
	if (err)
		reply_error(r, err);
	else if (reply_created(r, st))
		fs_forget(r->mount->fs, st->st_ino, 1);
}

void op_lookup(struct request *r, const char *name)
{
	struct stat st;
	int err = fs_lookup(r->mount->fs, r->ino, name, &st);

	if (err == -ENOENT)
		reply_absent(r);
	else
		op_reply_entry(r, err, &st);
}

void op_forget(struct request *r, uint64_t ino, uint64_t count)
{
	fs_forget(r->mount->fs, ino, count);
}

void op_create(struct request *r, const char *name, mode_t mode)
{
	struct fs_cred cred = op_cred(r);
	struct stat st;
	int err = fs_mknod(r->mount->fs, &cred, r->ino, name, S_IFREG | (mode & 07777), 0, &st);

	op_reply_created(r, err, &st);
}

void op_mknod(struct request *r, const char *name, mode_t mode, dev_t rdev)
{
	struct fs_cred cred = op_cred(r);
	struct stat st;
	int err = fs_mknod(r->mount->fs, &cred, r->ino, name, mode, rdev, &st);

	op_reply_entry(r, err, &st);
}

void op_mkdir(struct request *r, const char *name, mode_t mode)
{
	struct fs_cred cred = op_cred(r);
	struct stat st;
	int err = fs_mkdir(r->mount->fs, &cred, r->ino, name, S_IFDIR | (mode & 07777), &st);

	op_reply_entry(r, err, &st);
}

void op_symlink(struct request *r, const char *name, const char *target)
{
	struct fs_cred cred = op_cred(r);
	struct stat st;
	int err = fs_symlink(r->mount->fs, &cred, r->ino, name, target, &st);

	op_reply_entry(r, err, &st);
}

void op_tmpfile(struct request *r, mode_t mode)
{
	struct fs_cred cred = op_cred(r);
	struct stat st;
	int err = fs_tmpfile(r->mount->fs, &cred, r->ino, S_IFREG | (mode & 07777), &st);

	op_reply_created(r, err, &st);
}

void op_link(struct request *r, uint64_t parent, const char *name)
{
	struct stat st;
	int err = fs_link(r->mount->fs, r->ino, parent, name, &st);

	op_reply_entry(r, err, &st);
}

void op_unlink(struct request *r, const char *name)
{
	reply_error(r, fs_unlink(r->mount->fs, r->ino, name));
}

void op_rmdir(struct request *r, const char *name)
{
	reply_error(r, fs_rmdir(r->mount->fs, r->ino, name));
}

void op_rename(struct request *r, const char *name, uint64_t new_parent, const char *new_name,
	       unsigned flags)
{
	reply_error(r, fs_rename(r->mount->fs, r->ino, name, new_parent, new_name, flags));
}

void op_readlink(struct request *r)
{
	char target[FS_SYMLINK_BYTES_MAX + 1];
	int err = fs_readlink(r->mount->fs, r->ino, target);

	if (err)
		reply_error(r, err);
	else
		reply_target(r, target);
}
