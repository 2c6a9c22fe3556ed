/*
 * recover.h - from files to an open tree.
 */
#ifndef LSM_RECOVER_H
#define LSM_RECOVER_H

#include "lsm/tree.h"

/*
 * Before anything is touched, the lock file included: is this a store, or may it become one?
 * Returns 0; -ENOENT; -EEXIST: there are other files; -EUCLEAN (reported): parts of a store.
 */
int recover_probe(struct lsm *lsm);

/*
 * Make the tree's first view from what is in the directory. In a tree that may write, what
 * was in the logs is then in tables, files that nothing needs are gone, and a fresh log takes
 * writes. Returns 0 or an error; then the tree can only be freed.
 * Threads: only at open, before there are others.
 */
int recover(struct lsm *lsm);

#endif
