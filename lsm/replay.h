/*
 * replay.h - reading the logs back into memory.
 */
#ifndef LSM_REPLAY_H
#define LSM_REPLAY_H

#include "lsm/inventory.h"
#include "lsm/memlog.h"

/* What was replayed. */
struct replayed {
	struct memlog **memlogs; /* oldest first, each with a reference */
	size_t count, room;
	uint64_t sequence; /* of the last operation */
};

/*
 * Replay the logs of `inv` from lsm->log_number on into memory. `sequence_flushed`: everything
 * up to this is in tables. The caller releases `*out`, also after an error.
 * Returns 0; -EUCLEAN (reported) if synced bytes are wrong or missing, unless the tree's
 * options or a repair go on without them; or another error.
 * Threads: only at open, before there are others.
 */
int replay_logs(struct lsm *lsm, const struct inventory *inv, uint64_t sequence_flushed,
		struct replayed *out);
void replayed_release(struct replayed *p);

#endif
