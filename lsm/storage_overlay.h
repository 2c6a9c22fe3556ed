/*
 * storage_overlay.h - a storage on top of another one that only takes changes over
 * when told to. What a repair works on: see storage_overlay.c.
 */
#ifndef LSM_STORAGE_OVERLAY_H
#define LSM_STORAGE_OVERLAY_H

#include "lsm/storage/storage.h"

/* What is being made, and what was replaced: suffixes of names in the storage below. */
#define OVERLAY_NEW ".repair"
#define OVERLAY_OLD ".old"

bool overlay_is_new(const char *name); /* has the first of these suffixes */
/* Delete, in the storage below, what a repair that did not end has left. The lock is held. */
void overlay_drop_new(struct storage *base);

/*
 * Over `base`, freed with the overlay if `owned`. NULL: no memory (`base` is then the
 * caller's still). Unlocking it without a commit drops all that was made.
 */
struct storage *overlay_new(struct storage *base, bool owned);

/*
 * Show, to who reads, what a commit would leave; then nothing is written, and locking it
 * does nothing: it is locked. For a look at that by an ordinary open.
 */
void overlay_preview(struct storage *st, bool on);

/*
 * Put the new files in place, all of which are synced. After an error before CURRENT
 * was replaced the old state stays; after one behind that the new one is there.
 * `*kept_bytes`: of the files that were replaced, and now end in OVERLAY_OLD.
 */
int overlay_commit(struct storage *st, uint64_t *kept_bytes);

#endif
