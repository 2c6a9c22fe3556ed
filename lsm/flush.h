/*
 * flush.h - writing memtables to tables of level 0.
 */
#ifndef LSM_FLUSH_H
#define LSM_FLUSH_H

#include "lsm/tree.h"

/*
 * Write the oldest waiting memtable to a table and let go of its log. `*did`: there was one.
 * Returns 0 or an error; after an error the memtable still waits.
 * Durability: what it had survives power loss on return.
 * Threads: one at a time (the flusher; the thread that opens or closes the tree).
 */
int flush_oldest(struct lsm *lsm, bool *did);

/* Write all waiting memtables, as flush_oldest(). */
int flush_waiting(struct lsm *lsm);

#endif
