/*
 * syncer.h - answering fsync without keeping the threads that answer requests.
 *
 * A sync takes as long as the disk does, and few threads answer requests: two programs that
 * call fsync would stop all others. So at most one of those threads waits in a sync. Calls
 * that come meanwhile are left to the syncer's own thread, which syncs once for all of them.
 */
#ifndef MOUNT_SYNCER_H
#define MOUNT_SYNCER_H

#include "mount/transport.h"

struct syncer;

/*
 * Start the syncer's thread.
 *
 * `fs` is borrowed until syncer_free(). `*out` is the caller's, NULL on an error.
 * Returns 0; -ENOMEM; -EAGAIN if there can be no further thread.
 */
int syncer_new(struct fs *fs, struct syncer **out);

/* Answer all requests that wait, and end the thread. No further one may come. Accepts NULL. */
void syncer_free(struct syncer *s);

/*
 * Answer `r` once every change made before this call survives power loss: before this
 * returns, or later on the syncer's thread. `r` is copied.
 *
 * The answer is 0, or the error of fs_sync().
 * Threads: any.
 */
void syncer_answer(struct syncer *s, const struct request *r);

#endif
