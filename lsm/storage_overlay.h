/*
 * storage_overlay.h - a storage on top of another one, which changes the one below only in
 * overlay_commit(). A repair works on it: see storage_overlay.c.
 */
#ifndef LSM_STORAGE_OVERLAY_H
#define LSM_STORAGE_OVERLAY_H

#include "lsm/storage/storage.h"

/* Suffixes in the storage below: of a file that a repair makes, and of one that it replaced. */
#define OVERLAY_NEW ".repair"
#define OVERLAY_OLD ".old"

bool overlay_is_new(const char *name); /* has the first of these suffixes */
/* Delete the files that an interrupted repair has left in `base`, whose lock the caller has. */
void overlay_drop_new(struct storage *base);

/*
 * An overlay over `base`, which is freed with the overlay if `owned`. Unlocking it without a
 * commit deletes all files that were made. NULL: no memory, and `base` stays the caller's.
 */
struct storage *overlay_new(struct storage *base, bool owned);

/*
 * While a preview is `on`, the overlay shows the state after a commit, so that an ordinary
 * open can verify it. Nothing can be written then. Lock and unlock do nothing, because the
 * overlay is locked already.
 */
void overlay_preview(struct storage *st, bool on);

/*
 * Put the new files, all of which are synced, in the place of the old ones.
 *
 * `*kept_bytes` is the size of the files that were replaced; their names end in OVERLAY_OLD now.
 * Returns 0; an error of the storage. An error before CURRENT was replaced leaves the old
 * state, one after that the new state. A crash at any point does the same.
 * Durability: on return the new state is.
 */
int overlay_commit(struct storage *st, uint64_t *kept_bytes);

#endif
