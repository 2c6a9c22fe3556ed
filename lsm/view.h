/*
 * view.h - what a reader pins: all sources of data at one moment, newest first.
 *
 * A view is immutable, but for its newest memtable, which takes writes. It counts references.
 * Its memlogs, its version and the files of both stay until its last reference is dropped.
 */
#ifndef LSM_VIEW_H
#define LSM_VIEW_H

#include <stdatomic.h>

#include "lsm/memlog.h"
#include "lsm/tree.h"

struct view {
	atomic_int refs;
	atomic_int *alive;       /* counts the tree's views */
	struct memlog **memlogs; /* [0] takes writes; the others wait to be flushed */
	size_t memlogs_count;
	struct version *version;
};

/* The current view, with a reference for the caller. Threads: any. */
struct view *view_current(struct lsm *lsm) EXCLUDES(lsm->view_mu);

/* NULL is fine. The last reference frees files and segments: never under mu. */
void view_unref(struct view *view);

/*
 * Make a new view of the memlogs (newest first) and the version the current one. It takes
 * references of its own to them. The caller unrefs `*old` after it has released mu.
 * Returns 0, or -ENOMEM: nothing changed and `*old` is NULL.
 */
int view_install(struct lsm *lsm, struct memlog *const *memlogs, size_t memlogs_count,
		 struct version *version, struct view **old) REQUIRES(lsm->mu);

#endif
