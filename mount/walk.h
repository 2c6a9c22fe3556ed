/*
 * walk.h - paths within a store that is not mounted.
 *
 * A path is names with slashes between them, from the root; a leading slash, empty
 * names and "." mean nothing, ".." is refused, links are not followed.
 */
#ifndef MOUNT_WALK_H
#define MOUNT_WALK_H

#include "fs/fs.h"

/* Look `path` up. `st` gets the inode, with a reference (none if it is the root): walk_done(). */
int walk_path(struct fs *fs, const char *path, struct stat *st);
/* Look up the directory of `path`'s last name, which `name` gets. -EINVAL for the root. */
int walk_parent(struct fs *fs, const char *path, struct stat *st, char name[FS_NAME_BYTES_MAX + 1]);
void walk_done(struct fs *fs, const struct stat *st);

/*
 * Call `fn` for everything below the directory `ino`, each directory before what is in
 * it, with its path from there. Stops at the first error or non-zero return, and returns
 * that. Depth and size are limited by memory only.
 */
typedef int walk_fn(void *ctx, const char *path, const struct stat *st);
int walk_below(struct fs *fs, uint64_t ino, walk_fn *fn, void *ctx);

/* Remove the directory `name` in `parent` and everything below it. */
int walk_remove(struct fs *fs, uint64_t parent, const char *name);

#endif
