/*
 * scrub.h - checking the filesystem while it is mounted: the daemon's side of
 * `varve scrub`.
 *
 * One scrub runs at a time, on a thread of its own, at low priority. It belongs to the
 * command that began it, and that command has to go on reading: at most SCRUB_TEXT_BYTES of
 * findings are kept, and when they are full the scrub waits until some were read. When nothing
 * was read for SCRUB_WATCH_S seconds the scrub stops.
 */
#ifndef MOUNT_SCRUB_H
#define MOUNT_SCRUB_H

#include "fs/fs.h"

#define SCRUB_TEXT_BYTES 32768u
#define SCRUB_HEAD_BYTES 512u
#define SCRUB_WATCH_S 60
#define SCRUB_RATE_MIB_DEFAULT 100u

struct scrub;

/* Starts nothing yet. `fs` is borrowed until scrub_free(). Returns NULL if there is no memory. */
struct scrub *scrub_new(struct fs *fs);
/* Stop a scrub that runs, and wait until it has. No other call may run. Accepts NULL. */
void scrub_free(struct scrub *s);

/* How far a scrub is. */
struct scrub_state {
	bool ended;
	int err;              /* once it has ended: what fs_check() returned; -EINTR: stopped */
	uint64_t done, total; /* of the work, in units of fs_check() */
	struct fs_check_counts counts; /* once it has ended */
};

/*
 * Begin a scrub that reads at most `rate_mib` MiB a second; 0 is no limit.
 *
 * `*run` gets its number, from 1 on; 0 on an error.
 * Returns 0; -EALREADY if one runs; -EAGAIN if there can be no further thread.
 * Threads: any.
 */
int scrub_begin(struct scrub *s, uint64_t rate_mib, uint64_t *run);

/*
 * Read the state of scrub `run`, and its findings from byte `from` of all of them on.
 *
 * Each finding is a line. `text` gets `*got` bytes of them, at most `size`, without a NUL.
 * Findings before `from` are forgotten: the caller has read them.
 * Returns 0; -ESTALE if `run` is not the last scrub, or `from` was forgotten already or does
 *   not exist yet. Then `*got` is 0 and nothing has changed.
 * Threads: any.
 */
int scrub_read(struct scrub *s, uint64_t run, uint64_t from, struct scrub_state *state, char *text,
	       size_t size, size_t *got);

/*
 * Tell scrub `run` to stop, without waiting: its state says when it has ended.
 * Returns 0; -ESTALE if `run` is not the last scrub. Threads: any.
 */
int scrub_stop(struct scrub *s, uint64_t run);

/* Write a state as a line of at most SCRUB_HEAD_BYTES bytes. Returns the length of the line. */
size_t scrub_state_write(const struct scrub_state *state, char *text);
/*
 * Read a state from the line at the start of `text`, which is NUL-terminated. Returns the length
 * of the line, or 0 if there is no such line.
 */
size_t scrub_state_read(struct scrub_state *state, const char *text);

#endif
