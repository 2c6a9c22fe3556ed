/*
 * tree_open.h - opening and closing a tree.
 */
#ifndef LSM_TREE_OPEN_H
#define LSM_TREE_OPEN_H

#include "lsm/tree.h"

/*
 * As lsm_open(). With `repair`, which is then the tree's, also after an error: over an overlay
 * of the storage, with all that can be read.
 */
int tree_open(const char *path, const struct lsm_options *options, struct repair *repair,
	      struct lsm **out);

/*
 * Stop the threads and make everything durable. After this only tree_free() may follow.
 * Returns the first error of the sync; with `flush` also that of writing what is in memory to
 * tables, which is tried in any case.
 */
int tree_stop(struct lsm *lsm, bool flush);

/* Free a tree whose threads are stopped. Nothing of it is written or deleted. */
void tree_free(struct lsm *lsm);

#endif
