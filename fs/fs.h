/*
 * fs.h - a POSIX filesystem over the tree. Knows nothing of FUSE.
 *
 * Files are named by inode number, as in the kernel. A caller looks up a name in a directory and
 * gets the number with one reference. The reference keeps the inode in memory, and a file's
 * content after its last name is gone, until the caller drops it with fs_forget(). The root is
 * FS_ROOT_INO and needs no reference.
 *
 * What holds for every function, unless its comment says more:
 *
 *   Returns     0 or a negative errno, as the system call of that name: ENOENT, EEXIST, ENOTDIR,
 *               EISDIR, ENOTEMPTY, EINVAL, ENAMETOOLONG, EMLINK, EFBIG, ENOSPC, ENODATA, ERANGE,
 *               EROFS, ENOMEM; EIO for a failing device and for damaged bytes, which are also
 *               reported with the inode and the reason; ESTALE for an inode number to which
 *               there is no reference. Out-parameters are set in any case.
 *   Failures    A call that fails has changed nothing, except where waiting for durability
 *               failed: then the change is made, may not survive power loss, and the caller
 *               has no new reference.
 *   Durability  Each changing call is one atomic batch of the tree, in one order with all
 *               others. It survives the death of the process on return. It survives power loss
 *               after the next fs_sync(), within the commit interval of lsm.h, or on return
 *               with fs_options.sync.
 *   Threads     Any thread may call anything at any time, but see fs_close() and fs_dir_fn.
 *   Ownership   Names, buffers and structs stay the caller's.
 *
 * Permissions are not checked here, as the kernel does that, except where a comment says so.
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

/* The user for whom a call is made: the owner of what it makes. */
struct fs_cred {
	uid_t uid;
	gid_t gid;
	bool privileged; /* CAP_FSETID: may keep setgid bits of groups it is not in */
	mode_t umask;    /* cleared in the mode of what is made, unless a default ACL applies */
};

enum fs_atime { FS_RELATIME, FS_NOATIME, FS_STRICTATIME };

struct fs_options {
	struct lsm_options lsm; /* memory_bytes is for both layers */
	enum fs_atime atime;
	bool sync;      /* every change survives power loss on return */
	bool acl;       /* POSIX ACLs apply; without it they are neither shown nor changed */
	uid_t root_uid; /* owner of the root of a new store */
	gid_t root_gid;
};

/*
 * Open the filesystem in the store at `path`, or make one if there is no store and
 * options->lsm.create is set. Frees what a crash left of deleted files.
 *
 * `options` and `path` may go after the call; what options->lsm.report and its context point to
 * must stay until fs_close().
 * Returns 0 and the filesystem in `*out`; otherwise `*out` is NULL, with an error as of
 * lsm_open(), or -EUCLEAN when the tree holds no filesystem, reported in words.
 */
int fs_open(const char *path, const struct fs_options *options, struct fs **out);

/*
 * Close the filesystem and free `fs`. No other call may be at work, and no directory may be
 * open. References that are left are dropped, and nameless files freed. NULL does nothing.
 * Returns the first error of the last sync; it is closed anyway.
 * Durability: everything done before survives power loss on success.
 */
int fs_close(struct fs *fs);

/* ---- names ---- */

/*
 * Look up `name` in directory `parent`; "." and ".." work too. `st` gets the attributes, and the
 * caller one reference to st->st_ino.
 */
int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct stat *st);
/* Drop `count` references to `ino`. The last one frees the content of a file without a name. */
void fs_forget(struct fs *fs, uint64_t ino, uint64_t count);

/*
 * Make `name` in directory `parent`: a file, device, fifo or socket by the type in `mode` (none:
 * a file), a directory, or a symbolic link to `target`. `st` gets the attributes, and the caller
 * one reference to st->st_ino.
 */
int fs_mknod(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	     mode_t mode, dev_t rdev, struct stat *st);
int fs_mkdir(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	     mode_t mode, struct stat *st);
int fs_symlink(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	       const char *target, struct stat *st);
/* A regular file with no name, freed at its last reference unless fs_link() gives it one. */
int fs_tmpfile(struct fs *fs, const struct fs_cred *cred, uint64_t parent, mode_t mode,
	       struct stat *st);
/*
 * Give `ino`, which is no directory, one more name. `st` gets its attributes, and the caller one
 * more reference. A deleted file gets no new name: -ENOENT.
 */
int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct stat *st);
/* Remove a name of anything but a directory; or an empty directory. These work on a full disk. */
int fs_unlink(struct fs *fs, uint64_t parent, const char *name);
int fs_rmdir(struct fs *fs, uint64_t parent, const char *name);

