/*
 * fs.h - a POSIX filesystem over the tree. Knows nothing of FUSE.
 *
 * Files are named by inode number, as the kernel does: a caller looks a name
 * up in a directory and gets the number with one reference ("lookup"), which
 * keeps a file's content alive after its last name went, and gives references
 * back with fs_forget(). The root is FS_ROOT_INO and needs none.
 *
 * Every function returns 0 or a negative errno, as the system call would:
 * ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, ENAMETOOLONG, EMLINK,
 * EFBIG, ENOSPC, ENODATA, ERANGE, EROFS; EIO for a failing device and for
 * damaged bytes; ESTALE for an inode number nobody holds. Each changing call is
 * one atomic batch of the tree, ordered with all others; it survives the death
 * of the process on return, and power loss as lsm.h says.
 * Permissions are not checked here but where a comment says so: the kernel does
 * that. Threads: any.
 */
#ifndef FS_H
#define FS_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "lsm/lsm.h" /* options, reports and statistics of the store */

#define FS_ROOT_INO 1u
#define FS_NAME_BYTES_MAX 255u
#define FS_SYMLINK_BYTES_MAX 4095u
#define FS_XATTR_BYTES_MAX 65536u
#define FS_LINKS_MAX 65000u
#define FS_FILE_BYTES_MAX INT64_MAX
#define FS_INLINE_BYTES_MAX 2048u /* content kept in the file's record */

struct fs;
struct fs_dir;

/* On whose behalf: the owner of what is made. */
struct fs_cred {
	uid_t uid;
	gid_t gid;
	bool privileged; /* CAP_FSETID: may keep setgid bits of groups it is not in */
	mode_t umask;    /* taken off the mode of what is made, unless a default ACL counts */
};

enum fs_atime { FS_RELATIME, FS_NOATIME, FS_STRICTATIME };

struct fs_options {
	struct lsm_options lsm; /* memory_bytes is for both layers */
	enum fs_atime atime;
	bool sync;      /* every change survives power loss on return */
	bool acl;       /* POSIX ACLs count; without it they are neither seen nor changed */
	uid_t root_uid; /* owner of the root of a new store */
	gid_t root_gid;
};

/* As lsm_open() and lsm_close(); also -EUCLEAN when the tree holds no filesystem. */
int fs_open(const char *path, const struct fs_options *options, struct fs **out);
int fs_close(struct fs *fs); /* outstanding references are dropped; orphans are freed */

/* ---- names ---- */

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct stat *st); /* + reference */
void fs_forget(struct fs *fs, uint64_t ino, uint64_t count);

/* Make a name; `st` gets the new inode, with a reference. `mode`: with type. */
int fs_mknod(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	     mode_t mode, dev_t rdev, struct stat *st);
int fs_mkdir(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	     mode_t mode, struct stat *st);
int fs_symlink(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	       const char *target, struct stat *st);
/* A regular file with no name, freed at its last reference unless fs_link() gives it one. */
int fs_tmpfile(struct fs *fs, const struct fs_cred *cred, uint64_t parent, mode_t mode,
	       struct stat *st);
int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct stat *st);
int fs_unlink(struct fs *fs, uint64_t parent, const char *name);
int fs_rmdir(struct fs *fs, uint64_t parent, const char *name);

#define FS_RENAME_NOREPLACE 1u
#define FS_RENAME_EXCHANGE 2u
int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	      const char *new_name, unsigned flags);

/* The target, NUL-terminated, in `buf` of FS_SYMLINK_BYTES_MAX + 1. */
int fs_readlink(struct fs *fs, uint64_t ino, char *buf);

/* ---- attributes ---- */

int fs_getattr(struct fs *fs, uint64_t ino, struct stat *st);

enum fs_set {
	FS_SET_MODE = 1,
	FS_SET_UID = 2,
	FS_SET_GID = 4,
	FS_SET_SIZE = 8,
	FS_SET_ATIME = 16,
	FS_SET_MTIME = 32,
	FS_SET_CTIME = 64,
	FS_SET_ATIME_NOW = 128,
	FS_SET_MTIME_NOW = 256,
	FS_SET_KILL_PRIV = 512,  /* clear setuid, setgid, and security.capability */
	FS_SET_KILL_SGID = 1024, /* ... setgid also of what its group may not execute */
};
/* Set what `mask` names from `want`; `st` gets the result. All in one batch. */
int fs_setattr(struct fs *fs, const struct fs_cred *cred, uint64_t ino, const struct stat *want,
	       unsigned mask, struct stat *st);

int fs_statfs(struct fs *fs, struct statvfs *st);

/*
 * Any name up to 255 bytes; which ones there are and who may set them is the caller's
 * policy. But "system.posix_acl_access" and "system.posix_acl_default" are ACLs, in the
 * form Linux has for them: setting the first sets the mode too, see acl.c. Also
 * -EOPNOTSUPP for these without fs_options.acl, and on symbolic links; -EINVAL for what is
 * no ACL; -EACCES for a default one of anything but a directory.
 * flags: XATTR_CREATE, XATTR_REPLACE (not for ACLs), FS_XATTR_KILL_SGID.
 */
#define FS_XATTR_KILL_SGID 0x100 /* of an access ACL: clear setgid, whatever the inode is */
int fs_setxattr(struct fs *fs, uint64_t ino, const char *name, const void *value, size_t size,
		int flags);
/* `*got` is the size of the value; with `size` 0 nothing is copied; -ERANGE if it does not fit. */
int fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *value, size_t size,
		size_t *got);
int fs_listxattr(struct fs *fs, uint64_t ino, char *list, size_t size, size_t *got);
/* An ACL that is not there is removed, too: 0. */
int fs_removexattr(struct fs *fs, uint64_t ino, const char *name);

