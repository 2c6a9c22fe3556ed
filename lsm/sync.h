/*
 * sync.h - making writes survive power loss.
 */
#ifndef LSM_SYNC_H
#define LSM_SYNC_H

#include "lsm/tree.h"

/*
 * Make every write up to `sequence` survive power loss. Threads share one sync.
 * Returns 0, or the error of the sync. Then the tree is read-only, and later calls for writes
 * that are not durable return -EIO.
 */
int sync_up_to(struct lsm *lsm, uint64_t sequence) EXCLUDES(lsm->sync_mu, lsm->mu);

/* Note that every write up to `sequence` survives power loss, as it is in tables. */
void sync_note(struct lsm *lsm, uint64_t sequence) EXCLUDES(lsm->sync_mu);

#endif
