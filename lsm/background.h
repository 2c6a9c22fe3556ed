/*
 * background.h - the tree's threads.
 */
#ifndef LSM_BACKGROUND_H
#define LSM_BACKGROUND_H

#include "lsm/tree.h"

/* Start the threads. Returns 0 or a negative errno: none is running then. */
int background_start(struct lsm *lsm);

/* Stop the threads, if they were started, and wait for them. Compactions give up. */
void background_stop(struct lsm *lsm);

#endif
