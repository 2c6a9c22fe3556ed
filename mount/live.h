/*
 * live.h - asking the daemon behind a mount (control.h).
 */
#ifndef MOUNT_LIVE_H
#define MOUNT_LIVE_H

#include "mount/mountpoint.h"
#include "mount/scrub.h"
#include "mount/stats.h"

/*
 * Find Varve's mount at `path`.
 * On success the caller releases `info`. Returns 0; -ENOENT if there is none.
 */
int live_find(const char *path, struct mount_info *info);

/*
 * The functions below ask the daemon of the mount `info`.
 * They return a negative errno on failure: -ENOTCONN if the daemon was killed; -EACCES or
 *   -EPERM if this user may not ask. live_say() puts it into words.
 */

/* Returns the process id of the daemon. */
long live_pid(const struct mount_info *info);
int live_stats(const struct mount_info *info, struct stats *stats);
/* Begin a compaction, without waiting for its end. Also -EALREADY: one is running. */
int live_compact(const struct mount_info *info);

/*
 * As the functions of scrub.h. `text` has room for LIVE_SCRUB_BYTES, and gets a NUL behind the
 * findings.
 */
#define LIVE_SCRUB_BYTES (SCRUB_HEAD_BYTES + SCRUB_TEXT_BYTES + 1)
int live_scrub_begin(const struct mount_info *info, uint64_t rate_mib, uint64_t *run);
int live_scrub_read(const struct mount_info *info, uint64_t run, uint64_t from,
		    struct scrub_state *state, char *text, size_t *got);
int live_scrub_stop(const struct mount_info *info, uint64_t run);

/* Report the error `err` of one of these. */
void live_say(const struct mount_info *info, int err);

#endif
