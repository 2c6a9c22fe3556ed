/*
 * get.h - looking up one key.
 */
#ifndef LSM_GET_H
#define LSM_GET_H

#include "lsm/tree.h"

/*
 * The sequence of the newest entry or range tombstone of `key`, in `*sequence`.
 * Returns 0; LSM_ABSENT if nothing was ever said about the key; or an error of reading a
 * table. Threads: any.
 */
int get_newest(struct lsm *lsm, struct lsm_slice key, uint64_t *sequence);

#endif
