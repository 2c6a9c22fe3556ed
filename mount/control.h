/*
 * control.h - how the command line talks to a running daemon: through extended
 * attributes of the mount's root that are not files' attributes.
 *
 * They are answered by the daemon, in no list of attributes and in no store:
 *
 *     user.varve.pid      get   the daemon's process id, in decimal
 *     user.varve.stats    get   numbers, as stats_write() writes them
 *     user.varve.compact  set   begin to compact everything; see the stats for how far it is
 *
 * and, for a scrub (scrub.h), which also has to work where nothing can be set, on a
 * read-only mount:
 *
 *     user.varve.scrub.begin.RATE  get   begin one of RATE MiB a second; its number RUN
 *     user.varve.scrub.at.RUN.FROM get   its state, a line, and findings from byte FROM on
 *     user.varve.scrub.stop.RUN    get   have it stop; nothing
 *
 * Attributes need no socket, no port and no file beside the store, and the
 * kernel checks who may reach the mount. On one for all, whoever may read its root
 * may get: that is numbers, no names. Set may its owner and root alone, whatever the
 * mode of the root.
 */
#ifndef MOUNT_CONTROL_H
#define MOUNT_CONTROL_H

#include "fs/fs.h"

#define CONTROL_PID "user.varve.pid"
#define CONTROL_STATS "user.varve.stats"
#define CONTROL_COMPACT "user.varve.compact"
#define CONTROL_SCRUB "user.varve.scrub."

struct control;

/* `owner` and root may set and scrub. `fs` is borrowed. NULL: no memory. */
struct control *control_new(struct fs *fs, uid_t owner);
/* Stops a compaction and a scrub that run, and waits for them. Accepts NULL. */
void control_free(struct control *c);

/* Is this attribute one of these? */
bool control_has(uint64_t ino, const char *name);

/* As fs_getxattr() and fs_setxattr(). */
int control_get(struct control *c, uid_t uid, const char *name, void *value, size_t size,
		size_t *got);
int control_set(struct control *c, uid_t uid, const char *name);

#endif