#define FS_RENAME_NOREPLACE 1u
#define FS_RENAME_EXCHANGE 2u
/*
 * Move `name` in `parent` to `new_name` in `new_parent`, and replace what is there, as
 * renameat2(2). `flags`: none or one of the above.
 */
int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	      const char *new_name, unsigned flags);

/* The target of a symbolic link, NUL-terminated, in `buf` of FS_SYMLINK_BYTES_MAX + 1 bytes. */
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
	FS_SET_KILL_SGID = 1024, /* clear setgid, also where the group may not execute the file */
};
/*
 * Set the attributes that `mask` (of enum fs_set) names to those of `want`, all in one batch.
 * `cred` (or NULL for the superuser) decides whether chmod may set setgid. `st` gets the result.
 */
int fs_setattr(struct fs *fs, const struct fs_cred *cred, uint64_t ino, const struct stat *want,
	       unsigned mask, struct stat *st);

/* Space and inodes, as statvfs(3). Does not wait for the count of inodes after a crash. */
int fs_statfs(struct fs *fs, struct statvfs *st);

/*
 * Set an extended attribute of `ino` to the `size` bytes at `value`.
 *
 * `name` is of 1 to 255 bytes, `size` at most FS_XATTR_BYTES_MAX. Which names are allowed, and
 * for which users, is the caller's policy. "system.posix_acl_access" and
 * "system.posix_acl_default" are ACLs in the format of Linux. Setting the first one sets the mode,
 * too (acl.c). `flags`: XATTR_CREATE, XATTR_REPLACE (not for ACLs), FS_XATTR_KILL_SGID.
 * Also -ERANGE for the length of a name, -E2BIG for that of a value, and -ENOSPC if the names of
 * all attributes would be more than fs_listxattr() can list. For ACLs also -EOPNOTSUPP
 * without fs_options.acl and on symbolic links; -EINVAL for what is no ACL; -EACCES for a
 * default one of anything but a directory.
 */
#define FS_XATTR_KILL_SGID 0x100 /* of an access ACL: clear setgid, whatever the inode is */
int fs_setxattr(struct fs *fs, uint64_t ino, const char *name, const void *value, size_t size,
		int flags);
/*
 * Read an attribute into `value`, which has room for `size` bytes, or the names of all, each with
 * a NUL behind it, into `list`. `*got` is the size of the value, or of the names. With `size` 0
 * nothing is copied. -ERANGE if it does not fit; -ENODATA if there is no such attribute.
 */
int fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *value, size_t size,
		size_t *got);
int fs_listxattr(struct fs *fs, uint64_t ino, char *list, size_t size, size_t *got);
/* Remove an attribute. -ENODATA if it is not there; 0 if an ACL is not there. */
int fs_removexattr(struct fs *fs, uint64_t ino, const char *name);

/* ---- data ---- */

/*
 * Read `size` bytes of a file from `offset` on. `*got` is less than `size` only at the end of the
 * file. May update atime.
 */
int fs_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size, size_t *got);
/* As fs_read(), but never updates atime: for O_NOATIME. */
int fs_read_noatime(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size,
		    size_t *got);
/* Would reading a file or directory update its atime now? False without a reference to `ino`. */
bool fs_atime_due(struct fs *fs, uint64_t ino);

#define FS_WRITE_APPEND 1u    /* at the end, atomically; `offset` is ignored */
#define FS_WRITE_SYNC 2u      /* survive power loss on return */
#define FS_WRITE_KILL_PRIV 4u /* clear setuid, setgid and security.capability */
/*
 * Write all of `size` bytes at `offset`, or nothing. `flags` as above. `st` (may be NULL) gets the
 * attributes after it. -EFBIG beyond FS_FILE_BYTES_MAX.
 */
int fs_write(struct fs *fs, uint64_t ino, uint64_t offset, const void *data, size_t size,
	     unsigned flags, struct stat *st);

/*
 * Change the size or make a hole, as fallocate(2) with `mode` 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE,
 * ZERO_RANGE or ZERO_RANGE|KEEP_SIZE; -EOPNOTSUPP for others. No space is set aside, but -ENOSPC
 * is returned if the disk has less than `size` bytes free, beside those that the file has.
 */
int fs_fallocate(struct fs *fs, uint64_t ino, int mode, uint64_t offset, uint64_t size);
/*
 * The first byte at or after `offset` that is data (`whence` SEEK_DATA) or in a hole (SEEK_HOLE;
 * the end of the file is one), in `*out`. -ENXIO at or beyond the end, or without more data.
 */
int fs_seek(struct fs *fs, uint64_t ino, uint64_t offset, int whence, uint64_t *out);
/*
 * Copy up to `size` bytes between files or within one, as copy_file_range(2). What is in segments
 * is shared. `*copied` may be less than `size`, as one call copies at most 128 MiB. -EINVAL if
 * the ranges overlap in one file.
 */
