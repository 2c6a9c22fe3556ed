/*
 * transport_fuse_requests.c - libfuse's handlers: each turns libfuse's arguments
 * into a request of ours and calls its operation (ops.h). Only rules of the FUSE
 * protocol itself are decided here.
 *
 * OPEN is answered ENOSYS, after which the kernel opens files by itself, unless the exact
 * times of access are wanted (ops_data.c). Then the kernel may not be promised that an open
 * truncates: truncation comes as SETATTR.
 */
#include "mount/transport_fuse.h"

#include <errno.h>
#include <stdio.h>

#include "mount/ops.h"

#define WRITE_BYTES_MAX (1u << 20)
#define BACKGROUND_MAX 64 /* requests for read-ahead and asynchronous I/O at a time */

static struct request fuse_request(fuse_req_t req, fuse_ino_t ino)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct transport *t = fuse_req_userdata(req);

	return (struct request){
		.mount = t->mount,
		.ino = ino,
		.uid = ctx->uid,
		.gid = ctx->gid,
		.pid = ctx->pid,
		.umask = ctx->umask,
		.handle = req,
	};
}

static void fuse_on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request r = fuse_request(req, parent);

	op_lookup(&r, name);
}

static void fuse_on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct request r = fuse_request(req, ino);

	op_forget(&r, ino, count);
	reply_none(&r);
}

static void fuse_on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct request r = fuse_request(req, 0);
	size_t i;

	for (i = 0; i < count; i++)
		op_forget(&r, forgets[i].ino, forgets[i].nlookup);
	reply_none(&r);
}

static void fuse_on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	(void)fi;
	op_getattr(&r);
}

static void fuse_on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			    struct fuse_file_info *fi)
{
	static const struct {
		int theirs;
		unsigned ours;
	} bits[] = {
		{FUSE_SET_ATTR_MODE, FS_SET_MODE},
		{FUSE_SET_ATTR_UID, FS_SET_UID},
		{FUSE_SET_ATTR_GID, FS_SET_GID},
		{FUSE_SET_ATTR_SIZE, FS_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, FS_SET_ATIME},
		{FUSE_SET_ATTR_MTIME, FS_SET_MTIME},
		{FUSE_SET_ATTR_CTIME, FS_SET_CTIME},
		{FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW},
		{FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW},
		{FUSE_SET_ATTR_KILL_SUID, FS_SET_KILL_PRIV},
	};
	struct request r = fuse_request(req, ino);
	struct transport *t = fuse_req_userdata(req);
	unsigned mask = 0;
	size_t i;

	(void)fi;
	for (i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		if (to_set & bits[i].theirs)
			mask |= bits[i].ours;
	/*
	 * A request to set the atime to "now" also has a time in it, which is ignored. But
	 * with the write-back cache the kernel keeps the mtime itself and sends it as a time.
	 * Then the atime must be that very time, too.
	 */
	if (mask & FS_SET_ATIME_NOW && mask & FS_SET_ATIME && t->mount->options->writeback)
		mask &= ~(unsigned)FS_SET_ATIME_NOW;
	if (mask & FS_SET_ATIME_NOW)
		mask &= ~(unsigned)FS_SET_ATIME;
	if (mask & FS_SET_MTIME_NOW)
		mask &= ~(unsigned)FS_SET_MTIME;
	/* A new owner clears setuid and setgid, unless the request sets a mode as well. */
	if ((!mask || mask & (FS_SET_UID | FS_SET_GID)) && !(mask & FS_SET_MODE) && t->kill_priv_v2)
		mask |= FS_SET_KILL_PRIV;
	op_setattr(&r, attr, mask);
}

static void fuse_on_access(fuse_req_t req, fuse_ino_t ino, int wanted)
{
	struct request r = fuse_request(req, ino);

	op_access(&r, wanted);
}

static void fuse_on_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct request r = fuse_request(req, ino);

	op_readlink(&r);
}

static void fuse_on_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			  dev_t rdev)
{
	struct request r = fuse_request(req, parent);

	op_mknod(&r, name, mode, rdev);
}

static void fuse_on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct request r = fuse_request(req, parent);

	op_mkdir(&r, name, mode);
}

static void fuse_on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request r = fuse_request(req, parent);

	op_unlink(&r, name);
}

static void fuse_on_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request r = fuse_request(req, parent);

	op_rmdir(&r, name);
}

static void fuse_on_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct request r = fuse_request(req, parent);

	op_symlink(&r, name, target);
}

static void fuse_on_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
			   fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	struct request r = fuse_request(req, parent);
	unsigned ours = 0;

	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
		reply_error(&r, -EINVAL);
		return;
	}
	if (flags & RENAME_NOREPLACE)
		ours |= FS_RENAME_NOREPLACE;
	if (flags & RENAME_EXCHANGE)
		ours |= FS_RENAME_EXCHANGE;
	op_rename(&r, name, new_parent, new_name, ours);
}

static void fuse_on_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct request r = fuse_request(req, ino);

	op_link(&r, parent, name);
}

static void fuse_on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct transport *t = fuse_req_userdata(req);
	struct request r = fuse_request(req, ino);

	if (t->mount->options->exact_atime || !(t->offered & FUSE_NO_OPEN_SUPPORT))
		op_open(&r, fi->flags);
	else
		reply_error(&r, -ENOSYS);
}

static void fuse_on_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			   struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, parent);

	(void)fi;
	op_create(&r, name, mode);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
static void fuse_on_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode,
			    struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, parent);

	(void)fi;
	op_tmpfile(&r, mode);
}
#endif

