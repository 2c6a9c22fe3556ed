/*
 * ops.h - one handler for each kind of request. A handler makes one call of fs.h and replies.
 *
 * `r->ino` is the inode, or for a name its directory. Arguments are those of the
 * system call of that name. They are only used until the reply.
 * Threads: any.
 */
#ifndef MOUNT_OPS_H
#define MOUNT_OPS_H

#include "mount/transport.h"

/* names: ops_names.c */
void op_lookup(struct request *r, const char *name);
void op_forget(struct request *r, uint64_t ino, uint64_t count); /* does not reply */
void op_create(struct request *r, const char *name, mode_t mode);
void op_mknod(struct request *r, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(struct request *r, const char *name, mode_t mode);
void op_symlink(struct request *r, const char *name, const char *target);
void op_tmpfile(struct request *r, mode_t mode);
void op_link(struct request *r, uint64_t parent, const char *name);
void op_unlink(struct request *r, const char *name);
void op_rmdir(struct request *r, const char *name);
void op_rename(struct request *r, const char *name, uint64_t new_parent, const char *new_name,
	       unsigned flags);
void op_readlink(struct request *r);

/* attributes: ops_attr.c */
void op_getattr(struct request *r);
void op_setattr(struct request *r, const struct stat *want, unsigned mask);
/* `wanted`: R_OK, W_OK and X_OK, combined. Asked only where the kernel does not check itself. */
void op_access(struct request *r, int wanted);
void op_statfs(struct request *r);
/*
 * Clear setuid and setgid of `ino` if a change of its content by this request must clear them.
 * The handler calls it before the change. 0 or a negative errno.
 */
int op_kill_priv(struct request *r, uint64_t ino);

/* extended attributes: ops_xattr.c */
/* `kill_sgid`: setting an access ACL clears setgid, as the process is not in the file's group. */
void op_setxattr(struct request *r, const char *name, const void *value, size_t size, int flags,
		 bool kill_sgid);
void op_getxattr(struct request *r, const char *name, size_t size);
void op_listxattr(struct request *r, size_t size);
void op_removexattr(struct request *r, const char *name);

/* data: ops_data.c. `open_flags`: the O_ flags of the descriptor. */
void op_open(struct request *r, int open_flags);
void op_read(struct request *r, uint64_t offset, size_t size, int open_flags);
/* `kill_priv`: the write must clear setuid and setgid. */
void op_write(struct request *r, uint64_t offset, const void *data, size_t size, int open_flags,
	      bool kill_priv);
void op_fallocate(struct request *r, int mode, uint64_t offset, uint64_t size);
void op_lseek(struct request *r, uint64_t offset, int whence);
void op_copy_file_range(struct request *r, uint64_t offset, uint64_t to, uint64_t to_offset,
			size_t size);
void op_fsync(struct request *r);

/* directories: ops_dir.c */
void op_opendir(struct request *r, int open_flags);
void op_readdir(struct request *r, struct open_dir *open, uint64_t offset, size_t size, bool plus);
void op_releasedir(struct request *r, struct open_dir *open);
/* Before the first request. 0 or a negative errno. */
int open_dirs_init(struct open_dirs *dirs);
/* After the last request: close the directories that the kernel has not closed. */
void open_dirs_release(struct open_dirs *dirs);

#endif
