/*
 * repair_data.h - the extents of one file in a repair. See the top of repair_data.c.
 */
#ifndef FS_REPAIR_DATA_H
#define FS_REPAIR_DATA_H

#include "fs/core.h"

/*
 * For a repair of a closed filesystem: what reading cannot make sense of is taken out or
 * marked as lost, so that reading it is an error and never the wrong bytes. Each writes
 * batches of its own.
 */

/*
 * Of the extents of `ino`, drop those that break the rules, and mark as lost where they
 * overlap. `*end` is where the last one ends, `*stored` their sum, `*dropped` how many
 * pieces were given up.
 */
int repair_data_extents(struct fs *fs, uint64_t ino, uint64_t *end, uint64_t *stored,
			uint64_t *dropped);

/*
 * Mark what is a hole in [from, to) as lost; `*marked` is how many bytes. -EFBIG, with
 * nothing done, if that would take more than REPAIR_DATA_LOST_MAX extents.
 */
#define REPAIR_DATA_LOST_MAX 65536u
int repair_data_mark_lost(struct fs *fs, uint64_t ino, uint64_t from, uint64_t to,
			  uint64_t *marked);

/* The extent at `offset` cannot be read whole: keep what can, and mark the rest as lost. */
int repair_data_value(struct fs *fs, uint64_t ino, uint64_t offset, uint64_t *lost);

#endif
