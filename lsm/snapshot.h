/*
 * snapshot.h - sequences whose state of the store is kept for lsm_snapshot_take()'s callers.
 */
#ifndef LSM_SNAPSHOT_H
#define LSM_SNAPSHOT_H

#include "lsm/tree.h"

struct lsm_snapshot {
	uint64_t sequence;
	TAILQ_ENTRY(lsm_snapshot) link; /* in lsm->snapshots, guarded by mu */
};

/* The sequence of the oldest snapshot; SEQUENCE_MAX if there is none. */
uint64_t snapshot_oldest(struct lsm *lsm) EXCLUDES(lsm->mu);

/*
 * The sequences of all snapshots, ascending and each once. `*out` is the caller's to free.
 * Returns 0, or -ENOMEM: `*out` is NULL.
 */
int snapshot_sequences(struct lsm *lsm, uint64_t **out, size_t *count) EXCLUDES(lsm->mu);

#endif