/* ---- data ---- */

/* `*got` < `size` only at the end of the file. May update atime. */
int fs_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size, size_t *got);
/* The same, but never updates atime: for O_NOATIME. */
int fs_read_noatime(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size,
		    size_t *got);
/* Would reading it (a file or a directory) update its atime now? False also for nobody's. */
bool fs_atime_due(struct fs *fs, uint64_t ino);

#define FS_WRITE_APPEND 1u    /* at the end, atomically; `offset` is ignored */
#define FS_WRITE_SYNC 2u      /* survive power loss on return */
#define FS_WRITE_KILL_PRIV 4u /* clear setuid and setgid bits */
/* All of it or an error; `st` (may be NULL) gets the attributes after it. */
int fs_write(struct fs *fs, uint64_t ino, uint64_t offset, const void *data, size_t size,
	     unsigned flags, struct stat *st);

/* `mode` as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE];
 * else -EOPNOTSUPP. Sets no space aside; -ENOSPC if there is not as much. */
int fs_fallocate(struct fs *fs, uint64_t ino, int mode, uint64_t offset, uint64_t size);
/* `whence` SEEK_DATA or SEEK_HOLE; -ENXIO beyond the end. */
int fs_seek(struct fs *fs, uint64_t ino, uint64_t offset, int whence, uint64_t *out);
/* Copy within the store, sharing what is in segments; `*copied` may be short. -EINVAL: overlap. */
int fs_copy_range(struct fs *fs, uint64_t from, uint64_t from_offset, uint64_t to,
		  uint64_t to_offset, size_t size, size_t *copied);

/* Everything done so far, to whatever file, survives power loss on return: there is one log. */
int fs_sync(struct fs *fs);

/* ---- directories ---- */

/*
 * Open a directory for reading. The entries are those of the moment of the last
 * read at offset 0: none is seen twice or missed, whatever goes on beside.
 */
int fs_dir_open(struct fs *fs, uint64_t ino, struct fs_dir **out);
/* Reading it never updates atime: for O_NOATIME. Before the first read. */
void fs_dir_set_noatime(struct fs_dir *dir);
void fs_dir_close(struct fs_dir *dir);

/*
 * One entry; `next` is the offset to go on behind it, any time while the
 * directory is open. With attributes: `st` is whole and, except for "." and
 * "..", the entry holds a reference; if the name went meanwhile, if the table of
 * inodes is full, or without attributes, only st_ino and the type in st_mode are
 * set and there is none. `held` tells which. Return non-zero to stop before
 * this entry (no room): its reference is then given back, and it is the next to be
 * read.
 */
typedef int fs_dir_fn(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next);
int fs_dir_read(struct fs_dir *dir, uint64_t offset, bool with_attributes, fs_dir_fn *fn,
		void *ctx);

/* ---- upkeep ---- */

/*
 * The kernel holds references for as long as it caches names. When the table of
 * inodes outgrows its share of memory, `fn` is called, from a thread of its own
 * that holds no lock, to ask that this name be dropped from the cache.
 */
typedef void fs_prune_fn(void *ctx, uint64_t parent, const char *name);
/* `fn` NULL: stop; waits for a running call. */
void fs_set_prune(struct fs *fs, fs_prune_fn *fn, void *ctx);

/*
 * Verify the store: the tree (lsm_verify) and then the filesystem in it: every
 * name has its inode, link counts and directory counts are right, no inode is
 * nobody's but the orphans, extents are within their files and do not overlap.
 * Each finding is one call in words, with a path where one is known; so is, without
 * counting as one, each file with parts that a repair marked as lost.
 * Returns 0 clean; -EUCLEAN if there were findings.
 */
typedef void fs_finding_fn(void *ctx, const char *text);
struct fs_check_counts {
	uint64_t files, directories, symlinks, others, bytes, orphans, findings;
	uint64_t lost_bytes; /* of files, marked so by a repair */
};
int fs_check(struct fs *fs, fs_finding_fn *finding, void *ctx, lsm_progress_fn *progress,
	     void *progress_ctx, struct fs_check_counts *counts);

/*
 * Repair a closed, damaged store: save all that can be read, and make one whole
 * filesystem of it. What has lost its name is put into /lost+found; parts of files that
 * are lost are marked, so that reading them is an error until they are written again.
 * The rules are at the top of repair.c. Each action is one call of `finding`, in words.
 * The store changes in one step at the end, after fs_check() found the result clean: if
 * it fails, or is cut short, the store is as it was. Files that were replaced stay,
 * with ".old" behind their names; `counts->kept_bytes` of them.
 * Returns 0 when the store is whole, nothing being done if it was before; as fs_open()
 * when it cannot be opened at all, -ENODATA if there is nothing to be saved; -EUCLEAN,
 * with the findings told, if what was made is not whole.
 */
struct fs_repair_counts {
	uint64_t actions; /* all that was put right, without what the tree told of */
	uint64_t saved;   /* ... put into lost+found */
	uint64_t lost;    /* pieces of damage and of losses that were told */
	uint64_t kept_bytes;
	struct fs_check_counts check; /* of the repaired store, if anything was done */
};
int fs_repair(const char *path, const struct fs_options *options, fs_finding_fn *finding, void *ctx,
	      lsm_progress_fn *progress, void *progress_ctx, struct fs_repair_counts *counts);

/* Compact all of the store; as lsm_compact(). */
int fs_compact(struct fs *fs, lsm_progress_fn *progress, void *ctx);

struct fs_stats {
	struct lsm_stats lsm;
	uint64_t files; /* inodes in use */
	uint64_t inodes_in_memory, inode_bytes;
};
int fs_stats(struct fs *fs, struct fs_stats *stats);

#endif
