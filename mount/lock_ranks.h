/*
 * lock_ranks.h - the ranks of the locks of mount/, below those of fs/ (lsm/base/lock.h).
 *
 * No two of these locks are held at a time, so their order among each other is free. All of
 * them come before the locks of fs/ and lsm/, because callbacks of a compaction and of a
 * check take them, and those callbacks are called without any lock. Under these locks no
 * function of fs.h is called.
 *
 * The lock of store.c is not here. It has the rank LOCK_MESSAGE, because the tree reports to
 * it while it holds locks of its own.
 */
#ifndef MOUNT_LOCK_RANKS_H
#define MOUNT_LOCK_RANKS_H

#include "lsm/base/lock.h"

enum mount_lock_rank {
	LOCK_CONTROL = LOCK_MOUNT_FIRST, /* control.c: a compaction and how far it is */
	LOCK_SCRUB,                      /* scrub.c: the scrub and its findings */
	LOCK_OPEN_DIRS,                  /* ops_dir.c: which directories are open */
	LOCK_SYNCER,                     /* syncer.c: the calls of fsync that wait */
	LOCK_WAKEFUL,                    /* wakeful.c: whether the CPUs are kept from halting */
	LOCK_MOUNT_END,
};

_Static_assert(LOCK_MOUNT_END <= LOCK_FS_FIRST, "the ranks of fs/ begin there");

#endif
