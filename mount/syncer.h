/*
 * syncer.h - answering fsync without keeping a thread that answers requests.
 *
 * A sync takes as long as the disk does, and few threads answer requests: two callers
 * of fsync would hold everybody up. So one of those threads at most waits in a sync; what
 * comes meanwhile is left to a thread of its own, which syncs once for all of them.
 */
#ifndef MOUNT_SYNCER_H
#define MOUNT_SYNCER_H

#include "mount/transport.h"

struct syncer;

/* Starts a thread. `fs` is borrowed. Returns 0 or a negative errno. */
int syncer_new(struct fs *fs, struct syncer **out);

/* Answer what waits and end the thread; no more requests come. Accepts NULL. */
void syncer_free(struct syncer *s);

/*
 * Answer `r` once everything done before this call survives power loss: here, or later
 * on the syncer's thread. Threads: any.
 */
void syncer_answer(struct syncer *s, const struct request *r);

#endif
