/*
 * reserve.h - disk space that is kept aside, so that deleting works on a full disk.
 */
#ifndef LSM_RESERVE_H
#define LSM_RESERVE_H

#include "lsm/tree.h"

#define RESERVE_NAME "RESERVE"

/* Note that the disk was found full: from now on writes without LSM_FREES are refused. */
void reserve_note_full(struct lsm *lsm) EXCLUDES(lsm->mu);

/*
 * Let the reserve grow to its whole size, as far as the disk has room. Once it has that, with
 * some room to spare, the disk is not full any more. Does nothing while there is nothing to
 * do. Threads: the committer, and the one that opens the tree.
 */
void reserve_renew(struct lsm *lsm) EXCLUDES(lsm->mu);

/*
 * The disk is full: shrink the reserve to half and give up whatever else can go at once.
 * Returns whether any space was set free. Threads: any.
 */
bool reserve_drop(struct lsm *lsm) EXCLUDES(lsm->mu, lsm->manifest_mu);

/* At open: give up all of it, as the memtables that were replayed have to be written now. */
void reserve_remove(struct lsm *lsm);

#endif
