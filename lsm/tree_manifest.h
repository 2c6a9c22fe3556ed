/*
 * tree_manifest.h - the manifest of an open tree: logging edits, and starting over when the
 * file is long or its end is in doubt. (manifest.h has the file itself.)
 */
#ifndef LSM_TREE_MANIFEST_H
#define LSM_TREE_MANIFEST_H

#include "lsm/tree.h"

/*
 * Log an edit and sync it. Starts a new manifest first if there is none, if the end of the
 * present one is in doubt, or if it is long.
 * Returns 0 or an error. After an error it is unknown whether the edit is on disk.
 */
int tree_manifest_log(struct lsm *lsm, const struct version_edit *e) REQUIRES(lsm->manifest_mu);

/*
 * Note that it is unknown which state the manifest on disk has. No file is deleted until a new
 * one was written.
 */
void tree_manifest_doubt(struct lsm *lsm) REQUIRES(lsm->manifest_mu);

/*
 * Record a new segment and make its empty file; both are durable on return. `ctx` is the
 * tree, `*number` the segment. This is the tree's segments_new_fn.
 */
int tree_manifest_new_segment(void *ctx, uint64_t *number);

/* Record the segments that are gone. Starts a new manifest if the old one is in doubt. */
int tree_manifest_tidy(struct lsm *lsm) EXCLUDES(lsm->manifest_mu);

/*
 * At close: start a new manifest, which is one edit. No part of one edit can be lost
 * unnoticed. The last of several edits could be, as if it had been torn in a crash.
 */
int tree_manifest_close(struct lsm *lsm) EXCLUDES(lsm->manifest_mu);

#endif
