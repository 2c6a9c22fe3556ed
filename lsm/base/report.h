/*
 * report.h - where the tree's messages go, and how wrong bytes become an error.
 *
 * -EUCLEAN is made by the functions below and nowhere else:
 *
 *   report_corrupt()    is for code that knows the file and the offset (and
 *                       report_corrupt_key() for code that knows the key). It reports them with
 *                       the reason. Its callers pass the error on without a second report.
 *   report_malformed()  is for a decoder. A decoder sees bytes and does not know where they
 *                       come from, so it only states the reason. Its caller knows the place,
 *                       and calls report_corrupt() with that reason. A verification and a
 *                       repair answer to their own caller instead, as they were asked to look.
 *
 * The comment of a decoder says "not reported" next to -EUCLEAN.
 */
#ifndef LSM_REPORT_H
#define LSM_REPORT_H

#include <errno.h>

#include "lsm/lsm.h"

struct report {
	lsm_report_fn *fn; /* NULL: messages are dropped */
	void *ctx;
};

/*
 * Format a message and pass it to the callback of `r`, in the calling thread.
 *
 * `r` may be NULL. A message of more than 1023 bytes is cut.
 * It allocates nothing, and errno keeps its value.
 */
void report(const struct report *r, enum lsm_report_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Report that the bytes of `file` at `offset` are wrong, and why. Returns -EUCLEAN. */
int report_corrupt(const struct report *r, const char *file, uint64_t offset, const char *format,
		   ...) __attribute__((format(printf, 4, 5)));

/*
 * The same for an entry of a table that its key identifies: its file is not known where a merge
 * of tables is read. The message has the first bytes of `user_key` in hex.
 */
int report_corrupt_key(const struct report *r, struct lsm_slice user_key, const char *reason);

/* For decoders: set `*reason` (if not NULL) to `text`, a constant. Returns -EUCLEAN. */
static inline int report_malformed(const char **reason, const char *text)
{
	if (reason)
		*reason = text;
	return -EUCLEAN;
}

#endif
