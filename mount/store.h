/*
 * store.h - opening and closing a store for a command, with every error reported in words.
 */
#ifndef MOUNT_STORE_H
#define MOUNT_STORE_H

#include "fs/fs.h"

#define STORE_WAIT_SHORT_S 5 /* for commands that a person waits for */

/*
 * Make the path of a store absolute and free of symbolic links. The store need not exist yet,
 * but the directory that it is in must.
 * Returns the path, which the caller frees; or NULL, with the reason in errno.
 */
char *store_resolve(const char *path);

/*
 * Open the store at `path` (absolute), as fs_open(). As long as it is open, the tree's reports
 * are printed.
 *
 * If another process has the store open, but it is not mounted, this waits for up to `wait_s`
 * seconds: a daemon that was unmounted takes some time to close its store.
 * The caller closes `*out` by store_close(). One store may be open at a time.
 * Returns 0, or a negative errno for an error that was reported.
 */
int store_open(const char *path, struct fs_options *options, unsigned wait_s, struct fs **out);

/*
 * Repair the store at `path`, as fs_repair(). The tree's own reports are not printed, because
 * `finding` gets all of them.
 * Returns 0, or a negative errno for an error that was reported.
 */
int store_repair(const char *path, fs_finding_fn *finding, void *ctx, lsm_progress_fn *progress,
		 void *progress_ctx, struct fs_repair_counts *counts);

/* Print the tree's reports of damage no longer, or again: fs_check() finds them as well. */
void store_hush(bool hush);

/* Close the store, as fs_close(). Returns 0, or a negative errno that was reported. */
int store_close(const char *path, struct fs *fs);

#endif
