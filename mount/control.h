/*
 * control.h - how the command line talks to a running daemon: through special extended
 * attributes of the mount's root.
 *
 * The daemon answers these itself. They are not stored and not listed:
 *
 *     user.varve.pid      get   the daemon's process id, in decimal
 *     user.varve.stats    get   numbers, as stats_write() writes them
 *     user.varve.compact  set   begin to compact everything; the stats say how far it is
 *
 * A scrub (scrub.h) must also work on a read-only mount, where no attribute can be set. So all
 * of its commands are read:
 *
 *     user.varve.scrub.begin.RATE  get   begin a scrub of RATE MiB a second; its number RUN
 *     user.varve.scrub.at.RUN.FROM get   a line with its state; findings from byte FROM on
 *     user.varve.scrub.stop.RUN    get   tell it to stop; an empty answer
 *
 * Attributes need no socket, no port and no file beside the store, and the kernel checks
 * which users can reach the mount. With allow_other, every user who may read the root may read
 * pid and stats, which are numbers and no names. Only the owner of the mount and root may
 * compact and scrub, whatever the mode of the root is.
 */
#ifndef MOUNT_CONTROL_H
#define MOUNT_CONTROL_H

#include "fs/fs.h"

#define CONTROL_PID "user.varve.pid"
#define CONTROL_STATS "user.varve.stats"
#define CONTROL_COMPACT "user.varve.compact"
#define CONTROL_SCRUB "user.varve.scrub."

struct control;

/*
 * `owner` is the user who mounted. `fs` is borrowed until control_free().
 * Returns NULL if there is no memory.
 */
struct control *control_new(struct fs *fs, uid_t owner);
/* Stop a compaction and a scrub, and wait until they have ended. Accepts NULL. */
void control_free(struct control *c);

/* Is `name` of the inode `ino` one of these attributes? */
bool control_has(uint64_t ino, const char *name);

/*
 * Get or set the attribute `name` for the user `uid`, as fs_getxattr() and fs_setxattr().
 * Also -EPERM if this user may not; -EALREADY, -ESTALE: see scrub.h.
 * Threads: any.
 */
int control_get(struct control *c, uid_t uid, const char *name, void *value, size_t size,
		size_t *got);
int control_set(struct control *c, uid_t uid, const char *name);

#endif
