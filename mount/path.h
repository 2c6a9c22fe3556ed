/*
 * path.h - paths within a store that is not mounted.
 *
 * A path is a list of names with slashes between them, from the root on. A leading slash,
 * empty names and "." are ignored, ".." is refused, and symbolic links are not followed.
 * Errors are negative errnos of fs.h; also -ENOTDIR for a name in a file, -EINVAL for "..", and
 * -ENAMETOOLONG.
 */
#ifndef MOUNT_PATH_H
#define MOUNT_PATH_H

#include "fs/fs.h"

/*
 * Look `path` up.
 *
 * `st` gets the inode's attributes, with a reference that the caller drops by path_forget().
 * Returns 0 or a negative errno; after an error there is nothing to drop.
 */
int path_lookup(struct fs *fs, const char *path, struct stat *st);

/*
 * Look up the directory that the last name of `path` is in; the name itself need not exist.
 *
 * `st` as path_lookup(); `name` gets the last name.
 * Returns 0; -EINVAL if `path` is the root; another negative errno.
 */
int path_lookup_parent(struct fs *fs, const char *path, struct stat *st,
		       char name[FS_NAME_BYTES_MAX + 1]);

/* Drop the reference of path_lookup() or path_lookup_parent(). */
void path_forget(struct fs *fs, const struct stat *st);

/*
 * Call `fn` for each entry of the directory `ino`, as fs_dir_read() does, to the end of the
 * directory or until `fn` returns something that is not 0.
 * Returns 0, also if `fn` stopped, or a negative errno.
 */
int path_read_dir(struct fs *fs, uint64_t ino, bool with_attributes, fs_dir_fn *fn, void *ctx);

/*
 * Make sure of an entry that fs_dir_read() found in the directory `dir` with its attributes.
 *
 * It comes without a reference if the table of inodes is full, if its record is damaged, if it
 * was removed meanwhile, and for "." and "..". If so (`held` is false) it is looked up here, and
 * `st` gets its attributes. The caller drops the reference by fs_forget() in either case.
 * Returns 0; LSM_ABSENT for what is not to be listed: "." and "..", and what is gone; or a
 *   negative errno, with a message that names `path`.
 */
int path_entry_hold(struct fs *fs, uint64_t dir, const char *name, const char *path, bool held,
		    struct stat *st);

/*
 * Call `fn` for everything below the directory `ino`, each directory before its entries.
 *
 * `path` begins at `ino`, without a slash in front. Names may be added and removed meanwhile.
 * Returns 0; the first error, or the first value that `fn` returned and that is not 0: then
 *   `fn` is not called again. An entry that cannot be looked up is named in a message and left
 *   out, and the error returned after everything else. The number of files and the depth are
 *   limited by memory only.
 */
typedef int path_fn(void *ctx, const char *path, const struct stat *st);
int path_each_below(struct fs *fs, uint64_t ino, path_fn *fn, void *ctx);

/*
 * Remove the directory `name` in `parent` and everything below it.
 * Returns 0 or a negative errno. After an error, some of it may be removed.
 */
int path_remove(struct fs *fs, uint64_t parent, const char *name);

#endif