static void fuse_on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			 struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	op_read(&r, (uint64_t)offset, size, fi->flags);
}

static void fuse_on_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
			  off_t offset, struct fuse_file_info *fi)
{
	struct transport *t = fuse_req_userdata(req);
	struct request r = fuse_request(req, ino);

	op_write(&r, (uint64_t)offset, data, size, fi->flags,
		 t->kill_priv_v2 && transport_write_kills_priv);
}

/* The kernel keeps POSIX locks itself, and sends writes before they return: nothing to do. */
static void fuse_on_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	(void)fi;
	reply_error(&r, -ENOSYS);
}

static void fuse_on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	(void)datasync;
	(void)fi;
	op_fsync(&r);
}

static void fuse_on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	op_opendir(&r, fi->flags);
}

static struct open_dir *fuse_dir(const struct fuse_file_info *fi)
{
	return (struct open_dir *)(uintptr_t)fi->fh;
}

static void fuse_on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			    struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	op_readdir(&r, fuse_dir(fi), (uint64_t)offset, size, false);
}

static void fuse_on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
				struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	op_readdir(&r, fuse_dir(fi), (uint64_t)offset, size, true);
}

static void fuse_on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	op_releasedir(&r, fuse_dir(fi));
}

static void fuse_on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct request r = fuse_request(req, ino);

	op_statfs(&r);
}

static void fuse_on_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			     size_t size, int flags)
{
	struct request r = fuse_request(req, ino);

	op_setxattr(&r, name, value, size, flags, transport_setxattr_kills_sgid);
}

static void fuse_on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct request r = fuse_request(req, ino);

	op_getxattr(&r, name, size);
}

static void fuse_on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct request r = fuse_request(req, ino);

	op_listxattr(&r, size);
}

static void fuse_on_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct request r = fuse_request(req, ino);

	op_removexattr(&r, name);
}

static void fuse_on_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
			  struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
			  size_t out_size)
{
	struct request r = fuse_request(req, ino);

	(void)cmd, (void)arg, (void)fi, (void)flags, (void)in, (void)in_size, (void)out_size;
	reply_error(&r, -ENOTTY);
}

static void fuse_on_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t size,
			      struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	(void)fi;
	op_fallocate(&r, mode, (uint64_t)offset, (uint64_t)size);
}

static void fuse_on_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
				    struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_offset,
				    struct fuse_file_info *to_fi, size_t size, int flags)
{
	struct request r = fuse_request(req, from);

	(void)from_fi, (void)to_fi;
	if (flags)
		reply_error(&r, -EINVAL);
	else
		op_copy_file_range(&r, (uint64_t)from_offset, to, (uint64_t)to_offset, size);
}

static void fuse_on_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
			  struct fuse_file_info *fi)
{
	struct request r = fuse_request(req, ino);

	(void)fi;
	op_lseek(&r, (uint64_t)offset, whence);
}

static void fuse_on_init(void *userdata, struct fuse_conn_info *conn)
{
	struct transport *t = userdata;
	const struct mount_options *options = t->mount->options;

	conn->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA |
				  FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_HANDLE_KILLPRIV |
				  FUSE_CAP_IOCTL_DIR | FUSE_CAP_SPLICE_READ |
				  FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	/*
	 * With asynchronous direct I/O the kernel drops the cached pages of a write before the
	 * write, and not after it: what is read beside it stays in the cache, with the old bytes.
	 */
	conn->want &= ~(unsigned)FUSE_CAP_ASYNC_DIO;
	conn->want |= conn->capable &
		      (FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS | FUSE_CAP_EXPLICIT_INVAL_DATA);
	if (!options->exact_atime)
		conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
	if (options->writeback)
		conn->want |= conn->capable & FUSE_CAP_WRITEBACK_CACHE;
	/* The kernel is to send the umask: in a directory with a default ACL it has no effect. */
	if (options->fs.acl)
		conn->want |= conn->capable & (FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK);
	conn->max_write = WRITE_BYTES_MAX;
	conn->max_read = options->max_read;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
}

const struct fuse_lowlevel_ops transport_handlers = {
	.init = fuse_on_init,
	.lookup = fuse_on_lookup,
	.forget = fuse_on_forget,
	.forget_multi = fuse_on_forget_multi,
	.getattr = fuse_on_getattr,
	.setattr = fuse_on_setattr,
	.access = fuse_on_access,
	.readlink = fuse_on_readlink,
	.mknod = fuse_on_mknod,
	.mkdir = fuse_on_mkdir,
	.unlink = fuse_on_unlink,
	.rmdir = fuse_on_rmdir,
	.symlink = fuse_on_symlink,
	.rename = fuse_on_rename,
	.link = fuse_on_link,
	.open = fuse_on_open,
	.create = fuse_on_create,
	.read = fuse_on_read,
	.write = fuse_on_write,
	.flush = fuse_on_flush,
	.fsync = fuse_on_fsync,
	.fsyncdir = fuse_on_fsync,
	.opendir = fuse_on_opendir,
	.readdir = fuse_on_readdir,
	.readdirplus = fuse_on_readdirplus,
	.releasedir = fuse_on_releasedir,
	.statfs = fuse_on_statfs,
	.setxattr = fuse_on_setxattr,
	.getxattr = fuse_on_getxattr,
	.listxattr = fuse_on_listxattr,
	.removexattr = fuse_on_removexattr,
	.ioctl = fuse_on_ioctl,
	.fallocate = fuse_on_fallocate,
	.copy_file_range = fuse_on_copy_file_range,
	.lseek = fuse_on_lseek,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	.tmpfile = fuse_on_tmpfile,
#endif
};