int fs_copy_range(struct fs *fs, uint64_t from, uint64_t from_offset, uint64_t to,
		  uint64_t to_offset, size_t size, size_t *copied);

/*
 * Make everything that was done before, to any file, survive power loss. There is one log for
 * all files.
 */
int fs_sync(struct fs *fs);

/* ---- directories ---- */

/*
 * Open a directory for reading; `*out` is NULL after an error. Its entries are those of the
 * moment of the last read at offset 0: none is given twice or left out, whatever other calls
 * change meanwhile. Close it before fs_close().
 */
int fs_dir_open(struct fs *fs, uint64_t ino, struct fs_dir **out);
/* Let reading `dir` never update atime: for O_NOATIME. Call it before the first read. */
void fs_dir_set_noatime(struct fs_dir *dir);
void fs_dir_close(struct fs_dir *dir); /* NULL does nothing */

/*
 * What fs_dir_read() calls for each entry. `next` is the offset at which to go on behind it, at any
 * time while the directory is open.
 *
 * With `held`, `st` is whole and the callee gets one reference to st->st_ino. Otherwise only
 * st_ino and the type in st_mode are set, and there is no reference. It is not held for "." and
 * "..", when attributes were not asked for, when the name is gone by now, when its record is
 * damaged, and when the table of inodes is full.
 * Return 0 to go on. Return non-zero to stop before this entry, for want of room: its reference
 * is dropped again, and the next read at its offset begins with it.
 * It is called under the lock of `dir` and may call other functions of this header, but none
 * that reads a directory.
 */
typedef int fs_dir_fn(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next);
/*
 * Read entries from `offset` (0, or a `next`) on, until `fn` stops or there are no more. An error
 * behind the first entry is returned by the next call.
 */
int fs_dir_read(struct fs_dir *dir, uint64_t offset, bool with_attributes, fs_dir_fn *fn,
		void *ctx);

/* ---- upkeep ---- */

/*
 * The kernel holds references for as long as it caches names. When the table of inodes outgrows
 * its share of memory, `fn` is called to ask that this name be dropped from the cache. The call
 * comes from a thread of its own, which holds no lock.
 */
typedef void fs_prune_fn(void *ctx, uint64_t parent, const char *name);
/*
 * Set the function to be called, or NULL for none. On return no call of the last one is at work
 * any more, so `fn` must not call this.
 */
void fs_set_prune(struct fs *fs, fs_prune_fn *fn, void *ctx);

/*
 * Verify the store: first the tree (lsm_verify()), then the filesystem in it. Every name has its
 * inode, the counts of names and entries are right, each inode has a name or is listed as deleted,
 * and extents are within their files and do not overlap.
 *
 * `finding` is called once for each finding, with words and a path where one is known. It is
 * also called for each file with parts that a repair marked as lost; that is not counted.
 * `progress` as in lsm_verify(); if it stops the check, that returns -EINTR. Both may be NULL.
 * Returns 0 if there are no findings, -EUCLEAN if there are some.
 * Threads: takes no lock, and may run beside all other calls but fs_close().
 */
typedef void fs_finding_fn(void *ctx, const char *text);
struct fs_check_counts {
	uint64_t files, directories, symlinks, others, bytes, orphans, findings;
	uint64_t lost_bytes; /* of files, marked as lost by a repair */
};
int fs_check(struct fs *fs, fs_finding_fn *finding, void *ctx, lsm_progress_fn *progress,
	     void *progress_ctx, struct fs_check_counts *counts);

/*
 * Repair a closed, damaged store: save all that can be read, and make one whole filesystem of it.
 *
 * What has lost its name is put into /lost+found. Lost parts of files are marked, so that reading
 * them is an error until they are written again. The rules are at the top of repair.c.
 * `finding` is called once for each action, with words.
 * Returns 0 when the store is whole, with nothing done if it was before; an error as of
 * fs_open() when it cannot be opened; -ENODATA if there is nothing to save; -EUCLEAN, with the
 * findings passed to `finding`, if the result is not whole.
 * After a failure or a crash the store is as it was: it changes in one step at the end, after
 * fs_check() found the result clean.
 * Files that were replaced stay, with ".old" behind their names; they have
 * counts->kept_bytes.
 */
struct fs_repair_counts {
	uint64_t actions; /* what was put right, without what the tree reported */
	uint64_t saved;   /* of these: put into lost+found */
	uint64_t lost;    /* pieces of damage and of losses that were reported */
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
/*
 * Sizes and counts. After a crash this waits until all inodes were counted, once, which reads all
 * records.
 */
int fs_stats(struct fs *fs, struct fs_stats *stats);

#endif
