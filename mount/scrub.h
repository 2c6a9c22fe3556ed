/*
 * scrub.h - checking the filesystem while it is mounted: the daemon's side of
 * `varve scrub`.
 *
 * One scrub runs at a time, on a thread of its own, at low priority. It belongs to
 * who began it and has to be watched: findings wait here, within SCRUB_TEXT_BYTES,
 * until they were read, and the scrub with them. When nobody has read for
 * SCRUB_WATCH_S it stops.
 */
#ifndef MOUNT_SCRUB_H
#define MOUNT_SCRUB_H

#include "fs/fs.h"

#define SCRUB_TEXT_BYTES 32768u
#define SCRUB_HEAD_BYTES 512u
#define SCRUB_WATCH_S 60
#define SCRUB_RATE_MIB_DEFAULT 100u

struct scrub;

struct scrub *scrub_new(struct fs *fs); /* `fs` is borrowed. NULL: no memory */
void scrub_free(struct scrub *s);       /* stops it, and waits for that. Accepts NULL */

/* How far it is. */
struct scrub_state {
	bool ended;
	int error; /* once it has ended: what fs_check() returned; -EINTR: stopped */
	uint64_t done, total;
	struct fs_check_counts counts; /* once it has ended */
};

/* Begin one that reads `rate_mib` MiB a second at most (0: no limit). -EALREADY: one runs. */
int scrub_begin(struct scrub *s, uint64_t rate_mib, uint64_t *run);
/*
 * The state of scrub `run`, and findings, a line each, from byte `from` of all of
 * them on; what comes before was read and is let go. -ESTALE: no longer the last one.
 */
int scrub_read(struct scrub *s, uint64_t run, uint64_t from, struct scrub_state *state, char *text,
	       size_t size, size_t *got);
/* Have it stop; it has when its state says so. */
int scrub_stop(struct scrub *s, uint64_t run);

/* A state as a line of text of SCRUB_HEAD_BYTES at most. Returns its length. */
size_t scrub_state_write(const struct scrub_state *state, char *text);
/* The reverse. Returns the length of the line; 0: it is none. `text` is NUL-terminated. */
size_t scrub_state_read(struct scrub_state *state, const char *text);

#endif
