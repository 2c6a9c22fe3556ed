/*
 * write.h - the write path.
 */
#ifndef LSM_WRITE_H
#define LSM_WRITE_H

#include "lsm/tree.h"

/* With this many tombstones a memtable is flushed soon; a range tombstone counts as all. */
#define TOMBSTONES_MANY 1000u

/*
 * Move the newest memtable to the queue for flushing, if it has anything, and start a new
 * one. Waits for its turn among the writers, and for room in the queue.
 * Returns 0; -EROFS; -ENOSPC; -EAGAIN if the tree is being closed and there is no room; or
 * what keeps the background from making room.
 */
int write_rotate(struct lsm *lsm) EXCLUDES(lsm->mu, lsm->write_mu);

#endif
