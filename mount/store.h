/*
 * store.h - a store as the command line names it: its path made absolute, and
 * opened with every failure put into words.
 */
#ifndef MOUNT_STORE_H
#define MOUNT_STORE_H

#include "fs/fs.h"

#define STORE_WAIT_SHORT_S 5 /* for commands that somebody waits for */

/*
 * The absolute path, free of symbolic links, of a store that may not exist yet
 * (but whose parent does). NULL and errno on failure; the caller frees it.
 */
char *store_resolve(const char *path);

/*
 * fs_open() for `path`, after which the tree's reports go to message.h. When
 * another process holds the store, but it is mounted nowhere, it is asked again for
 * up to `wait_s` seconds: a daemon that was unmounted still has to close it.
 * On failure the reason and the mend were said, once. Returns 0 or a negative errno.
 */
int store_open(const char *path, struct fs_options *options, unsigned wait_s, struct fs **out);

/*
 * fs_repair() for `path`, with the tree's reports held back, as each is told in another
 * way. On failure the reason was said. Returns 0 or a negative errno.
 */
int store_repair(const char *path, fs_finding_fn *finding, void *ctx, lsm_progress_fn *progress,
		 void *progress_ctx, struct fs_repair_counts *counts);

/* Keep the tree's reports of damage back, while each is told in another way. */
void store_hush(bool hush);

/* fs_close(), saying what it returned if that is an error. */
int store_close(const char *path, struct fs *fs);

#endif
